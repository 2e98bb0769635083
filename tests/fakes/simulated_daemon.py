"""Drives the rules as the engine's worker does, with commits and crashes, on a simulated chain.

Only what is committed survives `crash`.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from orchestrator.engine.lanes.records import record_of
from orchestrator.membership import facts
from orchestrator.membership.attempt import Attempt
from orchestrator.membership.batch import (
    Batch,
    Scope,
    Steps,
    advance,
    next_batch,
    next_step,
    taken_up_batch,
)
from orchestrator.membership.commands import Pause
from orchestrator.membership.machine import next_command, step
from orchestrator.membership.model import RESTING, Change, Kind, State
from orchestrator.membership.triage.facts import read
from orchestrator.membership.triage.signals import Signal
from tests.fakes.simulated_chain import GROUP, SimulatedChain
from tests.fakes.simulated_world import SimulatedWorld

OWNER = "0xFE3B557E8Fb62b89F4916B721be55cEb828dBd73"


class SimulatedDaemon:
    """Drives the changes of one group.

    Args:
        chain: The chain.
        sender: The enclave key of the node that is sent through.
    """

    def __init__(self, chain: SimulatedChain, sender: str) -> None:
        self.world = SimulatedWorld(chain, sender)
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.store: dict[str, Change] = {}
        self.attempts: dict[str, list[Attempt]] = {}
        self.batch = Batch(changes=())
        self.walked: set[tuple[State, Signal]] = set()
        self.on_step: list[Callable[[Change, Change], None]] = []
        self.dies_before_commit = False
        self._ids = 0

    # --- requests --------------------------------------------------------------------------------------------------

    def accept(self, kind: Kind, members: Iterable[str] = (), deadline_seconds: float | None = None) -> str:
        """Accept a request; returns the change's id."""
        self._ids += 1
        change = Change(
            change_id=f"c{self._ids}",
            request_id=f"r{self._ids}",
            kind=kind,
            privacy_group_id=GROUP,
            members=tuple(members),
            account=OWNER,
            created_at=self.now,
            deadline=None if deadline_seconds is None else self.now + timedelta(seconds=deadline_seconds),
        )
        self.store[change.change_id] = change
        return change.change_id

    def ask(self, change_id: str, request: facts.Fact) -> None:
        """Commit an operator's request."""
        change = next((change for change in self.batch.changes if change.change_id == change_id), self.store[change_id])
        steps = ((change, step(change, request, self.now)),)
        self._note(Scope.ONE, steps, request)
        self._commit(steps, request)

    def crash(self) -> None:
        """Forget everything that is not committed."""
        self.batch = Batch(changes=())

    # --- the lane --------------------------------------------------------------------------------------------------

    @property
    def active(self) -> tuple[Change, ...]:
        """The changes that occupy the lane, as committed."""
        return tuple(change for change in self.store.values() if change.state not in RESTING)

    def queued(self) -> list[Change]:
        """Return the changes that are due, oldest first."""
        waiting = [change for change in self.store.values() if change.state is State.QUEUED]
        return [change for change in waiting if change.not_before is None or change.not_before <= self.now]

    def work(self) -> bool:
        """Take one step; returns whether there was anything to do."""
        if not self.batch.changes:
            queued = self.queued()
            if self.active:
                self.batch = taken_up_batch(self.active)
            elif queued:
                self.batch = next_batch(queued)
        todo = next_step(self.batch, self.now)
        if todo is None:
            return False
        fact = todo.known or self._perform(todo.change)
        if fact is None:
            return False
        steps = advance(self.batch, todo, fact, self.now)
        self._note(todo.scope, steps, fact)
        self._commit(steps, fact)
        return True

    def _note(self, scope: Scope, steps: Steps, fact: facts.Fact) -> None:
        for before, _ in steps[:1] if scope is Scope.TRANSACTION else steps:
            self.walked.add((before.state, read(before, fact, self.now)[0]))

    def _commit(self, steps: Steps, fact: facts.Fact) -> None:
        if self.dies_before_commit:
            self.dies_before_commit = False
            self.crash()
            return
        for _, after in steps:
            self.store[after.change_id] = after
        for change_id, attempt in record_of(steps, fact, self.now).attempts:
            stored = self.attempts.setdefault(change_id, [])
            stored[:] = [entry for entry in stored if entry.attempt_id != attempt.attempt_id] + [attempt]
        for before, after in steps:
            for watcher in self.on_step:
                watcher(before, after)
        self.batch = self.batch.after(steps)

    def _perform(self, change: Change) -> facts.Fact | None:
        command = next_command(change)
        if isinstance(command, Pause):
            self.now += timedelta(seconds=command.seconds)
            command = command.then
        if command is None:
            raise AssertionError(f"{change.change_id} is {change.state} and has nothing to do")
        return self.world.do(change, command, self.attempts.get(change.change_id, ()), self.now)
