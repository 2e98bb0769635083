"""Intake: a request becomes a durable change before anybody is told that it was taken.

Validate, de-duplicate, store, then acknowledge. What can't be accepted is buried with the reason; what can't be
decided now (the store is away) is given back to the queue. Requests of one group are accepted in the order in which
they came in, so that an addition right behind its group's creation finds it; where the creation went to another
replica, the addition comes again. Whatever a message causes stays with it.
"""

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import structlog

from orchestrator.access.callers import Caller, ForbiddenError
from orchestrator.access.table import MESSAGES, require
from orchestrator.engine.intake.admission import RETRY_SECONDS as ADMISSION_SECONDS
from orchestrator.engine.intake.admission import Admission, AdmissionRules, TooManyUnfinishedError
from orchestrator.engine.intake.askers import acceptance_entry, invalid_by, refusal_entry
from orchestrator.engine.intake.known_groups import KnownGroups
from orchestrator.engine.intake.requests import REQUEST_TYPE, ChangeRequest, InvalidRequestError
from orchestrator.engine.intake.senders import KeysAwayError, Senders, only_sender, request_by
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.queues import BrokerError, Trigger, TriggerSource
from orchestrator.engine.ports.signers import Signers
from orchestrator.engine.ports.store import Acceptance, ChangeStore, StoreError
from orchestrator.engine.runtime.isolation import contained
from orchestrator.engine.runtime.tracing import Tracer, Untraced
from orchestrator.engine.runtime.turns import INTAKE, Turns
from orchestrator.membership.errors import ConflictingRequestError
from orchestrator.membership.model import Change, Kind
from orchestrator.membership.news.status import EventType, StatusEvent, announce
from orchestrator.membership.retry import doubled

AT_ONCE = 64
"""Triggers that are worked on at the same time; the store commits them in groups."""

RETRY_SECONDS: Final = 2.0
LONGEST_RETRY_SECONDS: Final = 30.0
MOST_FAILURES: Final = 5
"""A message whose handling failed, for no reason that was foreseen, is a dead letter at this delivery."""

MOST_UNKNOWN: Final = 3
"""A request for a group that nobody knows is a dead letter at this delivery, six seconds after the first.

Its creation may be in another replica's hands, and comes to a third one five seconds after that one died (`ack_wait`).
"""

MOST_DELIVERIES: Final = 1_000
"""No message is delivered more often, whatever the reason: not even one that ends the process before it is read."""

log = structlog.get_logger()


class UnknownGroupError(InvalidRequestError):
    """Nobody knows the group: neither the store nor any node."""


def new_group_id() -> str:
    """Return a fresh privacy group id: 32 random bytes, base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


class Intake:
    """Takes requests.

    Args:
        store: The durable record.
        fleet: The nodes, asked whether a group is known.
        signers: The accounts that can be acted as.
        clock: Time.
        new_id: Makes change ids.
        rules: How much of one sender's may be unfinished; None for the defaults.
        turns: Told while requests are being accepted, so that lanes leave room for it.
        senders: Who asks by which subject or queue; what comes in by another one is refused. Empty: whoever may
            publish asks for whatever it likes.
        tracer: Makes traces.
    """

    def __init__(
        self,
        store: ChangeStore,
        fleet: Fleet,
        signers: Signers,
        clock: Clock,
        new_id: Callable[[], str],
        rules: AdmissionRules | None = None,
        turns: Turns | None = None,
        senders: Senders | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._accepting = turns or Turns()
        self._store = store
        self._groups = KnownGroups(store, fleet, clock)
        self._signers = signers
        self._clock = clock
        self._new_id = new_id
        self._senders: Senders = senders or {}
        self._tracer = tracer or Untraced()
        self._turns: dict[str, asyncio.Lock] = {}
        self.admission = Admission(store, clock, rules)

    async def submit(self, request: ChangeRequest, caller: Caller) -> Acceptance:
        """Accept a request.

        Args:
            request: What is asked for.
            caller: Who asks. Ids of requests are unique within a caller, and nobody learns of another's.

        Raises:
            ForbiddenError: It lies outside the caller's scope; that is looked at before anything else is.
            InvalidRequestError: It names an account or a group that there is not.
            ConflictingRequestError: Its source and id are known with another body.
            TooManyUnfinishedError: Its source or account has as many unfinished changes as it may.
            StoreError: It could not be stored; nothing was accepted.
        """
        account = self._account(request)
        # Before anything is looked up: an answer that depends on the store would tell a stranger which groups there
        # are.
        caller.scope.require(request.kind, request.privacy_group_id, account)
        group = request.privacy_group_id or new_group_id()
        arrival = self._groups.arrival()
        async with AsyncExitStack() as turn:
            # Lanes then leave room at work: a request is not to wait behind hundreds of steps.
            turn.enter_context(self._accepting.present(INTAKE))
            await turn.enter_async_context(self._turn_of(group))
            return await self._accept(request, caller, account, group, arrival, turn)

    async def _accept(
        self, request: ChangeRequest, caller: Caller, account: str, group: str, arrival: int, turn: AsyncExitStack
    ) -> Acceptance:
        if request.kind is not Kind.CREATE_GROUP and not await self._groups.may_exist(group, arrival):
            raise UnknownGroupError(
                "data.privacy_group_id",
                "no configured node has this group: check the id, or create the group first",
                request_id=request.request_id,
                privacy_group_id=group,
            )
        now = self._clock.now()
        change_id = self._new_id()
        change = Change(
            change_id=change_id,
            request_id=request.request_id,
            kind=request.kind,
            privacy_group_id=group,
            members=request.members,
            account=account,
            created_at=now,
            deadline=None if request.deadline is None else now + request.deadline,
            repair=request.repair,
            trace=self._tracer.trace_of(change_id, request.trace),
        )
        async with self.admission.place(caller.name or request.source, account):
            if request.kind is not Kind.CREATE_GROUP:
                # The store commits many together, in the order in which they come. A turn through the commit would have
                # the first of many additions locked for alone; only a creation has to be found by who comes next.
                await turn.aclose()
            acceptance = await self._store.accept(
                change,
                request.body_hash,
                announce(None, change),
                source=request.source,
                asker=caller.name,
                audit=acceptance_entry(caller, request, change),
            )
        self._groups.remember(group)
        if not acceptance.duplicate:
            self._tracer.accepted(change, now)
        return acceptance

    @asynccontextmanager
    async def _turn_of(self, group: str) -> AsyncIterator[None]:
        """Wait for those of the same group that came before: they are accepted in the order in which they came."""
        turn = self._turns.setdefault(group, asyncio.Lock())
        try:
            async with turn:
                yield
        finally:
            if not turn.locked() and self._turns.get(group) is turn:
                del self._turns[group]

    async def run(self, source: TriggerSource) -> None:
        """Take triggers until cancelled, a bounded number at the same time."""
        places = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            async for trigger in source.triggers():
                tasks.create_task(self._take(trigger, places))

    async def _take(self, trigger: Trigger, places: asyncio.Semaphore) -> None:
        with contained("trigger", delivery=trigger.delivery) as taking:
            try:
                # What is given back may be held for a while, and then takes nobody's place.
                async with places:
                    seconds = await self._settle(trigger)
                if seconds is not None:
                    await trigger.postpone(seconds)
            except BrokerError as error:
                # It is delivered again, and recognised by its id.
                log.warning("trigger not settled with the queue", reason=str(error))
        if taking.error is not None:
            with contained("trigger", delivery=trigger.delivery):
                await self._give_up(trigger, taking.error)

    async def _give_up(self, trigger: Trigger, error: Exception) -> None:
        """Try again what failed unforeseen, a few times: then it is a dead letter instead of coming for ever."""
        if trigger.delivery < MOST_FAILURES:
            await trigger.postpone(_pause(trigger))
        else:
            await trigger.bury(
                f"it could not be handled in {trigger.delivery} deliveries ({type(error).__name__}), "
                "which is a defect: the daemon's log has the details"
            )

    async def _settle(self, trigger: Trigger) -> float | None:
        """Bring a trigger to its end; returns in how many seconds it is to come again, None when it is settled."""
        # The message's own count, kept by the queue: one that ends the process leaves no other trace.
        if trigger.delivery > MOST_DELIVERIES:
            await trigger.bury(f"it was delivered {trigger.delivery} times and never settled")
            return None
        try:
            request, caller = request_by(self._senders, trigger, self._clock.now())
            require(MESSAGES[REQUEST_TYPE], caller)
            acceptance = await self.submit(request, caller)
        except InvalidRequestError as error:
            # Its creation may be on its way, at another replica or behind it in the queue.
            if isinstance(error, UnknownGroupError) and trigger.delivery < MOST_UNKNOWN:
                return _pause(trigger)
            await self._refuse(trigger, error)
        except ForbiddenError as error:
            await self._refuse(trigger, invalid_by(error, request))
        except ConflictingRequestError as error:
            await self._refuse(trigger, InvalidRequestError("id", str(error)))
        except TooManyUnfinishedError as error:
            if self.admission.rules.when_full == "wait":
                return ADMISSION_SECONDS
            await self._refuse(trigger, InvalidRequestError("source", str(error), request_id=request.request_id))
        except KeysAwayError as error:
            log.warning("a sender's keys can't be had, request given back", inlet=trigger.inlet, reason=str(error))
            return _pause(trigger)
        except StoreError as error:
            if not error.passing:
                raise  # what the store will never take is no better later
            log.warning("store does not answer, request given back", reason=str(error))
            return _pause(trigger)
        else:
            change = acceptance.change
            names = {"change_id": change.change_id, "request_id": change.request_id, "group": change.privacy_group_id}
            log.info("accepted", **names, kind=change.kind.value, duplicate=acceptance.duplicate)
            # Only now: what is not stored comes again, and what comes again is known by its id.
            await trigger.acknowledge()
        return None

    async def _refuse(self, trigger: Trigger, error: InvalidRequestError) -> None:
        event = StatusEvent(
            type=EventType.REQUEST_REJECTED,
            privacy_group_id=error.privacy_group_id or "",
            request_id=error.request_id,
            data={"field": error.field, "message": error.message},
        )
        log.warning("rejected", request_id=error.request_id, field=error.field, why=error.message)
        # First buried: of a message that comes again it would be told each time.
        await trigger.bury(str(error))
        try:
            sender = only_sender(self._senders, trigger.inlet)
            await self._store.announce([event], refusal_entry(sender, trigger.inlet, error, self._clock.now()))
        except StoreError as failure:
            log.warning("rejection not announced", reason=str(failure))

    def _account(self, request: ChangeRequest) -> str:
        known = self._signers.accounts
        if request.account is None:
            if len(known) == 1:
                return known[0]
            raise InvalidRequestError(
                "data.account",
                f"is required: {len(known)} accounts are configured",
                request_id=request.request_id,
                privacy_group_id=request.privacy_group_id,
            )
        for account in known:
            # Addresses differ in case by their checksum alone.
            if account.lower() == request.account.lower():
                return account
        raise InvalidRequestError(
            "data.account",
            f"{request.account} is not configured: add its key under [[accounts]], or name another",
            request_id=request.request_id,
            privacy_group_id=request.privacy_group_id,
        )


def _pause(trigger: Trigger) -> float:
    return doubled(RETRY_SECONDS, trigger.delivery - 1, LONGEST_RETRY_SECONDS)
