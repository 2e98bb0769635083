"""What the HTTP API needs of forecasts of additions, as protocols."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.membership.forecast.blocks import Examination
from orchestrator.membership.forecast.durations import Durations
from orchestrator.membership.forecast.returns import Returns
from orchestrator.membership.forecast.verdict import Forecast
from orchestrator.membership.reasons.table import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What would come of an addition.

    Attributes:
        forecast: What every node would make of it.
        preflight: Why the daemon would not begin it now; None when it would.
        durations: How long it would take; None when that can't be told.
        returns: What it does to the new members' ways back to groups that they have left.
    """

    forecast: Forecast
    preflight: Reason | None = None
    durations: Durations | None = None
    returns: Returns


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalForeseen:
    """Whether members could be added again after their removal, as things stand.

    Attributes:
        addition: The forecast of that addition.
        refused: Why the daemon would not add them again, were it asked right after the removal; None when it would.
        preflight: Why the daemon would not begin the removal now; None when it would.
        closed_block: The first block of the group that no node can replay: a node without the group's history can't
            take it; None when there is none.
    """

    addition: Forecast
    refused: Reason | None = None
    preflight: Reason | None = None
    closed_block: Examination | None = None


class ForecastReader(Protocol):
    """Forecasts additions; fulfilled by `orchestrator.api.resources.forecasts.FleetForecasts`."""

    async def forecast(self, privacy_group_id: str, members: Sequence[str]) -> Foreseen | None:
        """Return what is to be expected of adding members; None when no node shows the group.

        Args:
            privacy_group_id: The group.
            members: Enclave keys; those that are members already are left out.

        Raises:
            UnforeseenError: It could not be looked at, or all are members already.
            StoreError: What is kept of the history can't be read or written.
        """

    async def removal(self, privacy_group_id: str, members: Sequence[str]) -> RemovalForeseen | None:
        """Return whether members could come back after their removal; None when no node shows the group.

        Args:
            privacy_group_id: The group.
            members: Enclave keys; those that are no members are left out.

        Raises:
            UnforeseenError: It could not be looked at, or none of them is a member.
            StoreError: What is kept of the history can't be read or written.
        """


class UnforeseenError(Exception):
    """There is no forecast; the message says why, and what to do; `passing` whether asking again later may help."""

    def __init__(self, message: str, *, passing: bool) -> None:
        super().__init__(message)
        self.passing = passing
