"""Additions of all lanes and replicas that may make one node replay at the same time."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from orchestrator.bounded_dicts import BoundedDict
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.engine.ports.records import ChangeFilter
from orchestrator.membership.attempt import Action
from orchestrator.membership.facts import Fact, GaveWay, Hindered
from orchestrator.membership.forecast.schedule import (
    ADDS,
    Obstacle,
    ReplayRules,
    additions_of,
    gives_way,
    may_replay,
    obstacles,
    obstacles_at_the_end,
    obstacles_to_bundling,
)
from orchestrator.membership.forecast.verdict import Forecast
from orchestrator.membership.model import Change
from orchestrator.membership.reasons.table import Reason
from orchestrator.shared_reads import SharedReads

UNDER_WAY: Final = ChangeFilter(states=tuple(sorted(ADDS)))
"""The changes that an addition has to look at before it begins."""

IN_LINE_BLOCKS: Final = 8
"""How many block periods an addition stands in line behind another one before it asks the node itself. A lock and an
addition take four to five; whoever is not done then may be held up by a node that this one's group has nothing to do
with."""

MOST_IN_LINE: Final = 10_000


class AdditionsUnderWay:
    """Looks at the others before an addition begins; the rules are in `membership.forecast.schedule`.

    Args:
        changes: Reads the changes that are `UNDER_WAY` from the store.
        rules: How replays are kept apart.
        fleet: The nodes.
        clock: Time.
        confirmations: How deep a block is for good.
    """

    def __init__(
        self,
        changes: Callable[[], Awaitable[Sequence[Change]]],
        rules: ReplayRules,
        fleet: Fleet,
        clock: Clock,
        confirmations: int = 0,
    ) -> None:
        self._changes = changes
        self._rules = rules
        self._fleet = fleet
        self._clock = clock
        self._confirmations = confirmations
        self._met: BoundedDict[tuple[str, int, bool], datetime] = BoundedDict(MOST_IN_LINE)
        # A hundred additions at once would each read all hundred.
        self._shared = SharedReads(self._read)

    async def _read(self, _: Sequence[None]) -> Mapping[None, Sequence[Change]]:
        return {None: await self._changes()}

    async def busy(self, change: Change, forecast: Forecast) -> Reason | None:
        """Return why a group should not be locked for an addition yet.

        Raises:
            StoreError: The store does not answer.
        """
        mine = additions_of(change.change_id, change.privacy_group_id, forecast.replays)
        if not mine:
            return None
        first = await self._first(obstacles(change, mine, await self._shared.of(None), self._rules))
        return None if first is None else first.reason

    async def replaying(self, change: Change, node: str) -> Reason | None:
        """Return why what a node bundled while a block came may be torn.

        Raises:
            StoreError: The store does not answer.
        """
        first = await self._first(obstacles_to_bundling(change, node, await self._shared.of(None)))
        return None if first is None else first.reason

    async def before(self, change: Change) -> Fact | None:
        """Return why an addition that is signed and stored is not broadcast: another one goes first.

        Raises:
            StoreError: The store does not answer.
        """
        if change.plan is None or not change.plan.replays:
            return None
        first = await self._first(obstacles_at_the_end(change, await self._shared.of(None), self._rules))
        if first is None:
            return None
        return GaveWay(reason=first.reason) if gives_way(change, first.change) else Hindered(reason=first.reason)

    async def _first(self, found: Iterable[Obstacle]) -> Obstacle | None:
        for obstacle in found:
            if not await self._is_over(obstacle):
                return obstacle
        return None

    async def _is_over(self, obstacle: Obstacle) -> bool:
        """Whether an addition that has been in the way for long is none any more, by the word of the node that replays.

        Its own lane may be held up by what another node says, or does not say, of its group.
        """
        other = obstacle.change
        moment = self._clock.now()
        met = self._met.setdefault((other.change_id, other.tries, may_replay(other)), moment)
        if moment - met < IN_LINE_BLOCKS * self._rules.block_period:
            return False
        # It has signed no addition. When it has, it looks at the others, and at the node anew.
        if not may_replay(other):
            return True
        watcher, attempt = self._fleet.named(obstacle.node), other.attempt
        if watcher.head is None:
            return False
        last = watcher.head.number - self._confirmations
        try:
            if attempt is None or attempt.action is not Action.ADD or not attempt.pmt_hashes:
                return other.effect is not None and other.effect.block_number <= last
            if attempt.marker.ours:
                # The account signs the marker and what burns it, under one nonce: one of both is in the node's blocks.
                return await watcher.node.account_nonce(attempt.marker.account, last) > attempt.marker.account_nonce
            outcomes = await watcher.node.outcomes(attempt.pmt_hashes)
        except NodeError:
            return False
        return any(outcome.block_number is not None and outcome.block_number <= last for outcome in outcomes)
