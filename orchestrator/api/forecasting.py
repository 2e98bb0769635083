"""Forecasts of additions on the configured nodes, as the daemon itself would ask for them."""

import asyncio
from collections.abc import Sequence
from typing import Final

from orchestrator.api.ports import UnforeseenError
from orchestrator.engine.fleet import Fleet
from orchestrator.engine.history.forecaster import Forecaster, Question
from orchestrator.engine.node_ports import NodeError
from orchestrator.membership.forecast.verdict import Forecast
from orchestrator.membership.reasons import describe

AT_ONCE: Final = 2
"""Forecasts that are made at the same time: each may read a part of a history, and changes come first."""
FORECAST_SECONDS: Final = 25.0


class FleetForecasts:
    """Forecasts additions; changes nothing but what is kept of histories.

    Args:
        fleet: The nodes.
        forecaster: Forecasts.
    """

    def __init__(self, fleet: Fleet, forecaster: Forecaster) -> None:
        self._fleet = fleet
        self._forecaster = forecaster
        self._places = asyncio.Semaphore(AT_ONCE)

    async def forecast(self, privacy_group_id: str, members: Sequence[str]) -> Forecast | None:
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

    async def _forecast(self, privacy_group_id: str, members: Sequence[str]) -> Forecast | None:
        sender = await self._fleet.sender_for(privacy_group_id, (), ())
        if not sender.view.exists:
            return None
        present = sender.view.participants
        to_add = tuple(key for key in dict.fromkeys(members) if key not in present)
        if not to_add:
            raise UnforeseenError("All of them are members already: there is nothing to add.", passing=False)
        return await self._forecaster.forecast(
            Question(privacy_group_id=privacy_group_id, to_add=to_add, participants=present)
        )
