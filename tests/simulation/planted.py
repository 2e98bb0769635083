"""Mistakes that are planted on purpose: a simulator that does not find them would not find others either."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any
from unittest.mock import patch

import sqlalchemy as sa

from orchestrator.engine import settling
from orchestrator.engine.executor import Executor
from orchestrator.engine.intake import Intake
from orchestrator.engine.ports import Lane, Trigger
from orchestrator.membership import machine, reading_proofs, replay
from orchestrator.membership.commands import Command, Send, Sign
from orchestrator.membership.facts import ConvergenceObserved, Fact
from orchestrator.membership.machine import TRANSITIONS
from orchestrator.membership.model import ACTION_OF, Change, State
from orchestrator.membership.signals import Signal
from orchestrator.store import leasing, recording
from orchestrator.store.schema import lanes
from orchestrator.store.transaction import Transaction

Planting = contextlib.AbstractContextManager[Any]


def acknowledged_before_commit() -> Planting:
    """A request is acknowledged, then stored."""
    right = Intake._take

    async def wrong(self: Intake, trigger: Trigger) -> None:
        await trigger.acknowledge()
        await right(self, trigger)

    return patch.object(Intake, "_take", wrong)


def lock_not_undone() -> Planting:
    """An add that can't be completed goes back to the queue and leaves its lock behind."""
    return patch.dict(TRANSITIONS, {(State.ADDING, Signal.UNDO): State.QUEUED})


def lease_not_checked() -> Planting:
    """Lanes are claimed although another replica holds them and its leases last."""
    right = leasing.claim

    @wraps(right)
    def claim(transaction: Transaction, *, holder: str, **more: Any) -> tuple[Lane, ...]:
        others = lanes.update().where(lanes.c.holder != holder).values(holder=None, lease_until=None)
        transaction.connection.execute(others)
        return right(transaction, holder=holder, **more)

    return patch.object(leasing, "claim", claim)


def fencing_not_checked() -> Planting:
    """A step is committed although the lane was taken over."""
    right = recording.Step.together

    def together(transaction: Transaction, units: Sequence[recording.Step]) -> Any:
        rows = transaction.connection.execute(sa.select(lanes.c.privacy_group_id, lanes.c.token))
        tokens = {row.privacy_group_id: row.token for row in rows}
        trusted = [replace(unit, lane=replace(unit.lane, token=tokens[unit.lane.privacy_group_id])) for unit in units]
        return right(transaction, trusted)

    return patch.object(recording.Step, "together", staticmethod(together))


def sent_before_stored() -> Planting:
    """A transaction is sent right after it was signed, and stored afterwards."""
    right = Executor._sign

    async def wrong(self: Executor, change: Change, command: Sign) -> Fact:
        fact = await right(self, change, command)
        attempt = getattr(fact, "attempt", None)
        if attempt is not None:
            await self.fleet.named(attempt.node).node.send(attempt.raw)
        return fact

    return patch.object(Executor, "_sign", wrong)


def signed_again_instead_of_sent_again() -> Planting:
    """Where the same bytes are to be sent again, the intent is signed anew."""
    right = machine._next_for_attempt

    def wrong(change: Change) -> Command:
        command = right(change)
        attempt = change.attempt
        if isinstance(command, Send) and attempt is not None and attempt.sent_block is not None:
            return Sign(action=ACTION_OF[change.state], members=machine.members_of(change))
        return command

    return patch.object(machine, "_next_for_attempt", wrong)


def depth_not_waited_for() -> Planting:
    """Success does not wait for confirmations."""
    right = replay.assess

    def wrong(change: Change, observed: ConvergenceObserved, now: Any) -> Any:
        return right(change, replace(observed, confirmations=0, proof_blocks=0), now)

    return patch.object(reading_proofs, "assess", wrong)


def lost_markers_not_looked_for() -> Planting:
    """PMTs whose hash never came back are not searched: what used their private nonce is taken for another's."""

    async def wrong(*_: Any) -> tuple[str, ...]:
        return ()

    return patch.object(settling, "_search", wrong)


def pools_not_asked() -> Planting:
    """An addition is sent again although a pool has it."""

    async def wrong(*_: Any) -> bool:
        return False

    return patch.object(settling, "is_pooled", wrong)


def addition_sent_again_at_once() -> Planting:
    """An addition whose answer was lost is sent again before any block could have it."""
    return patch.object(machine, "to_be_sent_again", lambda attempt: replace(attempt, sent_block=None))


def unlock_not_held_back() -> Planting:
    """A lock is undone although the addition that is given up may be mined yet."""

    async def wrong(_: Executor, __: Any, ___: Change, head: Any) -> Any:
        return head

    return patch.object(Executor, "_outlast_addition", wrong)


PLANTED: dict[str, Callable[[], Planting]] = {
    made.__name__: made
    for made in (
        acknowledged_before_commit,
        lock_not_undone,
        lease_not_checked,
        fencing_not_checked,
        sent_before_stored,
        signed_again_instead_of_sent_again,
        depth_not_waited_for,
        lost_markers_not_looked_for,
        pools_not_asked,
        addition_sent_again_at_once,
        unlock_not_held_back,
    )
}


@contextlib.contextmanager
def planted(name: str | None) -> Iterator[None]:
    """Plant a mistake while the block runs; None plants nothing."""
    with PLANTED[name]() if name is not None else contextlib.nullcontext():
        yield
