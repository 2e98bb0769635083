"""Driving one lane: the changes of one group, one turn after the other, each step committed before the next.

A turn is one change, or several adds of one account that share a lock and one ``addParticipants``. Its lead carries the
transactions; the others follow it until the addition is in the group, and then each is proven by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import structlog

from orchestrator.engine.executor import Executor
from orchestrator.engine.ports import ChangeStore, Clock, Lane, LeaseLostError, Record, StoreError
from orchestrator.engine.recording import is_lasting, record_of
from orchestrator.engine.turns import Turns, resting
from orchestrator.membership import facts
from orchestrator.membership.batch import next_batch
from orchestrator.membership.commands import Burn, Command, Pause, Send, Sign
from orchestrator.membership.machine import deadline_applies, follow, join, next_command, step, taken_up
from orchestrator.membership.model import ACTION_OF, RESTING, Change, State
from orchestrator.membership.reasons import Reason

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
        clock: Time.
        stopping: Set when the daemon is to stop.
        on_step: Told of each committed step (before, after), for the metrics.
        turns: Places at work, given to senders in turn; None for the worker's own.
    """

    def __init__(
        self,
        store: ChangeStore,
        executor: Executor,
        clock: Clock,
        stopping: asyncio.Event,
        on_step: Callable[[Change, Change], None],
        turns: Turns | None = None,
    ) -> None:
        self._turns = turns or Turns()
        self._store = store
        self._executor = executor
        self._clock = clock
        self._stopping = stopping
        self._on_step = on_step
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
                    await self._drive(lane, tuple(taken_up(change) for change in lane.active))
                elif lane.queued and not self._stopping.is_set():
                    turn = await self._claim(lane, lane.queued)
                    left -= len(turn)
                    await self._drive(lane, turn)
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

    # --- turns -----------------------------------------------------------------------------------------------------

    async def _claim(self, lane: Lane, queued: Sequence[Change]) -> tuple[Change, ...]:
        """Take the oldest change, and with an add those behind it that can share its lock."""
        turn = next_batch(queued)
        fact = facts.Claimed(lead_id=turn[0].change_id, batch=len(turn))
        return await self._take(lane, turn, fact)

    async def _drive(self, lane: Lane, turn: tuple[Change, ...]) -> None:
        """Bring a turn to its end."""
        while True:
            turn = tuple(change for change in turn if change.state not in RESTING)
            if not turn:
                return
            async with self._turns.turn(lane.source):
                turn = await self._further(lane, turn)

    async def _further(self, lane: Lane, turn: tuple[Change, ...]) -> tuple[Change, ...]:
        """Take one step with a turn."""
        overdue = [change for change in turn if deadline_applies(change, self._clock.now())]
        if overdue:
            return await self._give_up(lane, turn, overdue[0])
        if any(change.state is State.PREFLIGHT for change in turn):
            return await self._preflight(lane, turn)
        if any(change.state in ACTION_OF for change in turn):
            return await self._transact(lane, turn)
        return await self._prove(lane, turn)

    async def _give_up(self, lane: Lane, turn: tuple[Change, ...], change: Change) -> tuple[Change, ...]:
        fact = facts.DeadlinePassed(deadline=change.deadline or self._clock.now())
        if change.leads and change.state in ACTION_OF:
            return await self._lead(lane, turn, change, fact)
        if change.state in LOCK_WINDOW:
            # A follower's members are in the turn's transaction already: its deadline waits for the turn's outcome.
            other = next((c for c in turn if c.leads), change)
            return await self._transact(lane, turn) if other is not change else turn
        rest = tuple(c for c in turn if c is not change)
        return rest + await self._take(lane, [change], fact)

    async def _preflight(self, lane: Lane, turn: tuple[Change, ...]) -> tuple[Change, ...]:
        """Survey once for the whole turn; what passes shares the lock, what does not goes its own way."""
        waiting = [change for change in turn if change.state is State.PREFLIGHT]
        rest = tuple(change for change in turn if change.state is not State.PREFLIGHT)
        every = tuple(dict.fromkeys(key for change in waiting for key in change.members))
        fact = await self._perform(lane, replace(waiting[0], members=every))
        now = self._clock.now()
        steps = [(change, step(change, fact, now)[0]) for change in waiting]
        sharing = [after for _, after in steps if after.state is State.LOCKING]
        if sharing:
            lead, followers = join(sharing[0], tuple(sharing[1:]))
            joined = {change.change_id: change for change in (lead, *followers)}
            steps = [(before, joined.get(after.change_id, _led(after, lead))) for before, after in steps]
        await self._commit(lane, record_of(steps, fact, now), steps)
        return rest + tuple(after for _, after in steps)

    async def _transact(self, lane: Lane, turn: tuple[Change, ...]) -> tuple[Change, ...]:
        """Take one step with the turn's transaction."""
        lead = next((change for change in turn if change.leads), None)
        if lead is None or lead.state not in ACTION_OF:
            lead = next(change for change in turn if change.state in ACTION_OF)
        if self._stopping.is_set() and lead.state not in LOCK_WINDOW:
            raise Stopping
        return await self._lead(lane, turn, lead, await self._perform(lane, lead))

    async def _lead(self, lane: Lane, turn: tuple[Change, ...], lead: Change, fact: facts.Fact) -> tuple[Change, ...]:
        now = self._clock.now()
        after, _ = step(lead, fact, now)
        steps = [(lead, after)]
        for change in turn:
            if change is not lead and change.lead_id == lead.change_id and change.state is lead.state:
                moved = change if after.state is lead.state else follow(change, after)
                steps += [(change, moved)] if moved is not change else []
        await self._commit(lane, record_of(steps, fact, now), steps)
        moved_ids = {before.change_id: new for before, new in steps}
        return tuple(moved_ids.get(change.change_id, change) for change in turn)

    async def _prove(self, lane: Lane, turn: tuple[Change, ...]) -> tuple[Change, ...]:
        """Look at the members' nodes once for the whole turn."""
        if self._stopping.is_set():
            raise Stopping
        first = turn[0]
        alike = [c for c in turn if c.effect == first.effect]
        every = tuple(dict.fromkeys(key for change in alike for key in change.members))
        progress = {entry.enclave_key: entry for change in alike for entry in change.progress}
        fact = await self._perform(lane, replace(first, members=every, progress=tuple(progress.values())))
        now = self._clock.now()
        steps = [(change, step(change, fact, now)[0]) for change in alike]
        if any(is_lasting(before, after) for before, after in steps):
            await self._commit(lane, record_of(steps, fact, now), steps)
        else:
            steps = [(before, replace(after, revision=before.revision)) for before, after in steps]
        taken = {after.change_id: after for _, after in steps}
        return tuple(taken.get(change.change_id, change) for change in turn)

    # --- steps -----------------------------------------------------------------------------------------------------

    async def _take(self, lane: Lane, turn: Sequence[Change], fact: facts.Fact) -> tuple[Change, ...]:
        now = self._clock.now()
        steps = [(change, step(change, fact, now)[0]) for change in turn]
        await self._commit(lane, record_of(steps, fact, now), steps)
        return tuple(after for _, after in steps)

    async def _perform(self, lane: Lane, change: Change) -> facts.Fact:
        """Do the change's next command; what only waits is given up when the daemon stops."""
        command = next_command(change)
        if command is None:
            raise AssertionError(f"change {change.change_id} is {change.state} and has nothing to do")
        if isinstance(command, Sign | Send | Burn) or change.state in LOCK_WINDOW:
            return await self._undeterred(lane, change, command)
        if self._stopping.is_set():
            raise Stopping
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
            return await self._executor.perform(change, command)
        except (StoreError, TimeoutError):
            raise
        except Exception as error:
            log.exception("command failed", change_id=change.change_id, group=change.privacy_group_id)
            detail = f"{type(error).__name__} while it was {change.state}"
            return facts.Hindered(reason=Reason(slug="defect", detail=detail))

    async def _commit(self, lane: Lane, record: Record, steps: Sequence[tuple[Change, Change]]) -> None:
        await self._patiently(lambda: self._store.record(lane, record))
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


def _led(change: Change, lead: Change) -> Change:
    """A change that is proven beside a turn's transaction leads no more: a group has one lead at a time."""
    return change if change.lead_id is None else replace(change, lead_id=lead.change_id)
