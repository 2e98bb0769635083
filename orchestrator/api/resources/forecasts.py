"""Forecasts of additions on the configured nodes, as the daemon itself would ask for them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, TypeVar

from orchestrator.api.ports.forecasts import Foreseen, RemovalForeseen, UnforeseenError
from orchestrator.engine.history.forecaster import Forecaster, Question
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.ports.nodes import NodeError, NodePort
from orchestrator.engine.preflight.durations import AdditionTimes
from orchestrator.engine.preflight.survey import survey
from orchestrator.membership.forecast.returns import Returns, after_removal
from orchestrator.membership.forecast.verdict import Forecast, Unseen
from orchestrator.membership.model import Change, Kind
from orchestrator.membership.preflight import plan_for
from orchestrator.membership.reasons.judgements import Judgement
from orchestrator.membership.reasons.table import Reason, describe, rule_of

AT_ONCE: Final = 2
"""Forecasts that are made at the same time: each may read a part of a history, and changes come first."""
FORECAST_SECONDS: Final = 25.0
RETURNS_SECONDS: Final = 5.0
"""What of a node's past closes a way back may take so long: a forecast is not lost for it."""
_NO_TIME: Final = datetime.fromtimestamp(0, UTC)
"""When the change was asked for that is only imagined."""

T = TypeVar("T")


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
        return await self._bounded(lambda: self._forecast(privacy_group_id, members))

    async def removal(self, privacy_group_id: str, members: Sequence[str]) -> RemovalForeseen | None:
        """Return whether members could come back after their removal; None when no node shows the group.

        Raises:
            UnforeseenError: It could not be looked at, or none of them is a member.
            StoreError: What is kept of the history can't be read or written.
        """
        return await self._bounded(lambda: self._removal(privacy_group_id, members))

    async def _bounded(self, look: Callable[[], Awaitable[T]]) -> T:
        try:
            # The wait for a place counts, too: whoever asks waits no longer in a queue than for an answer.
            async with asyncio.timeout(FORECAST_SECONDS), self._places:
                return await look()
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
        wanted = await self._imagined(Kind.ADD_MEMBERS, privacy_group_id, to_add, sender.watcher.node)
        seen = await survey(self._fleet, wanted, self._forecaster)
        if seen.forecast is None:
            raise UnforeseenError("The members changed while they were looked at. Ask again.", passing=True)
        planned = plan_for(wanted, seen)
        return Foreseen(
            forecast=seen.forecast,
            preflight=planned if isinstance(planned, Reason) else None,
            durations=await self._times.durations(privacy_group_id, seen.node, seen.forecast.replays),
            returns=await self._returns(seen.forecast),
        )

    async def _returns(self, found: Forecast) -> Returns:
        try:
            async with asyncio.timeout(RETURNS_SECONDS):
                return await self._forecaster.returns.after(found)
        except TimeoutError:
            detail = "which groups the nodes of the new members have left: it takes too long to read"
            return Returns(unseen=(Unseen(enclave_key=None, node=None, detail=detail),))

    async def _removal(self, privacy_group_id: str, members: Sequence[str]) -> RemovalForeseen | None:
        sender = await self._fleet.sender_for(privacy_group_id, (), ())
        if not sender.view.exists:
            return None
        leaving = tuple(key for key in dict.fromkeys(members) if key in sender.view.participants)
        if not leaving:
            raise UnforeseenError("None of them is a member: there is nothing to remove.", passing=False)
        wanted = await self._imagined(Kind.REMOVE_MEMBERS, privacy_group_id, leaving, sender.watcher.node)
        seen = await survey(self._fleet, wanted, self._forecaster)
        planned = plan_for(wanted, seen)
        staying = tuple(key for key in seen.view.participants if key not in leaving)
        question = Question(
            privacy_group_id=privacy_group_id,
            to_add=leaving,
            participants=seen.view.participants,
            leaving=leaving,
            asks_others=False,
        )
        try:
            addition = after_removal(await self._forecaster.forecast(question))
        except NodeError:
            # Such as a group of which no other member's node is ours: that is why, not a node that is away.
            if isinstance(planned, Reason) and rule_of(planned).judgement is not Judgement.RETRY:
                raise UnforeseenError(describe(planned), passing=False) from None
            raise
        # The group as it will be: without them, and unlocked.
        then = replace(seen, view=replace(seen.view, participants=staying, locked=False), forecast=addition)
        again = plan_for(replace(wanted, kind=Kind.ADD_MEMBERS), then)
        return RemovalForeseen(
            addition=addition,
            refused=again if isinstance(again, Reason) else None,
            preflight=planned if isinstance(planned, Reason) else None,
            closed_block=await self._forecaster.returns.closed_block(privacy_group_id),
        )

    async def _imagined(self, kind: Kind, group: str, members: tuple[str, ...], node: NodePort) -> Change:
        """Return the change as it would be asked for, by the account that owns the group."""
        return Change(
            change_id="",
            request_id="",
            kind=kind,
            privacy_group_id=group,
            members=members,
            account=await self._owner(node, group),
            created_at=_NO_TIME,
        )

    async def _owner(self, node: NodePort, privacy_group_id: str) -> str:
        """Return the account that owns the group; the first when none does, which preflight then says."""
        for account in self._accounts if len(self._accounts) > 1 else ():
            if await node.owns(privacy_group_id, account):
                return account
        return next(iter(self._accounts), "")
