import asyncio
from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from typing import Any

from orchestrator.engine.lanes.supervisor import PAUSE_SECONDS, LaneRules, Supervisor
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.ports.store import Lane
from orchestrator.engine.runtime.leases import Leases
from orchestrator.store import Database, SqlChangeStore
from tests.fakes.changes import a_change
from tests.fakes.clock import FastClock
from tests.simulation.virtual_time import in_virtual_time


def lane(group: str) -> Lane:
    return Lane(privacy_group_id=group, token=1, active=(), queued=())


class SlowStore:
    """Hands out one lane, and a second one while the lease of the first is being renewed."""

    def __init__(self) -> None:
        self.claimable = [lane("first")]
        self.asked: list[frozenset[str]] = []
        self.work = asyncio.Event()

    async def claim(self, **_: Any) -> tuple[Lane, ...]:
        found, self.claimable = tuple(self.claimable), []
        return found

    async def renew(self, *, groups: Collection[str], **_: Any) -> frozenset[str]:
        asked = frozenset(groups)
        self.asked.append(asked)
        if len(self.asked) == 1:
            self.claimable = [lane("second")]
            self.work.set()
            await until(lambda: not self.claimable)
        return asked

    async def others(self, **_: Any) -> int:
        return 0

    async def next_due(self) -> None:
        return None

    async def wait_for_work(self, _: float) -> None:
        await self.work.wait()
        self.work.clear()


class OneLaneStore(SlowStore):
    """Hands out one lane, once."""

    async def renew(self, *, groups: Collection[str], **_: Any) -> frozenset[str]:
        return frozenset(groups)


class CountedStore(SqlChangeStore):
    """Counts claims."""

    claims = 0

    async def claim(self, **asked: Any) -> tuple[Lane, ...]:
        self.claims += 1
        return await super().claim(**asked)


class EndlessWorker:
    """Works on each lane until it is stopped."""

    def __init__(self) -> None:
        self.working: set[str] = set()
        self._ends: dict[str, asyncio.Event] = {}

    async def run(self, claimed: Lane) -> None:
        self.working.add(claimed.privacy_group_id)
        try:
            await self._ends.setdefault(claimed.privacy_group_id, asyncio.Event()).wait()
        finally:
            self.working.discard(claimed.privacy_group_id)

    def end(self, group: str) -> None:
        """Let go of a lane, which is not given back: it is not claimed again."""
        self._ends[group].set()

    def interrupt(self) -> None:
        """There is nothing to interrupt."""


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what changes it has no event
            await asyncio.sleep(0.001)


@in_virtual_time
async def test_a_lane_that_is_claimed_during_a_renewal_is_not_taken_for_lost() -> None:
    """A renewal says nothing about a lane that was claimed after it was asked for: it is driven and renewed later."""
    store, worker, clock, stopping = SlowStore(), EndlessWorker(), FastClock(), asyncio.Event()
    rules = LaneRules(holder="test", lease=timedelta(seconds=3), stop_within=timedelta(seconds=0.01))
    supervisor = Supervisor(store, worker, Fleet([]), clock, rules, stopping, Leases(clock), lambda: 0.5)  # type: ignore[arg-type] # small stand-ins
    running = asyncio.create_task(supervisor.run())
    await until(lambda: len(store.asked) > 1)
    assert worker.working == {"first", "second"}
    assert store.asked[1] == {"first", "second"}
    stopping.set()
    await running


@in_virtual_time
async def test_a_lane_that_is_cancelled_before_its_first_step_is_not_renewed() -> None:
    """Whatever ends a lane's task, and when, its lease is renewed no more, so that the lane can be claimed again."""
    store, clock, stopping = OneLaneStore(), FastClock(), asyncio.Event()
    rules = LaneRules(holder="test", lease=timedelta(seconds=3))
    supervisor = Supervisor(store, EndlessWorker(), Fleet([]), clock, rules, stopping, Leases(clock), lambda: 0.5)  # type: ignore[arg-type] # small stand-ins
    running = asyncio.create_task(supervisor.run())
    await until(lambda: supervisor.running_lanes)
    for task in supervisor._lanes.values():
        task.cancel()
    await until(lambda: not supervisor.running_lanes)
    stopping.set()
    await running


class GivingWorker:
    """Works on a lane until it is stopped, and notes what is at work at the same time."""

    def __init__(self) -> None:
        self.working: list[int] = []
        self.most = 0

    async def run(self, claimed: Lane) -> None:
        self.working.append(claimed.token)
        self.most = max(self.most, len(self.working))
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.working.remove(claimed.token)

    def interrupt(self) -> None:
        """There is nothing to interrupt."""


@in_virtual_time
async def test_a_lane_that_is_claimed_again_is_driven_once() -> None:
    """When a lease ran out here and nobody else took the lane, the earlier work ends before the new one begins."""
    store, worker, clock, stopping = SlowStore(), GivingWorker(), FastClock(), asyncio.Event()
    rules = LaneRules(holder="test", lease=timedelta(hours=1), stop_within=timedelta(seconds=0.01))
    supervisor = Supervisor(store, worker, Fleet([]), clock, rules, stopping, Leases(clock), lambda: 0.5)  # type: ignore[arg-type] # small stand-ins
    running = asyncio.create_task(supervisor.run())
    await until(lambda: worker.working == [1])
    store.claimable = [replace(lane("first"), token=2)]
    store.work.set()
    await until(lambda: worker.working == [2])
    assert worker.most == 1
    stopping.set()
    await asyncio.wait_for(running, 5)


class Seeing:
    """A fleet whose nodes answer, or none does."""

    watchers = ()
    answers = True


@in_virtual_time
async def test_lanes_are_left_to_replicas_that_see_their_nodes() -> None:
    """When no node answers for a whole lease, lanes are given back, where another replica is; else they are kept."""
    clock, stopping, fleet, worker = FastClock(), asyncio.Event(), Seeing(), EndlessWorker()
    rules = LaneRules(holder="one", lease=timedelta(seconds=3), stop_within=timedelta(seconds=0.01))
    async with Database("sqlite://") as database:
        store = CountedStore(database, clock)
        await store.accept(a_change("1", "g"), "hash", ())
        supervisor = Supervisor(store, worker, fleet, clock, rules, stopping, Leases(clock), lambda: 0.5)  # type: ignore[arg-type] # small stand-ins
        running = asyncio.create_task(supervisor.run())
        try:
            await until(lambda: worker.working == {"g"})
            fleet.answers = False
            later = clock.now() + 4 * rules.lease
            await until(lambda: clock.now() > later)
            assert worker.working == {"g"}
            taken: tuple[Lane, ...] = ()
            async with asyncio.timeout(5):
                while not taken:
                    taken = await store.claim(holder="two", lease=timedelta(hours=1), limit=1, now=clock.now())
                    await asyncio.sleep(0.001)
            assert [lane.privacy_group_id for lane in taken] == ["g"]
            await until(lambda: not worker.working)
        finally:
            stopping.set()
            await running


class HungryStore(SlowStore):
    """Has nothing to do, and says again and again that it may have."""

    claims = 0

    async def claim(self, **_: Any) -> tuple[Lane, ...]:
        self.claims += 1
        return ()

    async def wait_for_work(self, _: float) -> None:
        await asyncio.sleep(0)


@in_virtual_time
async def test_news_that_bring_nothing_do_not_keep_the_store_busy() -> None:
    """However often other replicas' commits wake one, it asks for lanes that it does not get twenty times a second."""
    clock, stopping, store = FastClock(), asyncio.Event(), HungryStore()
    rules = LaneRules(holder="test", lease=timedelta(hours=1))
    supervisor = Supervisor(store, EndlessWorker(), Fleet([]), clock, rules, stopping, Leases(clock), lambda: 0.5)  # type: ignore[arg-type] # small stand-ins
    began = clock.now()
    running = asyncio.create_task(supervisor.run())
    await until(lambda: store.claims > 20)
    assert clock.now() - began >= timedelta(seconds=PAUSE_SECONDS) * 19
    stopping.set()
    await running


@in_virtual_time
async def test_a_flood_leaves_lanes_for_who_comes_next() -> None:
    """One source drives nine tenths of the lanes at most; another's first change has a lane at once."""
    clock, stopping = FastClock(factor=1), asyncio.Event()
    worker = EndlessWorker()
    rules = LaneRules(holder="test", lease=timedelta(hours=1), most_lanes=10, stop_within=timedelta(seconds=0.01))
    async with Database("sqlite://") as database:
        store = CountedStore(database, clock)
        supervisor = Supervisor(store, worker, Fleet([]), clock, rules, stopping, Leases(clock), lambda: 0.5)  # type: ignore[arg-type] # a small stand-in
        for number in range(30):
            await store.accept(a_change(f"a{number}", f"a{number:02}"), "hash", (), source="/flood")
        running = asyncio.create_task(supervisor.run())
        await until(lambda: supervisor.running_lanes == 9 and store.claims > 1)
        assert worker.working == {f"a{number:02}" for number in range(9)}
        assert supervisor.largest_share == 9
        claims = store.claims
        await store.accept(a_change("b", "b"), "hash", (), source="/other")
        await until(lambda: "b" in worker.working)
        # What is due and may not be taken is not asked for again and again.
        assert store.claims <= claims + 2
        worker.end("a00")
        await until(lambda: len(worker.working) == 10 and "a00" not in worker.working)
        assert worker.working == {"b", *(f"a{number:02}" for number in range(1, 10))}
        stopping.set()
        await running
