"""Forecasts of additions on the configured nodes, as the daemon itself would ask for them."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from orchestrator.api.ports.forecasts import Foreseen, UnforeseenError
from orchestrator.engine.history.forecaster import Forecaster
from orchestrator.engine.node_ports import NodeError, NodePort
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.preflight.durations import AdditionTimes
from orchestrator.engine.preflight.survey import survey
from orchestrator.membership.model import Change, Kind
from orchestrator.membership.preflight import plan_for
from orchestrator.membership.reasons.table import Reason, describe

AT_ONCE: Final = 2
"""Forecasts that are made at the same time: each may read a part of a history, and changes come first."""
FORECAST_SECONDS: Final = 25.0
_NO_TIME: Final = datetime.fromtimestamp(0, UTC)
"""When the change was asked for that is only imagined."""


class FleetForecasts:
    """Forecasts additions; changes nothing but what is kept of histories.

    Args:
        fleet: The nodes.
        forecaster: Forecasts.
        times: What additions take.
        accounts: The accounts that the daemon can act as.
    """

    def __init__(self, fleet: Fleet, forecaster: Forecaster, times: AdditionTimes, accounts: Sequence[str]) -> None:
        self._fleet = fleet
        self._forecaster = forecaster
        self._times = times
        self._accounts = accounts
        self._places = asyncio.Semaphore(AT_ONCE)

    async def forecast(self, privacy_group_id: str, members: Sequence[str]) -> Foreseen | None:
        """Return what is to be expected of adding members; None when no node shows the group.

        Raises:
            UnforeseenError: It could not be looked at, or all are members already.
            StoreError: What is kept of the history can't be read or written.
        """
        try:
            async with asyncio.timeout(FORECAST_SECONDS), self._places:
                return await self._forecast(privacy_group_id, members)
        except NodeError as error:
            raise UnforeseenError(describe(error.reason), passing=True) from error
        except TimeoutError:
            detail = f"The nodes did not tell all within {FORECAST_SECONDS:.0f} s; what was read is kept. Ask again."
            raise UnforeseenError(detail, passing=True) from None

    async def _forecast(self, privacy_group_id: str, members: Sequence[str]) -> Foreseen | None:
        sender = await self._fleet.sender_for(privacy_group_id, (), ())
        if not sender.view.exists:
            return None
        present = sender.view.participants
        to_add = tuple(key for key in dict.fromkeys(members) if key not in present)
        if not to_add:
            raise UnforeseenError("All of them are members already: there is nothing to add.", passing=False)
        account = await self._owner(sender.watcher.node, privacy_group_id)
        wanted = Change(
            change_id="",
            request_id="",
            kind=Kind.ADD_MEMBERS,
            privacy_group_id=privacy_group_id,
            members=to_add,
            account=account,
            created_at=_NO_TIME,
        )
        seen = await survey(self._fleet, wanted, self._forecaster)
        if seen.forecast is None:
            raise UnforeseenError("The members changed while they were looked at. Ask again.", passing=True)
        planned = plan_for(wanted, seen)
        return Foreseen(
            forecast=seen.forecast,
            preflight=planned if isinstance(planned, Reason) else None,
            durations=await self._times.durations(privacy_group_id, seen.node, seen.forecast.replays),
        )

    async def _owner(self, node: NodePort, privacy_group_id: str) -> str:
        """Return the account that owns the group; the first when none does, which preflight then says."""
        for account in self._accounts if len(self._accounts) > 1 else ():
            if await node.owns(privacy_group_id, account):
                return account
        return next(iter(self._accounts), "")
