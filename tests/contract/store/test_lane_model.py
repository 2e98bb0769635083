"""The store against a simple model of lanes, under any order of calls, on both databases."""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from orchestrator.engine.ports.store import Lane, LeaseLostError, Record
from orchestrator.membership.model import RESTING, Change, State
from orchestrator.membership.news.status import announce
from orchestrator.store import Database, SqlChangeStore, SqlOutbox
from orchestrator.store.database.connections import engine_for, normalised
from orchestrator.store.errors import ConstraintError
from orchestrator.store.schema import identity, metadata
from orchestrator.store.units.replica_shares import PRESENT_MICROSECONDS, allotted
from tests.fakes.changes import a_change, a_step, led, stepped
from tests.fakes.clock import START, JumpingClock

T = TypeVar("T")
LEASE = 10
PRESENT_SECONDS = PRESENT_MICROSECONDS / 1_000_000
GROUPS = ("g1", "g2", "g3")
HOLDERS = ("one", "two")


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@dataclass
class ModelLane:
    holder: str | None = None
    token: int = 0
    until: float = 0
    due: float | None = None


@dataclass
class Model:
    """What the store should hold."""

    lanes: dict[str, ModelLane] = field(default_factory=lambda: defaultdict(ModelLane))
    words: dict[str, float] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    announced: dict[str, list[tuple[str, str | None]]] = field(default_factory=lambda: defaultdict(list))

    def free(self, since: float) -> dict[str, float]:
        return {
            group: lane.due
            for group, lane in self.lanes.items()
            if lane.due is not None and lane.due <= since and (lane.holder is None or lane.until <= since)
        }

    def held(self, holder: str, now: float) -> tuple[int, int]:
        held = [lane.holder for lane in self.lanes.values() if lane.holder is not None and lane.until > now]
        return held.count(holder), len(held) - held.count(holder)

    def others_present(self, holder: str, now: float, *, able: bool) -> int:
        if not able:
            self.words.pop(holder, None)
        elif self.words.get(holder, now) <= now + PRESENT_SECONDS / 2:
            self.words[holder] = now + PRESENT_SECONDS
        late = {lane.holder for lane in self.lanes.values() if lane.holder is not None and lane.until <= now}
        return sum(until > now and name not in late for name, until in self.words.items() if name != holder)

    def of_group(self, group: str) -> list[Change]:
        return [change for change in self.changes.values() if change.privacy_group_id == group]

    def ready(self, group: str) -> float | None:
        waiting = [change for change in self.of_group(group) if change.state is State.QUEUED]
        foremost = self.active(group) or tuple(waiting[:1])
        return min((ready_at(change) for change in foremost), default=None)

    def active(self, group: str) -> tuple[Change, ...]:
        return tuple(change for change in self.of_group(group) if change.state not in RESTING)

    def queued(self, group: str, now: float) -> tuple[Change, ...]:
        waiting = (change for change in self.of_group(group) if change.state is State.QUEUED)
        return tuple(takewhile(lambda change: ready_at(change) <= now, waiting))

    def commit(self, record: Record) -> None:
        for change in record.changes:
            self.changes[change.change_id] = change
        for event in record.events:
            self.announced[event.privacy_group_id].append((event.type, event.change_id))


def ready_at(change: Change) -> float:
    waits = change.state is State.QUEUED and change.not_before is not None
    moment = change.not_before if waits and change.not_before is not None else change.created_at
    return (moment - START).total_seconds()


class LaneMachine(RuleBasedStateMachine):
    """Calls the store in any order and compares with the model."""

    def __init__(self, url: str) -> None:
        super().__init__()
        engine = engine_for(normalised(url))
        with engine.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                if table is not identity:  # the store stays the one that it is
                    connection.execute(sa.delete(table))
        engine.dispose()
        self.runner = asyncio.Runner()
        self.database = Database(url)
        self.run(self.database.start())
        self.store = SqlChangeStore(self.database, JumpingClock())
        self.outbox = SqlOutbox(self.database)
        self.model = Model()
        self.now = 0.0
        self.claimed: list[Lane] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.database.close())
        self.runner.close()

    @rule(seconds=st.sampled_from((0.5, 1, 5, 11)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(group=st.sampled_from(GROUPS))
    def accept(self, group: str) -> None:
        change = a_change(str(len(self.model.changes)), group, at=self.now)
        events = announce(None, change)
        self.run(self.store.accept(change, "hash", events))
        self.model.commit(Record(changes=(change,), events=events))
        lane = self.model.lanes[group]
        lane.due = self.now if lane.due is None else min(lane.due, self.now)

    @rule(holder=st.sampled_from(HOLDERS), limit=st.integers(1, 4), able=st.sampled_from((True, True, False)))
    def claim(self, holder: str, limit: int, able: bool) -> None:
        mine, others = self.model.held(holder, self.now)
        present = self.model.others_present(holder, self.now, able=able)
        since = self.now
        if present:
            allotment = allotted(
                replicas=present + able,
                mine=mine,
                others=others,
                due=min(len(self.model.free(self.now)), limit * (present + 1)),
                patience=None if able else LEASE * 1_000_000,
            )
            limit, since = min(limit, allotment.limit), self.now - allotment.waited / 1_000_000
        free = self.model.free(since)
        found = self.run(
            self.store.claim(
                holder=holder,
                lease=timedelta(seconds=LEASE),
                limit=limit,
                now=at(self.now),
                held={"": mine},
                able=able,
            )
        )
        assert [free[lane.privacy_group_id] for lane in found] == sorted(free.values())[:limit]
        for claimed in found:
            lane = self.model.lanes[claimed.privacy_group_id]
            lane.holder, lane.token, lane.until = holder, lane.token + 1, self.now + LEASE
            assert claimed.token == lane.token
            self._compare(claimed)
            self.claimed.append(claimed)

    def _compare(self, lane: Lane) -> None:
        active = self.model.active(lane.privacy_group_id)
        assert set(lane.active) == set(active)
        assert not any(change.leads for change in lane.active[1:])
        assert lane.queued == self.model.queued(lane.privacy_group_id, self.now)

    @precondition(lambda self: self.claimed)
    @rule(data=st.data())
    def load(self, data: st.DataObject) -> None:
        lane = data.draw(st.sampled_from(self.claimed))
        self._compare(self.run(self.store.load(lane, now=at(self.now))))

    @rule(holder=st.sampled_from(HOLDERS), groups=st.none() | st.sets(st.sampled_from(GROUPS)))
    def renew(self, holder: str, groups: set[str] | None) -> None:
        held = self.run(
            self.store.renew(holder=holder, lease=timedelta(seconds=LEASE), now=at(self.now), groups=groups)
        )
        expected = {g for g, lane in self.model.lanes.items() if lane.holder == holder and g in (groups or GROUPS)}
        if groups is not None:
            expected &= groups
        assert held == expected
        for group in held:
            self.model.lanes[group].until = self.now + LEASE

    @rule(holder=st.sampled_from(HOLDERS))
    def forget(self, holder: str) -> None:
        freed = self.run(self.store.forget(name=holder))
        assert freed == {group for group, lane in self.model.lanes.items() if lane.holder == holder}
        for group in freed:
            self.model.lanes[group].holder = None
        self.model.words.pop(holder, None)

    @precondition(lambda self: self.claimed)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        claimed = data.draw(st.sampled_from(self.claimed))
        self.run(self.store.release(claimed, now=at(self.now)))
        lane = self.model.lanes[claimed.privacy_group_id]
        if self._holds(claimed):
            ready = self.model.ready(claimed.privacy_group_id)
            lane.holder, lane.due = None, None if ready is None else max(ready, self.now)

    def _holds(self, claimed: Lane) -> bool:
        lane = self.model.lanes[claimed.privacy_group_id]
        return lane.holder is not None and lane.token == claimed.token

    @precondition(lambda self: self.claimed)
    @rule(data=st.data(), to=st.sampled_from((State.LOCKING, State.QUEUED, State.SUCCEEDED, State.PARKED)))
    def record(self, data: st.DataObject, to: State) -> None:
        claimed = data.draw(st.sampled_from(self.claimed))
        group = claimed.privacy_group_id
        lead = next(iter(self.model.active(group)), None)
        waiting = [change for change in self.model.of_group(group) if change.state is State.QUEUED]
        if lead is not None:
            wait = at(self.now + 7) if to is State.QUEUED else None
            step = a_step(lead, stepped(lead, to, not_before=wait))
        elif waiting:
            step = a_step(waiting[0], led(waiting[0], not_before=None))
        else:
            return
        self._record(claimed, step)

    def _record(self, claimed: Lane, step: Record) -> None:
        if not self._holds(claimed):
            with pytest.raises(LeaseLostError):
                self.run(self.store.record(claimed, step))
            return
        self.run(self.store.record(claimed, step))
        self.model.commit(step)

    @precondition(lambda self: self.claimed)
    @rule(data=st.data())
    def record_a_second_lead(self, data: st.DataObject) -> None:
        claimed = data.draw(st.sampled_from(self.claimed))
        group = claimed.privacy_group_id
        waiting = [change for change in self.model.of_group(group) if change.state is State.QUEUED]
        if self.model.active(group) and waiting and self._holds(claimed):
            with pytest.raises(ConstraintError):
                self.run(self.store.record(claimed, a_step(waiting[0], led(waiting[0]))))

    @precondition(lambda self: self.claimed)
    @rule(data=st.data())
    def record_from_an_old_reading(self, data: st.DataObject) -> None:
        claimed = data.draw(st.sampled_from(self.claimed))
        for change in self.model.of_group(claimed.privacy_group_id):
            if change.revision > 0:
                old = stepped(change, State.PARKED, revision=change.revision, tries=99)
                with pytest.raises(LeaseLostError):
                    self.run(self.store.record(claimed, a_step(change, old)))

    @precondition(lambda self: self.model.changes)
    @rule(data=st.data(), to=st.sampled_from((State.CANCELLED, State.QUEUED)))
    def amend(self, data: st.DataObject, to: State) -> None:
        change = data.draw(st.sampled_from(list(self.model.changes.values())))
        if change.ended or (to is State.QUEUED and change.state is not State.PARKED):
            return
        step = a_step(change, stepped(change, to, not_before=None))
        lane = self.model.lanes[change.privacy_group_id]
        assert self.run(self.store.amend(change.change_id, lambda _: step)) == step.changes[0]
        self.model.commit(step)
        if lane.holder is None:
            lane.due = self.model.ready(change.privacy_group_id)

    @invariant()
    def the_store_holds_what_the_model_holds(self) -> None:
        stored = self.run(self.store.changes(limit=1000))
        assert list(reversed(stored)) == list(self.model.changes.values())

    @invariant()
    def the_next_due_is_known(self) -> None:
        lanes = [lane for lane in self.model.lanes.values() if lane.due is not None]
        due = min((max(lane.due or 0, lane.until if lane.holder else 0) for lane in lanes), default=None)
        assert self.run(self.store.next_due()) == (None if due is None else at(due))

    @invariant()
    def every_event_is_there_in_order(self) -> None:
        stored = self.run(self.outbox.after(0, limit=10_000))
        for group, expected in self.model.announced.items():
            of_group = [entry for entry in stored if entry.event.privacy_group_id == group]
            assert [(entry.event.type, entry.event.change_id) for entry in of_group] == expected
            assert [entry.sequence for entry in of_group] == list(range(1, len(expected) + 1))


def test_the_store_behaves_as_the_model(store_url: str) -> None:
    """Whatever the order of claims, expiries, take-overs, steps and amendments, store and model agree."""

    class Machine(LaneMachine):
        def __init__(self) -> None:
            super().__init__(store_url)

    checks = settings(max_examples=10, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Machine, settings=checks)
