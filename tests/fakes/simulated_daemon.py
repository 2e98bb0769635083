"""What the engine does with the rules, as small as can be: lanes, commands, commits and crashes, on a simulated chain.

Only what is committed survives `crash`.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from orchestrator.engine.recording import record_of
from orchestrator.membership import facts
from orchestrator.membership.attempt import Attempt
from orchestrator.membership.commands import Pause
from orchestrator.membership.machine import deadline_applies, follow, join, next_command, step, taken_up
from orchestrator.membership.model import ACTION_OF, RESTING, Change, Kind, State
from orchestrator.membership.reading import read
from orchestrator.membership.signals import Signal
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
        self.turn: tuple[Change, ...] = ()
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
        change = next((change for change in self.turn if change.change_id == change_id), self.store[change_id])
        self._commit([(change, self._step(change, request))], request)

    def crash(self) -> None:
        """Forget everything that is not committed."""
        self.turn = ()

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
        self.turn = tuple(change for change in self.turn if change.state not in RESTING)
        if not self.turn:
            if not self.active:
                return self._claim()
            self.turn = tuple(taken_up(change) for change in self.active)
        overdue = [change for change in self.turn if deadline_applies(change, self.now)]
        if overdue:
            fact = facts.DeadlinePassed(deadline=overdue[0].deadline or self.now)
            return self._lead(overdue[0], fact)
        if any(change.state is State.PREFLIGHT for change in self.turn):
            return self._preflight()
        leading = [change for change in self.turn if change.state in ACTION_OF]
        for change in sorted(leading, key=lambda c: not c.leads) or self.turn:
            fact_or_none = self._perform(change)
            if fact_or_none is not None:
                return self._lead(change, fact_or_none)
            if leading:
                return False
        return False

    def _claim(self) -> bool:
        queued = self.queued()
        if not queued:
            return False
        turn = [queued[0]]
        if queued[0].kind is Kind.ADD_MEMBERS:
            for change in queued[1:]:
                if change.kind is not Kind.ADD_MEMBERS:
                    continue
                if len(turn) >= min(turn[0].batch_limit, change.batch_limit):
                    break
                turn.append(change)
        fact = facts.Claimed(lead_id=turn[0].change_id, batch=len(turn))
        self.turn = tuple(turn)
        self._commit([(change, self._step(change, fact)) for change in turn], fact)
        return True

    def _preflight(self) -> bool:
        waiting = [change for change in self.turn if change.state is State.PREFLIGHT]
        every = tuple(dict.fromkeys(key for change in waiting for key in change.members))
        fact = self._perform(replace(waiting[0], members=every))
        if fact is None:
            return False
        steps = [(change, self._step(change, fact)) for change in waiting]
        sharing = [after for _, after in steps if after.state is State.LOCKING]
        if sharing:
            lead, followers = join(sharing[0], tuple(sharing[1:]))
            joined = {change.change_id: change for change in (lead, *followers)}
            steps = [(before, joined.get(after.change_id, after)) for before, after in steps]
        self._commit(steps, fact)
        return True

    def _lead(self, change: Change, fact: facts.Fact) -> bool:
        after = self._step(change, fact)
        steps = [(change, after)]
        if change.leads and change.state in ACTION_OF and after.state is not change.state:
            followers = (c for c in self.turn if c is not change and c.lead_id == change.change_id)
            steps += [(other, follow(other, after)) for other in followers if other.state is change.state]
        self._commit(steps, fact)
        return True

    def _step(self, change: Change, fact: facts.Fact) -> Change:
        self.walked.add((change.state, read(change, fact, self.now)[0]))
        return step(change, fact, self.now)[0]

    def _commit(self, steps: list[tuple[Change, Change]], fact: facts.Fact) -> None:
        if self.dies_before_commit:
            self.dies_before_commit = False
            self.crash()
            return
        after_of = {before.change_id: after for before, after in steps}
        for _, after in steps:
            self.store[after.change_id] = after
        for change_id, attempt in record_of(steps, fact, self.now).attempts:
            stored = self.attempts.setdefault(change_id, [])
            stored[:] = [entry for entry in stored if entry.attempt_id != attempt.attempt_id] + [attempt]
        for before, after in steps:
            for watcher in self.on_step:
                watcher(before, after)
        self.turn = tuple(after_of.get(change.change_id, change) for change in self.turn)

    def _perform(self, change: Change) -> facts.Fact | None:
        command = next_command(change)
        if isinstance(command, Pause):
            self.now += timedelta(seconds=command.seconds)
            command = command.then
        if command is None:
            raise AssertionError(f"{change.change_id} is {change.state} and has nothing to do")
        return self.world.do(change, command, self.attempts.get(change.change_id, ()), self.now)
