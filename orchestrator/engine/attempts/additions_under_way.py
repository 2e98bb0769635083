"""Additions of all lanes and replicas that may make one node replay at the same time."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from orchestrator.engine.ports.records import ChangeFilter
from orchestrator.membership.forecast.schedule import (
    ADDS,
    Precedence,
    ReplayRules,
    additions_of,
    bundling_obstacle,
    busy,
    precedence,
)
from orchestrator.membership.forecast.verdict import Forecast
from orchestrator.membership.model import Change
from orchestrator.membership.reasons.table import Reason
from orchestrator.shared_reads import SharedReads

UNDER_WAY: Final = ChangeFilter(states=tuple(sorted(ADDS)))
"""The changes that an addition has to look at before it begins."""


class AdditionsUnderWay:
    """Looks at the others before an addition begins; the rules are in `membership.forecast.schedule`.

    Args:
        changes: Reads the changes that are `UNDER_WAY` from the store.
        rules: How replays are kept apart.
    """

    def __init__(self, changes: Callable[[], Awaitable[Sequence[Change]]], rules: ReplayRules) -> None:
        self._changes = changes
        self._rules = rules
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
        others = [other for other in await self._shared.of(None) if other.change_id != change.change_id]
        return busy(mine, others, self._rules)

    async def replaying(self, change: Change, node: str) -> Reason | None:
        """Return why what a node bundled while a block came may be torn.

        Raises:
            StoreError: The store does not answer.
        """
        return bundling_obstacle(change.change_id, node, await self._shared.of(None))

    async def precedence(self, change: Change) -> Precedence | None:
        """Return which addition goes before one that is signed and stored.

        Raises:
            StoreError: The store does not answer.
        """
        if change.plan is None or not change.plan.replays:
            return None
        return precedence(change, await self._shared.of(None), self._rules)
