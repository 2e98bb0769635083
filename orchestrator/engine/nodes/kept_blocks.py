"""How much of a node's chain is remembered. Pure."""

from collections import OrderedDict
from typing import Final

from orchestrator.engine.ports.nodes import Block

KEPT_BLOCKS: Final = 256
"""How many blocks are remembered: enough for every lane that can still wait for one of their PMTs."""

KEPT_TRANSACTIONS: Final = 100_000
"""How many transactions they have together: a node can say that any number is in a block, and each wait looks."""


def forget_oldest(blocks: OrderedDict[int, Block]) -> None:
    """Drop the blocks that were remembered first until the bounds hold."""
    transactions = sum(len(block.transactions) for block in blocks.values())
    while len(blocks) > KEPT_BLOCKS or transactions > KEPT_TRANSACTIONS:
        _, oldest = blocks.popitem(last=False)
        transactions -= len(oldest.transactions)
