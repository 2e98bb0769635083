"""Copied additions that some members executed and others refused, by what each member's node says of their markers.

That one executes what another refuses does not tell by itself who is wrong: a member that had lost something refuses
an honest addition. A marker whose bytes stand in an earlier block does: whoever executes it again fell back.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator.engine.ports.nodes import NodePort

MOST_ADDITIONS: Final = 32
"""The newest additions to a group, which are compared with each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoneAddition:
    """A copied addition that parted members (docs/besu.md#stale-bundles, 6).

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
    """Return how many JSON-RPC calls `lone_addition` makes at most, where one block holds a copy."""
    return MOST_ADDITIONS + nodes


async def lone_addition(nodes: Mapping[str, NodePort], listed: Mapping[str, Collection[int]]) -> LoneAddition | None:
    """Return the newest copied addition that some members executed and others refused; None when none is found.

    Args:
        nodes: By enclave key the members' nodes.
        listed: By enclave key the blocks in which the node's logs show that somebody came into the group.

    Raises:
        NodeError: A node does not answer.
    """
    numbers = sorted({number for blocks in listed.values() for number in blocks})[-MOST_ADDITIONS:]
    # The usual case, without a call: all logs show the same additions.
    if all(number in blocks for number in numbers for blocks in listed.values()):
        return None
    first: dict[str, int] = {}
    additions = [
        (block.number, item)
        for block in await next(iter(nodes.values())).blocks(numbers)
        for item in (block.content.transactions if block.content is not None else ())
        if item.addition
    ]
    copies = [
        (number, item.transaction_hash)
        for number, item in additions
        # In one block copies do no harm (docs/besu.md#stale-bundles, 2).
        if first.setdefault(item.addition, number) < number
    ]
    for number, pmt_hash in reversed(copies):
        asked = (node.outcomes([pmt_hash]) for node in nodes.values())
        said = dict(zip(nodes, [outcome for (outcome,) in await asyncio.gather(*asked)], strict=True))
        executed = tuple(key for key, outcome in said.items() if outcome.executed)
        refused = tuple(key for key, outcome in said.items() if outcome.executed is False)
        if executed and refused:
            return LoneAddition(pmt_hash=pmt_hash, block_number=number, executed=executed, refused=refused)
    return None
