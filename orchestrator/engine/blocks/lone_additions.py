"""Additions that some members executed and others refused, by what each member's node says of their markers."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator.engine.node_ports import NodePort

MOST_ADDITIONS: Final = 8
"""The newest additions that not all members list, which are asked about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoneAddition:
    """An addition that parted members: it came with a stale bundle (docs/besu.md#stale-bundles).

    Attributes:
        pmt_hash: Its marker.
        block_number: The marker's block.
        executed: Enclave keys of the members whose nodes executed it.
        refused: Enclave keys of those whose nodes refused it.
    """

    pmt_hash: str
    block_number: int
    executed: tuple[str, ...]
    refused: tuple[str, ...]


def most_lone_calls(nodes: int) -> int:
    """Return how many JSON-RPC calls `lone_addition` makes at most, where a block holds one addition."""
    return MOST_ADDITIONS * (1 + nodes)


async def lone_addition(nodes: Mapping[str, NodePort], listed: Mapping[str, Collection[int]]) -> LoneAddition | None:
    """Return the newest addition that some members executed and others refused; None when none is found.

    Args:
        nodes: By enclave key the members' nodes.
        listed: By enclave key the blocks in which the node's logs show that somebody came into the group.

    Raises:
        NodeError: A node does not answer.
    """
    blocks = {number for numbers in listed.values() for number in numbers}
    unlike = [number for number in sorted(blocks) if any(number not in numbers for numbers in listed.values())]
    for number in reversed(unlike[-MOST_ADDITIONS:]):
        reader = next(nodes[key] for key, numbers in listed.items() if number in numbers)
        (block,) = await reader.blocks([number])
        for item in block.content.transactions if block.content is not None else ():
            if not item.addition:
                continue
            asked = (node.outcomes([item.transaction_hash]) for node in nodes.values())
            said = dict(zip(nodes, [outcome for (outcome,) in await asyncio.gather(*asked)], strict=True))
            executed = tuple(key for key, outcome in said.items() if outcome.executed)
            refused = tuple(key for key, outcome in said.items() if outcome.executed is False)
            if executed and refused:
                return LoneAddition(
                    pmt_hash=item.transaction_hash, block_number=number, executed=executed, refused=refused
                )
    return None
