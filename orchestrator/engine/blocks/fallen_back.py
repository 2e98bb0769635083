"""What a repeated marker did to whom: members' nodes on which an old addition was executed again."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.membership.damage.fallen_back import FallenBack, FallenMember
from orchestrator.membership.damage.unextendable import Repetition

GROUPS_AT_ONCE: Final = 500
IMPORT_SECONDS: Final = 5.0
"""How long a node is waited for that has not imported the block yet."""


async def fallen_back(fleet: Fleet, groups: Sequence[str], repetition: Repetition) -> list[FallenBack]:
    """Return the groups that members' nodes lost something of in the block of a repetition, and which nodes.

    Source: docs/besu.md#stale-bundles, 6. The node replays the history up to the lock, shows that for the block before
    unless that block holds a transaction of the group, and executes the addition, which all others refuse.

    Args:
        fleet: The nodes; those that can't be asked are passed over.
        groups: The groups that are known.
        repetition: The repeated marker.

    Raises:
        NodeError: No node can be asked.
    """
    number, found = repetition.block_number, []
    for start in range(0, len(groups), GROUPS_AT_ONCE):
        some = groups[start : start + GROUPS_AT_ONCE]
        shown: dict[ChainWatcher, tuple[tuple[str, ...], ...]] = {}
        failure: NodeError | None = None
        for watcher in fleet.watchers:
            try:
                # All nodes at one block: one that is late shows the group as it was before, which looks like a
                # difference.
                await watcher.wait_beyond(number - 1, IMPORT_SECONDS)
                shown[watcher] = await _roots(watcher, some, (repetition.first_block - 1, number - 1, number))
            except NodeError as error:
                failure = error
        if not shown and failure is not None:
            raise failure
        for place, group in enumerate(some):
            seen = [_Seen(watcher, *(at[place] for at in roots)) for watcher, roots in shown.items()]
            fallen = _fallen(group, [member for member in seen if member.after])
            if fallen is not None:
                found.append(fallen)
    return found


async def _roots(watcher: ChainWatcher, groups: Sequence[str], numbers: Sequence[int]) -> tuple[tuple[str, ...], ...]:
    """Return the node's roots of groups at blocks: by block, then by group; empty text where it has none."""
    found = []
    for number in numbers:
        views = await watcher.node.roots_of(groups, number)
        found.append(tuple(view.state_root if view.exists else "" for view in views))
    return tuple(found)


class _Seen(NamedTuple):
    """A node's roots of a group: under the lock of back then, before the block and after it."""

    watcher: ChainWatcher
    locked: str
    before: str
    after: str

    @property
    def changed(self) -> bool:
        return self.before != self.after

    @property
    def is_back(self) -> bool:
        return self.changed and bool(self.before) and self.before == self.locked


def _fallen(group: str, members: list[_Seen]) -> FallenBack | None:
    # Those that fell back may be more than the others, and confirm each other: what tells is that nothing happened to
    # the group on the others.
    still = [member.after for member in members if not member.changed]
    fallen = [m for m in members if m.is_back or (m.changed and still and m.after not in still)]
    if not fallen:
        return None
    support = Counter(member.after for member in members if member not in fallen)
    other_root = support.most_common(1)[0][0] if support else ""
    well = (m.watcher.node.name for m in members if m not in fallen and m.after == other_root)
    return FallenBack(
        privacy_group_id=group,
        members=tuple(
            FallenMember(
                node=member.watcher.node.name,
                enclave_key=member.watcher.node.enclave_keys[0],
                state_root=member.after,
                fell_back=member.is_back,
            )
            for member in fallen
        ),
        other_root=other_root,
        through=next(well, None),
    )
