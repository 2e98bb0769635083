"""Mistakes in what the engine does: in the order of its steps, what it waits for, and what it keeps."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any
from unittest.mock import patch

import sqlalchemy as sa

from orchestrator.besu.client.own_markers import one_time_account
from orchestrator.engine.attempts import broadcast as broadcasting
from orchestrator.engine.attempts import settlement, submission
from orchestrator.engine.attempts.marker_accounts import OneTimeAccounts
from orchestrator.engine.attempts.submission import Sending
from orchestrator.engine.intake.intake import Intake
from orchestrator.engine.lanes import executor, worker
from orchestrator.engine.lanes.executor import Executor
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Burning, MarkerAccount
from orchestrator.engine.ports.queues import Trigger
from orchestrator.engine.ports.store import Lane
from orchestrator.engine.runtime.leases import Leases
from orchestrator.membership import machine, retry
from orchestrator.membership.attempt import Attempt
from orchestrator.membership.batch import Batch
from orchestrator.membership.commands import Command, Send, Sign
from orchestrator.membership.facts import AttemptSigned, AttemptUnmined, ConvergenceObserved, Fact
from orchestrator.membership.machine import TRANSITIONS
from orchestrator.membership.model import ACTION_OF, Change, Kind, State
from orchestrator.membership.proof import comparison
from orchestrator.membership.triage import proofs
from orchestrator.store import SqlChangeStore
from orchestrator.store.commits.transaction import Transaction
from orchestrator.store.schema import lanes
from orchestrator.store.units import leases as leasing
from orchestrator.store.units import reads, steps

LOST_AFTER_BLOCKS = 48
"""So many blocks after it was signed a marker was once taken for lost."""

Planting = contextlib.AbstractContextManager[Any]


def acknowledged_before_commit() -> Planting:
    """A request is acknowledged, then stored."""
    right = Intake._settle

    async def wrong(self: Intake, trigger: Trigger) -> float | None:
        await trigger.acknowledge()
        return await right(self, trigger)

    return patch.object(Intake, "_settle", wrong)


def lock_not_undone() -> Planting:
    """An add that can't be completed goes back to the queue and leaves its lock behind."""
    undone = [key for key, target in TRANSITIONS.items() if key[0] is State.ADDING and target is State.UNLOCKING]
    return patch.dict(TRANSITIONS, dict.fromkeys(undone, State.QUEUED))


def lease_not_checked() -> Planting:
    """Lanes are claimed although another replica holds them and its leases last."""
    right = leasing.claim

    @wraps(right)
    def claim(transaction: Transaction, *, holder: str, **more: Any) -> tuple[Lane, ...]:
        others = lanes.update().where(lanes.c.holder != holder).values(holder=None, lease_until=None)
        transaction.connection.execute(others)
        return right(transaction, holder=holder, **more)

    return patch.object(leasing, "claim", claim)


def woken_replica_sends() -> Planting:
    """A replica that stood still while its lane was taken over sends: the lease is not looked at."""

    async def held(*_: Any) -> bool:
        return True

    return _all(patch.object(Leases, "require", lambda *_: None), patch.object(SqlChangeStore, "holds", held))


def fencing_not_checked() -> Planting:
    """A step is committed although the lane was taken over."""
    right = steps.Step.together

    def together(transaction: Transaction, units: Sequence[steps.Step]) -> Any:
        rows = transaction.connection.execute(sa.select(lanes.c.privacy_group_id, lanes.c.token))
        tokens = {row.privacy_group_id: row.token for row in rows}
        trusted = [replace(unit, lane=replace(unit.lane, token=tokens[unit.lane.privacy_group_id])) for unit in units]
        return right(transaction, trusted)

    return patch.object(steps.Step, "together", staticmethod(together))


def sent_before_stored() -> Planting:
    """A marker is broadcast right after it was signed, and stored afterwards."""
    right = Executor._sign

    async def wrong(self: Executor, change: Change, command: Sign) -> Fact:
        fact = await right(self, change, command)
        if isinstance(fact, AttemptSigned):
            marker = fact.attempt.marker
            await self.sending.fleet.named(fact.attempt.node).node.broadcast(marker.raw, marker.pmt_hash)
        return fact

    return patch.object(Executor, "_sign", wrong)


def second_distribution() -> Planting:
    """Where a marker is to be broadcast again, the intent is distributed anew and the first marker forgotten."""
    right = machine._next_for_attempt

    def wrong(change: Change) -> Command:
        command = right(change)
        if isinstance(command, Send) and command.widely:
            return Sign(action=ACTION_OF[change.state], members=machine.members_of(change))
        return command

    return patch.object(machine, "_next_for_attempt", wrong)


@contextlib.contextmanager
def _all(*plantings: Planting) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for planting in plantings:
            stack.enter_context(planting)
        yield


def depth_not_waited_for() -> Planting:
    """Success does not wait for confirmations."""
    right = comparison.assess

    def wrong(change: Change, observed: ConvergenceObserved, now: Any) -> Any:
        return right(change, replace(observed, confirmations=0, proof_blocks=0), now)

    return _all(patch.object(proofs, "assess", wrong), patch.object(Executor, "_confirmations", 0))


def unlocked_after_blocks() -> Planting:
    """An addition that is given up is waited for, not burnt; after many blocks it is taken for lost."""

    async def wrong(fleet: Fleet, change: Change, attempt: Attempt, *more: Any) -> Fact | None:
        with patch.object(settlement, "offered", _nothing):
            fact = await settlement.burn(fleet, change, attempt, *more)
        lost = isinstance(fact, AttemptUnmined) and fact.head >= attempt.since_block + LOST_AFTER_BLOCKS
        return None if lost else fact

    return patch.object(executor, "burn", wrong)


def burn_not_awaited() -> Planting:
    """What burns a marker is broadcast, and the marker taken for burnt at once."""

    async def wrong(fleet: Fleet, _: Change, __: Attempt, forms: Sequence[Burning], *___: Any) -> None:
        if forms:
            await broadcasting.offered(fleet.watchers, forms[0].raw, forms[0].transaction_hash)

    return patch.object(executor, "burn", wrong)


def window_of_one() -> Planting:
    """An addition may be mined in the block after its lock's."""
    return patch.object(retry, "LOCK_WINDOW_BLOCKS", 1)


def one_key_for_markers() -> Planting:
    """All markers are signed with one key, as by a node that has a fixed one."""
    numbers = itertools.count()

    async def wrong(self: OneTimeAccounts, watcher: ChainWatcher, attempt_id: str, *, urgent: bool) -> MarkerAccount:
        return replace(one_time_account((1).to_bytes(32)), account_nonce=next(numbers))

    return patch.object(OneTimeAccounts, "take", wrong)


def group_not_looked_at() -> Planting:
    """An addition is signed and broadcast on the strength of its lock, whatever became of that."""

    return _all(
        patch.object(submission, "moved_under_lock", _nothing),
        patch.object(settlement, "moved_under_lock", _nothing),
        patch.object(Sending, "_unsafe_since", _nothing),
    )


def removal_overtaken() -> Planting:
    """A later add joins the adds before it, past a removal."""

    def wrong(queued: Sequence[Change]) -> Batch:
        lead = queued[0]
        if lead.kind is not Kind.ADD_MEMBERS:
            return Batch(changes=(lead,))
        adds = tuple(c for c in queued if c.kind is Kind.ADD_MEMBERS and c.account == lead.account)
        return Batch(changes=adds[: lead.batch_limit])

    return patch.object(worker, "next_batch", wrong)


def retry_overtaken() -> Planting:
    """A change that waits for its next try is passed by those behind it."""

    def wrong(connection: sa.Connection, group: str, *, now: int, limit: int) -> tuple[Change, ...]:
        rows = connection.execute(reads._QUEUED, {"group": group, "limit": limit}).mappings()
        return tuple(reads._change(row) for row in rows if row["ready_at"] <= now)

    return patch.object(leasing, "queued_changes", wrong)


async def _nothing(*_: Any) -> None:
    """Do nothing."""
