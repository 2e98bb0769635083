"""Repairing what the proof found: a member that lost its addition is removed and added again, once.

Off unless a deployment asks for it. The removal and the addition are changes like any other, seen by everybody; when
both have succeeded, the change that was parked is tried again and proves the group as a whole.
"""

from collections.abc import Sequence
from typing import Protocol

import structlog

from orchestrator.engine.fleet import Fleet
from orchestrator.engine.history.forecaster import Forecaster, Question
from orchestrator.engine.node_ports import NodeError
from orchestrator.engine.ports import Acceptance, Amendment, Clock, LeaseLostError, Record, StoreError
from orchestrator.engine.recording import record_of
from orchestrator.engine.requests import ChangeRequest, InvalidRequestError, parse_request
from orchestrator.membership.errors import ConflictingRequestError, RefusedRequestError
from orchestrator.membership.facts import RetryRequested
from orchestrator.membership.machine import step
from orchestrator.membership.model import Change, Kind, State
from orchestrator.membership.preflight import LOSES_ADDED_GROUPS
from orchestrator.membership.reasons import describe
from orchestrator.membership.repair import Step, lost_members, next_step, repair_ids

EVERY_SECONDS = 10.0
MOST_PARKED = 100
NEWEST_OF_GROUP = 100

log = structlog.get_logger()


class ParkedChanges(Protocol):
    """What of `orchestrator.engine.ports.ChangeStore` repairs use. Every method may raise `StoreError`."""

    async def changes(
        self, *, privacy_group_id: str | None = None, states: Sequence[State] = (), limit: int = 100, before: str = ""
    ) -> tuple[Change, ...]:
        """Return changes, newest first."""

    async def amend(self, change_id: str, amendment: Amendment) -> Change:
        """Commit an operator's request on a change that rests."""


class Requests(Protocol):
    """What takes requests: `orchestrator.engine.intake.Intake`."""

    async def submit(self, request: ChangeRequest) -> Acceptance:
        """Accept a request."""


class Repairer:
    """Repairs lost additions.

    Args:
        store: The store of changes.
        requests: Takes the changes that a repair is made of.
        fleet: The nodes.
        forecaster: Forecasts whether the removed members can be added again.
        clock: Time.
    """

    def __init__(
        self, store: ParkedChanges, requests: Requests, fleet: Fleet, forecaster: Forecaster, clock: Clock
    ) -> None:
        self._store = store
        self._requests = requests
        self._fleet = fleet
        self._forecaster = forecaster
        self._clock = clock

    async def run(self) -> None:
        """Look for parked changes and bring their repairs forward until cancelled."""
        while True:
            try:
                await self.repair_parked()
            except StoreError as error:
                log.warning("repairs not looked for, the store does not answer", reason=str(error))
            except Exception:  # a defect here must not stop the daemon
                log.exception("look for repairs failed")
            await self._clock.sleep(EVERY_SECONDS)

    async def repair_parked(self) -> None:
        """Bring each repair forward by one step.

        Raises:
            StoreError: The store does not answer.
        """
        for change in await self._store.changes(states=[State.PARKED], limit=MOST_PARKED):
            lost = lost_members(change)
            if lost:
                await self._advance(change, lost)

    async def _advance(self, change: Change, lost: tuple[str, ...]) -> None:
        ids = repair_ids(change)
        of_group = await self._store.changes(privacy_group_id=change.privacy_group_id, limit=NEWEST_OF_GROUP)
        known = {other.request_id: other for other in of_group}
        following = next_step(known.get(ids.removal), known.get(ids.addition))
        match following:
            case Step.REMOVE if await self._can_be_repaired(change, lost):
                await self._ask(ids.removal, Kind.REMOVE_MEMBERS, change, lost)
            case Step.ADD:
                await self._ask(ids.addition, Kind.ADD_MEMBERS, change, lost)
            case Step.RETRY:
                await self._retry(change)
            case _:
                pass

    async def _can_be_repaired(self, change: Change, lost: tuple[str, ...]) -> bool:
        """Whether each lost member could be added again, on a version that would receive the group.

        It is asked before the removal: a member that can't follow is not left out.
        """
        plan, effect = change.plan, change.effect
        if plan is None or effect is None:
            return False
        try:
            for key in lost:
                watcher = self._fleet.hosting(key)
                if watcher is None or (await watcher.node.traits()).besu_version == LOSES_ADDED_GROUPS:
                    return False
                await watcher.refresh()
            staying = tuple(key for key in effect.view.participants if key not in lost)
            question = Question(privacy_group_id=change.privacy_group_id, to_add=lost, participants=staying)
            forecast = await self._forecaster.forecast(question)
            if forecast.reason is not None:
                log.info("lost addition not repaired", change_id=change.change_id, reason=describe(forecast.reason))
                return False
        except NodeError as error:
            log.debug("repair waits", change_id=change.change_id, reason=str(error))
            return False
        return True

    async def _ask(self, request_id: str, kind: Kind, change: Change, lost: tuple[str, ...]) -> None:
        data = {
            "kind": kind.value,
            "privacy_group_id": change.privacy_group_id,
            "members": sorted(lost),
            "account": change.account,
        }
        try:
            acceptance = await self._requests.submit(parse_request(request_id, data))
        except (InvalidRequestError, ConflictingRequestError) as error:
            log.warning("repair refused", change_id=change.change_id, request_id=request_id, reason=str(error))
            return
        names = {"change_id": change.change_id, "repair_id": acceptance.change.change_id}
        log.warning("lost addition is repaired", **names, kind=kind.value, members=len(lost))

    async def _retry(self, change: Change) -> None:
        fact = RetryRequested()
        now = self._clock.now()

        def amendment(found: Change) -> Record:
            return record_of([(found, step(found, fact, now)[0])], fact, now)

        try:
            await self._store.amend(change.change_id, amendment)
        except (RefusedRequestError, LeaseLostError, KeyError) as error:
            log.debug("repaired change not retried", change_id=change.change_id, reason=str(error))
            return
        log.info("repaired change is tried again", change_id=change.change_id)
