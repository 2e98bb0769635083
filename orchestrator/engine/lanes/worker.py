"""Driving one lane: the changes of one group, one batch after the other, each step committed before the next.

What is done next, and what becomes of it, `membership.batch` says. This is the rest: commands are done, steps are
committed, a store that is away for a moment is waited for, and a daemon that stops leaves no group locked.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import structlog

from orchestrator.engine.lanes.executor import Executor
from orchestrator.engine.lanes.records import is_lasting, record_of
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.store import ChangeStore, Lane, LeaseLostError, Record, StoreError
from orchestrator.engine.runtime.leases import Leases
from orchestrator.engine.runtime.tracing import Tracer, Untraced
from orchestrator.engine.runtime.turns import Turns, resting
from orchestrator.membership import facts
from orchestrator.membership.batch import (
    Batch,
    Scope,
    Steps,
    advance,
    next_batch,
    next_step,
    taken_up_batch,
)
from orchestrator.membership.commands import Burn, Command, Pause, Send, Sign
from orchestrator.membership.machine import next_command
from orchestrator.membership.model import ACTION_OF, Change, State
from orchestrator.membership.reasons.table import Reason

LOCK_WINDOW = frozenset({State.LOCKING, State.ADDING, State.UNLOCKING})
"""States in which the group is, or may be, locked by us: a daemon that stops finishes these first."""

STORE_PATIENCE_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 4.0)

T = TypeVar("T")

log = structlog.get_logger()


class Stopping(Exception):  # noqa: N818 - it is no error: the lane rests where it is committed
    """The daemon stops; the lane goes on from its last commit when it is started again."""


class Worker:
    """Drives lanes.

    Args:
        store: The durable record.
        executor: Does commands.
        leases: Until when lanes are held: nothing is written to a node later.
        clock: Time.
        stopping: Set when the daemon is to stop.
        on_step: Told of each committed step (before, after), for the metrics.
        turns: Places at work, given to senders in turn; None for the worker's own.
        tracer: Makes traces.
    """

    def __init__(
        self,
        store: ChangeStore,
        executor: Executor,
        leases: Leases,
        clock: Clock,
        stopping: asyncio.Event,
        on_step: Callable[[Change, Change], None],
        turns: Turns | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._turns = turns or Turns()
        self._store = store
        self._executor = executor
        self._leases = leases
        self._clock = clock
        self._stopping = stopping
        self._on_step = on_step
        self._tracer = tracer or Untraced()
        self._patience: set[asyncio.Timeout] = set()

    async def run(self, lane: Lane) -> None:
        """Drive a claimed lane until nothing of it can be done now, then give it back.

        A lane whose lease is lost is left alone: another replica goes on with it. A change that an operator amended
        meanwhile is a lost lease, too, only that giving the lane back then works.
        """
        with self._turns.present(lane.source):
            await self._run(lane)

    async def _run(self, lane: Lane) -> None:
        try:
            while True:
                left = len(lane.queued)
                if lane.active:
                    await self._drive(lane, taken_up_batch(lane.active))
                elif lane.queued and not self._stopping.is_set():
                    batch = next_batch(lane.queued)
                    left -= len(batch.changes)
                    await self._drive(lane, batch)
                if not left or self._stopping.is_set():
                    break  # what came in meanwhile makes the lane due again when it is given back
                lane = await self._store.load(lane, now=self._clock.now())
        except LeaseLostError:
            log.warning("lease lost", group=lane.privacy_group_id)
        except Stopping:
            log.info("lane rests", group=lane.privacy_group_id)
        await self._store.release(lane, now=self._clock.now())

    def interrupt(self) -> None:
        """Let lanes rest that only wait: for when `stopping` has been set."""
        now = asyncio.get_running_loop().time()
        for patience in self._patience:
            patience.reschedule(now)

    # --- the batch -------------------------------------------------------------------------------------------------

    async def _drive(self, lane: Lane, batch: Batch) -> None:
        """Bring a batch to its end."""
        while batch.changes:
            async with self._turns.turn(lane.source):
                batch = await self._further(lane, batch)

    async def _further(self, lane: Lane, batch: Batch) -> Batch:
        """Take one step with a batch, and commit it."""
        todo = next_step(batch, self._clock.now())
        if todo is None:
            return batch
        fact = todo.known or await self._perform(lane, todo.change)
        now = self._clock.now()
        steps = advance(batch, todo, fact, now)
        # The revision stays as it is stored: the next commit has to follow on it.
        if todo.scope is Scope.PROOF and not any(is_lasting(before, after) for before, after in steps):
            return batch.after(tuple((before, replace(after, revision=before.revision)) for before, after in steps))
        await self._commit(lane, record_of(steps, fact, now), steps)
        return batch.after(steps)

    # --- steps -----------------------------------------------------------------------------------------------------

    async def _perform(self, lane: Lane, change: Change) -> facts.Fact:
        """Do the change's next command; what only waits is given up when the daemon stops."""
        if self._stopping.is_set() and change.state not in LOCK_WINDOW:
            raise Stopping
        command = next_command(change)
        if command is None:
            raise AssertionError(f"change {change.change_id} is {change.state} and has nothing to do")
        # What changes something is not cut off: whether it had arrived would not be known.
        if isinstance(command, Sign | Send | Burn) or change.state in LOCK_WINDOW:
            return await self._undeterred(lane, change, command)
        patience = asyncio.timeout(None)
        self._patience.add(patience)
        try:
            async with patience:
                return await self._undeterred(lane, change, command)
        except TimeoutError:
            if not patience.expired():
                raise
            raise Stopping from None
        finally:
            self._patience.discard(patience)

    async def _undeterred(self, lane: Lane, change: Change, command: Command) -> facts.Fact:
        """Do a command; a defect is a fact, too, so that a lock of ours is undone and the change parks."""
        if isinstance(command, Pause):
            async with resting():
                await self._clock.sleep(command.seconds)
            command = command.then
        if change.state in ACTION_OF and not await self._patiently(lambda: self._store.holds(lane)):
            # A process that was stopped and woke up finds its lane taken over: it must send nothing any more.
            raise LeaseLostError(f"lane {lane.privacy_group_id!r} was taken over; stop working on it")
        try:
            with self._tracer.performing(change), self._leases.acting(lane.privacy_group_id):
                return await self._executor.perform(change, command)
        # Trouble of the store, or the end of our patience, says nothing of the change.
        except (StoreError, TimeoutError):
            raise
        except Exception as error:
            log.exception("command failed", change_id=change.change_id, group=change.privacy_group_id)
            detail = f"{type(error).__name__} while it was {change.state}"
            return facts.Hindered(reason=Reason(slug="defect", detail=detail))

    async def _commit(self, lane: Lane, record: Record, steps: Steps) -> None:
        await self._patiently(lambda: self._store.record(lane, record))
        self._tracer.committed(record.changes, record.history)
        for before, after in steps:
            self._on_step(before, after)
            if after.state is not before.state:
                why = {"reason": after.reason.slug} if after.reason is not None else {}
                names = {"change_id": after.change_id, "group": after.privacy_group_id}
                log.info("transition", **names, from_state=before.state.value, to_state=after.state.value, **why)

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Wait for a store that is away for a moment: what was observed may not come again."""
        for pause in STORE_PATIENCE_SECONDS:
            try:
                return await work()
            except LeaseLostError:
                raise
            except StoreError as error:
                if not error.passing:
                    raise
                log.warning("store does not answer", reason=str(error), retry_in_seconds=pause)
                await self._clock.sleep(pause)
        return await work()
