"""Has somebody added a member that nodes list since the last look? Others founded its group, or are a change's."""

from collections.abc import Collection
from contextlib import suppress
from typing import Final

from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.engine.ports.records import ChangeFilter, ChangeList

CHANGES_OF_GROUP: Final = 50


async def is_news(
    fleet: Fleet, changes: ChangeList, group: str, key: str, listers: Collection[str], since: int, *, had: bool
) -> bool:
    """Whether a member was added to a group that was there before it, and by no change of ours.

    Args:
        fleet: The nodes.
        changes: The store of changes.
        group: The group.
        key: The member, on one of the nodes.
        listers: Members whose nodes list the group.
        since: The block of the last look at the member's node.
        had: Whether that node had the group at the last look.

    Raises:
        NodeError: The member's node does not tell; one that is behind the last look can't.
        StoreError: The store does not answer.
    """
    ours = await changes.changes(ChangeFilter(privacy_group_id=group), limit=CHANGES_OF_GROUP)
    watcher = fleet.hosting(key)
    if watcher is None or any(key in change.members for change in ours):
        return False
    before = await watcher.node.view(group, since)
    # The past of a node that had not the group at the last look is a replayed one, and may list the member long
    # ago: its guard refused an addition then, and let another pass now.
    if had and before.exists and key in before.participants:
        return False
    hosts = dict.fromkeys(host for other in listers if (host := fleet.hosting(other)) is not None)
    for host in hosts:
        with suppress(NodeError):
            # What a node says that it has beyond all others would be read without end.
            through = min((await host.current()).number, fleet.newest_head())
            founded = await _founded(host, group, key, since, through)
            if founded is not None:
                return not founded
    return True


async def _founded(watcher: ChainWatcher, group: str, key: str, since: int, through: int) -> bool | None:
    """Whether a member is in a group by its creation, which is nobody's joining; None where the node can't tell."""
    logs = await watcher.node.memberships([group], since + 1, through)
    added = [log.block_number for log in logs if log.added and log.member == key]
    if not added:
        return None
    first = min(log.block_number for log in logs)
    # A new member's own node has the group's blocks before its addition, too, once it has replayed them.
    return max(added) == first and not (await watcher.node.view(group, first - 1)).exists
