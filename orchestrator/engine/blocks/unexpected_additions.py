"""What an addition's marker did that was mined where nobody expects it: members' nodes that no longer agree."""

import asyncio
from collections.abc import Sequence
from typing import Final

from orchestrator.engine.blocks.fallen_back import GROUPS_AT_ONCE, IMPORT_SECONDS
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.membership.damage.fallen_back import FallenBack, FallenMember
from orchestrator.membership.damage.unextendable import SeenAddition

LOOKED_BACK: Final = 4_096
"""Blocks before an addition in which the transaction is looked for that it names as its history."""
BLOCKS_AT_ONCE: Final = 128
BUNDLED_BLOCKS: Final = 256
"""Blocks before an addition in which those that refused it were where its bundle ends."""
KEY_CHARACTERS: Final = 64


async def refused_and_executed(
    fleet: Fleet, addition: SeenAddition
) -> tuple[tuple[ChainWatcher, ...], tuple[ChainWatcher, ...]]:
    """Return whose nodes refused an addition, and whose executed it; a node that lacks the payload tells neither.

    An addition by its owner, to a group that is as its sender knows it, is executed by every member. What one executes
    and another refuses comes from a stale bundle (docs/besu.md#stale-bundles); what all refuse was made to an unlocked
    group, or under an older version.

    Args:
        fleet: The nodes; those that can't be asked tell nothing.
        addition: The marker.
    """
    found = await asyncio.gather(*(_executed(watcher, addition) for watcher in fleet.watchers))
    said = list(zip(fleet.watchers, found, strict=True))
    return tuple(w for w, executed in said if executed is False), tuple(w for w, executed in said if executed)


async def _executed(watcher: ChainWatcher, addition: SeenAddition) -> bool | None:
    try:
        await watcher.wait_beyond(addition.block_number - 1, IMPORT_SECONDS)
        (outcome,) = await watcher.node.outcomes([addition.transaction_hash])
    except NodeError:
        return None
    # Not mined for this node: it may be on another branch, and tells nothing.
    return outcome.executed if outcome.block_number is not None else None


async def parted(
    groups: Sequence[str], addition: SeenAddition, refused: Sequence[ChainWatcher], executed: Sequence[ChainWatcher]
) -> list[FallenBack]:
    """Return the groups in which nodes that executed an addition show, since its block, another state than the others.

    Args:
        groups: The groups that are known.
        addition: The marker.
        refused: Whose nodes refused it.
        executed: Whose nodes executed it.

    Raises:
        NodeError: One of them does not answer.
    """
    found = []
    for start in range(0, len(groups), GROUPS_AT_ONCE):
        some = groups[start : start + GROUPS_AT_ONCE]
        after = {w: await w.node.roots_of(some, addition.block_number) for w in (*refused, *executed)}
        before = {w: await w.node.roots_of(some, addition.block_number - 1) for w in executed}
        for place, group in enumerate(some):
            # The measure is a member that refused: it has no part in the addition, whichever side is the larger.
            right = next((w for w in refused if after[w][place].exists), None)
            other = after[right][place].state_root if right is not None else ""
            odd = [
                w
                for w in executed
                if after[w][place].exists and after[w][place].state_root not in (other, before[w][place].state_root)
            ]
            if odd and right is not None and await _is_stale(group, addition, odd, right):
                members = tuple(
                    FallenMember(
                        node=w.node.name,
                        enclave_key=w.node.enclave_keys[0],
                        state_root=after[w][place].state_root,
                        fell_back=False,
                    )
                    for w in odd
                )
                found.append(
                    FallenBack(privacy_group_id=group, members=members, other_root=other, through=right.node.name)
                )
    return found


async def _is_stale(
    group: str, addition: SeenAddition, executed: Sequence[ChainWatcher], refused: ChainWatcher
) -> bool:
    """Return whether an addition came with a stale bundle, instead of being refused by who had lost something before.

    Nobody but its sender and its new members has its bundle (docs/besu.md#stale-bundles), and what these fell back to
    the others went through. Else it was an honest one, and the audit names who refused it.
    """
    number = addition.block_number
    logs = await asyncio.gather(*(w.node.memberships([group], number, number) for w in executed))
    old = [
        watcher
        for watcher, seen in zip(executed, logs, strict=True)
        if not any(log.added and log.member in watcher.node.enclave_keys for log in seen)
    ]
    # Of the old members its sender alone has a bundle: another one executed it as it was, so that it was honest.
    if len(old) > 1:
        return False
    (before,) = await executed[0].node.roots(group, [number - 1])
    passed = await refused.node.roots(group, range(max(number - BUNDLED_BLOCKS, 0), number))
    return not before.exists or any(view.state_root == before.state_root for view in passed if view.exists)


async def misread_by(fleet: Fleet, addition: SeenAddition) -> tuple[str, tuple[str, ...]] | None:
    """Return which earlier marker's transaction an addition names as its history, and whose nodes stand before it.

    Such a node can't import the block (docs/besu.md#what-a-replay-needs, 13). None where no node stands, or where what
    it names is no transaction of the last blocks.

    Args:
        fleet: The nodes.
        addition: The marker.

    Raises:
        NodeError: A node that has the block does not answer.
    """
    number, named = addition.block_number, addition.addition.removeprefix("0x")[KEY_CHARACTERS:]
    # A node that does not answer may be anywhere: only one that is seen to be behind may stand.
    behind = [w for w in fleet.watchers if not w.silent and w.head is not None and w.head.number < number]
    reader = next((w for w in fleet.watchers if w.head is not None and w.head.number >= number), None)
    if not behind or reader is None:
        return None
    for last in range(number, max(number - LOOKED_BACK, -1), -BLOCKS_AT_ONCE):
        blocks = await reader.node.blocks(range(max(last - BLOCKS_AT_ONCE + 1, 0), last + 1))
        contents = (block.content for block in reversed(blocks) if block.content is not None)
        found = next((t for content in contents for t in content.transactions if t.payload_key == named), None)
        if found is not None:
            return found.transaction_hash, tuple(watcher.node.name for watcher in behind)
    return None
