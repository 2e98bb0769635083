"""Intake: a request becomes a durable change before anybody is told that it was taken.

Validate, de-duplicate, store, then acknowledge. What can't be accepted is buried with the reason; what can't be
decided now (the store is away) is given back to the queue.
"""

import asyncio
import base64
import secrets
from collections.abc import Callable

import structlog

from orchestrator.engine.fleet import Fleet
from orchestrator.engine.node_ports import NodeError, Signers
from orchestrator.engine.ports import Acceptance, BrokerError, ChangeStore, Clock, StoreError, Trigger, TriggerSource
from orchestrator.engine.requests import ChangeRequest, InvalidRequestError, parse_trigger
from orchestrator.membership.errors import ConflictingRequestError
from orchestrator.membership.model import ENDED, Change, Kind, State
from orchestrator.membership.status import EventType, StatusEvent, announce

AT_ONCE = 64
"""Triggers that are worked on at the same time; the store commits them in groups."""

RETRY_SECONDS = 2.0
GROUP_CHECK_SECONDS = 10.0
REMEMBERED_GROUPS = 10_000

log = structlog.get_logger()


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
    """

    def __init__(
        self, store: ChangeStore, fleet: Fleet, signers: Signers, clock: Clock, new_id: Callable[[], str]
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._signers = signers
        self._clock = clock
        self._new_id = new_id
        self._known: dict[str, None] = {}

    async def submit(self, request: ChangeRequest) -> Acceptance:
        """Accept a request.

        Raises:
            InvalidRequestError: It names an account or a group that there is not.
            ConflictingRequestError: Its id is known with another body.
            StoreError: It could not be stored; nothing was accepted.
        """
        account = self._account(request)
        group = request.privacy_group_id or new_group_id()
        if request.kind is not Kind.CREATE_GROUP and not await self._may_exist(group):
            raise InvalidRequestError(
                "data.privacy_group_id",
                "no configured node has this group: check the id, or create the group first",
                request_id=request.request_id,
                privacy_group_id=group,
            )
        now = self._clock.now()
        change = Change(
            change_id=self._new_id(),
            request_id=request.request_id,
            kind=request.kind,
            privacy_group_id=group,
            members=request.members,
            account=account,
            created_at=now,
            deadline=None if request.deadline is None else now + request.deadline,
        )
        acceptance = await self._store.accept(change, request.body_hash, announce(None, change))
        self._remember(group)
        return acceptance

    async def run(self, source: TriggerSource) -> None:
        """Take triggers until cancelled, a bounded number at the same time."""
        places = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            async for trigger in source.triggers():
                await places.acquire()
                task = tasks.create_task(self._take(trigger))
                task.add_done_callback(lambda _: places.release())

    async def _take(self, trigger: Trigger) -> None:
        try:
            await self._settle(trigger)
        except BrokerError as error:
            # It is delivered again, and recognised by its id.
            log.warning("trigger not settled with the queue", reason=str(error))

    async def _settle(self, trigger: Trigger) -> None:
        try:
            request = parse_trigger(trigger.body, trigger.headers)
            acceptance = await self.submit(request)
        except InvalidRequestError as error:
            await self._refuse(trigger, error)
        except ConflictingRequestError as error:
            await self._refuse(trigger, InvalidRequestError("id", str(error)))
        except StoreError as error:
            log.warning("store does not answer, request given back", reason=str(error))
            await trigger.postpone(RETRY_SECONDS)
        else:
            change = acceptance.change
            names = {"change_id": change.change_id, "request_id": change.request_id, "group": change.privacy_group_id}
            log.info("accepted", **names, kind=change.kind.value, duplicate=acceptance.duplicate)
            await trigger.acknowledge()

    async def _refuse(self, trigger: Trigger, error: InvalidRequestError) -> None:
        event = StatusEvent(
            type=EventType.REQUEST_REJECTED,
            privacy_group_id=error.privacy_group_id or "",
            request_id=error.request_id,
            data={"field": error.field, "message": error.message},
        )
        log.warning("rejected", request_id=error.request_id, field=error.field, why=error.message)
        await trigger.bury(str(error))
        try:
            await self._store.announce([event])
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
            if account.lower() == request.account.lower():
                return account
        raise InvalidRequestError(
            "data.account",
            f"{request.account} is not configured: add its key under [[accounts]], or name another",
            request_id=request.request_id,
            privacy_group_id=request.privacy_group_id,
        )

    async def _may_exist(self, group: str) -> bool:
        """Whether the group is known, or can't be ruled out now: then preflight tells."""
        if group in self._known:
            return True
        pending = await self._store.changes(privacy_group_id=group, limit=1)
        if pending and (pending[0].state not in ENDED or pending[0].state is State.SUCCEEDED):
            self._remember(group)
            return True
        try:
            sender = await self._clock.wait_for(self._fleet.sender_for(group, (), ()), GROUP_CHECK_SECONDS)
        except (NodeError, TimeoutError):
            return True
        if sender.view.exists:
            self._remember(group)
        return sender.view.exists

    def _remember(self, group: str) -> None:
        self._known[group] = None
        if len(self._known) > REMEMBERED_GROUPS:
            del self._known[next(iter(self._known))]
