"""Reading the newest blocks, a bounded number: does an account send twice in one?"""

import asyncio
from collections import Counter
from typing import Final

from orchestrator.besu.client.node import Node
from orchestrator.besu.codec.management_contract import PRIVACY_PRECOMPILE
from orchestrator.besu.codec.results import Block
from orchestrator.cli.rehearsal.report import Scan

BLOCKS_AT_ONCE: Final = 64
SCAN_SECONDS: Final = 120.0
_PERIOD_BLOCKS: Final = 100
_DAY_SECONDS: Final = 86_400


async def scan(node: Node, *, days: float, most_blocks: int) -> Scan:
    """Read the blocks of the last days, newest first, within a bound of blocks and `SCAN_SECONDS`.

    Args:
        node: Where to read.
        days: How far back.
        most_blocks: No more blocks than these are read.

    Raises:
        BesuError: The node can't be read.
    """
    head = await node.head()
    # Only to know about how many blocks a day has; how far was read is told by the blocks that were.
    earlier = await node.header(max(head.number - _PERIOD_BLOCKS, 0))
    period = max((head.timestamp - earlier.timestamp) / max(head.number - earlier.number, 1), 1e-3)
    first, last = head.number + 1, head.number
    wanted = max(head.number - min(int(days * _DAY_SECONDS / period), most_blocks) + 1, 0)
    twice, private, newest, account, oldest_at = 0, 0, None, "", head.timestamp
    try:
        async with asyncio.timeout(SCAN_SECONDS):
            while first > wanted:
                blocks = await node.blocks(max(first - BLOCKS_AT_ONCE, wanted), first - 1)
                for block in reversed(blocks):
                    if sender := _sent_twice(block):
                        twice += 1
                        private += any(item.to == PRIVACY_PRECOMPILE for item in block.transactions)
                        newest, account = (newest, account) if newest is not None else (block.head.number, sender)
                first, oldest_at = blocks[0].head.number, blocks[0].head.timestamp
    except TimeoutError:
        pass  # what was read is told, with how far it goes
    # The genesis block's time is its file's, and often 0.
    seen = (head.timestamp - max(oldest_at, 1)) / _DAY_SECONDS
    return Scan(
        first_block=first,
        last_block=last,
        days=min(seen, (last - first + 1) * period / _DAY_SECONDS),
        account_twice=twice,
        with_private=private,
        newest=newest,
        account=account,
        period_seconds=period,
        whole=first <= 1 or seen >= days or int(days * _DAY_SECONDS / period) <= last - first + 1,
    )


def _sent_twice(block: Block) -> str | None:
    senders = Counter(item.sender for item in block.transactions)
    return next((sender for sender, number in senders.items() if number > 1), None)
