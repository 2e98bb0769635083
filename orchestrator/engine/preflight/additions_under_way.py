"""Additions of all lanes and replicas that may make one node replay at the same time."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.engine.record_ports import ChangeFilter
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

UNDER_WAY: Final = ChangeFilter(states=tuple(sorted(ADDS)))
"""The changes that an addition has to look at before it begins."""


@dataclass(frozen=True, slots=True)
class AdditionsUnderWay:
    """Looks at the others before an addition begins; the rules are in `membership.forecast.schedule`.

    Attributes:
        changes: Reads the changes that are `UNDER_WAY` from the store.
        rules: How replays are kept apart.
    """

    changes: Callable[[], Awaitable[Sequence[Change]]]
    rules: ReplayRules

    async def busy(self, change: Change, forecast: Forecast) -> Reason | None:
        """Return why a group should not be locked for an addition yet.

        Raises:
            StoreError: The store does not answer.
        """
        mine = additions_of(change.change_id, change.privacy_group_id, forecast.replays)
        if not mine:
            return None
        others = [other for other in await self.changes() if other.change_id != change.change_id]
        return busy(mine, others, self.rules)

    async def replaying(self, change: Change, node: str) -> Reason | None:
        """Return why what a node bundled while a block came may be torn.

        Raises:
            StoreError: The store does not answer.
        """
        return bundling_obstacle(change.change_id, node, await self.changes())

    async def precedence(self, change: Change) -> Precedence | None:
        """Return which addition goes before one that is signed and stored.

        Raises:
            StoreError: The store does not answer.
        """
        if change.plan is None or not change.plan.replays:
            return None
        return precedence(change, await self.changes(), self.rules)
