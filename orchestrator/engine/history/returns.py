"""What an addition does to the ways back of the new members' nodes: what is read for it.

Only for a person who asks beforehand: it refuses nothing, so that additions themselves don't pay its calls.
"""

from collections.abc import Sequence
from typing import Final

from orchestrator.engine.history.overlaps import with_blocks
from orchestrator.engine.history.ports import HistoryStore
from orchestrator.engine.history.replays import NodeReplays
from orchestrator.engine.history.roots import NodeRoots
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Head, NodeError
from orchestrator.membership.forecast.blocks import Examination
from orchestrator.membership.forecast.returns import LeftGroup, ReturnAtRisk, Returns, left_groups, return_at_risk
from orchestrator.membership.forecast.verdict import Forecast, Unseen
from orchestrator.membership.model import ExpectedReplay
from orchestrator.membership.reasons.table import Reason

MOST_LEFT: Final = 500
"""Groups that one node left of which the logs are read: each costs a call."""


class ReturnReader:
    """Reads which groups new members' nodes left, and what a replay would do to the way back.

    Args:
        fleet: The nodes.
        store: Has the groups' blocks.
        replays: What nodes replayed.
        roots: Reads and remembers roots.
    """

    def __init__(self, fleet: Fleet, store: HistoryStore, replays: NodeReplays, roots: NodeRoots) -> None:
        self._fleet = fleet
        self._store = store
        self._replays = replays
        self._roots = roots

    async def after(self, found: Forecast) -> Returns:
        """Return what an addition does to ways back.

        Args:
            found: The forecast of the addition, of a history that was read.

        Raises:
            StoreError: What is kept can't be read.
        """
        kept = await self._store.group_blocks(found.privacy_group_id)
        numbers = [block.number for block in kept.blocks]
        at_risk: list[ReturnAtRisk] = []
        unseen: list[Unseen] = []
        for replay in found.replays:
            watcher = self._fleet.hosting(replay.enclave_key)
            if watcher is None or not replay.blocks:
                continue  # its node is no one's that we see, which the forecast says; or it replays nothing
            try:
                at_risk += await self._of(watcher, replay, found.privacy_group_id, frozenset(numbers[-replay.blocks :]))
            except NodeError as error:
                detail = f"which groups its node has left: {error.reason.detail}"
                unseen.append(Unseen(enclave_key=replay.enclave_key, node=watcher.node.name, detail=detail))
        return Returns(at_risk=tuple(at_risk), unseen=tuple(unseen))

    async def closed_block(self, privacy_group_id: str) -> Examination | None:
        """Return the first block of a group that no node can replay, of those that were read; None without one.

        Raises:
            StoreError: What is kept can't be read.
        """
        kept = await self._store.group_blocks(privacy_group_id)
        examined = await self._store.examinations([block.number for block in kept.blocks])
        return min((one for one in examined if not one.replayable), key=lambda one: one.number, default=None)

    async def _of(
        self, watcher: ChainWatcher, replay: ExpectedReplay, group: str, replayed: frozenset[int]
    ) -> list[ReturnAtRisk]:
        keys = watcher.node.enclave_keys
        head = await watcher.current()
        # By its own state: a node that left a group lists those who stayed (docs/besu.md#life-of-a-change, 5).
        listed = await watcher.node.groups([])
        candidates = sorted(name for name, members in listed.items() if name != group and not set(keys) & set(members))
        if len(candidates) > MOST_LEFT:
            detail = f"it holds {len(candidates)} groups that it is not in, more than the {MOST_LEFT} that are read"
            raise NodeError(Reason(slug="history_not_read", detail=detail))
        logs = await watcher.node.memberships(candidates, 0, head.number) if candidates else ()
        found = []
        for left in left_groups(keys, logs):
            ends, after = left.block_number in replayed, left.block_number + 1 in replayed
            goes_on = await self._goes_on(left, listed[left.privacy_group_id]) if ends and not after else None
            earlier = after and not ends and await self._replayed_since(watcher, head, left, group)
            risk = return_at_risk(
                replay.enclave_key, watcher.node.name, left, replayed, goes_on=goes_on, earlier=earlier
            )
            found += [] if risk is None else [risk]
        return found

    async def _goes_on(self, left: LeftGroup, members: Sequence[str]) -> bool | None:
        """Return whether a group has a transaction in the block after; None when that is not known."""
        after = left.block_number + 1
        kept = await self._store.group_blocks(left.privacy_group_id)
        if kept.mark is not None and kept.mark.number >= after:
            return any(block.number == after for block in kept.blocks)
        for watcher in filter(None, map(self._fleet.hosting, members)):
            try:
                views = await watcher.node.roots(left.privacy_group_id, [left.block_number, after])
            except NodeError:
                continue
            # That they differ may come of what that node replayed itself; that they don't leaves no room.
            if views[0].exists and views[0].state_root == views[1].state_root:
                return False
        return None

    async def _replayed_since(self, watcher: ChainWatcher, head: Head, left: LeftGroup, group: str) -> bool:
        """Return whether the node replayed a third group since, that has a transaction in the block it left in."""
        record = await self._replays.of(watcher, head)
        others = [r for r in record.replays if r.privacy_group_id not in (group, left.privacy_group_id)]
        replays = await with_blocks(self._roots, watcher, others, [left.block_number])
        return any(replay.disturbs(left.block_number) for replay in replays or ())
