"""Which groups have an executed transaction in a block, by the roots that nodes show before it and after it."""

from collections.abc import Sequence

import structlog

from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.membership.damage.unextendable import changed_in
from orchestrator.membership.model import GroupView

log = structlog.get_logger()


async def executed_in(fleet: Fleet, groups: Sequence[str], number: int) -> list[str]:
    """Return which groups have an executed transaction in a block.

    Args:
        fleet: The nodes; those that do not have the block yet are passed over.
        groups: The groups.
        number: The block.

    Raises:
        NodeError: No node answers.
    """
    seen: dict[str, list[tuple[GroupView, GroupView]]] = {group: [] for group in groups}
    failure: NodeError | None = None
    answered = 0
    for watcher in fleet.watchers:
        try:
            # No answer for a block that the node lacks is not "nothing happened".
            if (await watcher.current()).number < number:
                continue
            pairs = await _pairs(watcher, groups, number)
        except NodeError as error:
            failure = error
            continue
        answered += 1
        for group, pair in pairs.items():
            seen[group].append(pair)
    if not answered and failure is not None:
        raise failure
    return [group for group, views in seen.items() if changed_in(views)]


async def _pairs(watcher: ChainWatcher, groups: Sequence[str], number: int) -> dict[str, tuple[GroupView, GroupView]]:
    """Return groups before a block and after it; one that a node answers with nonsense does not hide the others.

    Raises:
        NodeError: The node does not answer at all.
    """
    try:
        before = await watcher.node.roots_of(groups, number - 1)
        after = await watcher.node.roots_of(groups, number)
    except NodeError as error:
        if len(groups) == 1:
            log.warning("group not looked at", group=groups[0], node=watcher.node.name, reason=str(error))
            return {}
        # A node that is away would be asked about each half, and each half of that, in vain.
        await watcher.node.head()
        half = len(groups) // 2
        parts = [await _pairs(watcher, some, number) for some in (groups[:half], groups[half:])]
        return parts[0] | parts[1]
    return {group: (earlier, later) for group, earlier, later in zip(groups, before, after, strict=True)}
