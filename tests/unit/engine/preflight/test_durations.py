"""What additions take, measured from the worker's steps as they are committed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from orchestrator.engine.nodes.bundling_times import BundlingBook
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.records import AdditionTime
from orchestrator.engine.preflight.durations import AdditionTimes
from orchestrator.membership.forecast.durations import Quantity
from orchestrator.membership.model import (
    Change,
    Effect,
    ExpectedReplay,
    GroupView,
    Kind,
    MemberProgress,
    Plan,
    State,
    Verdict,
)
from tests.fakes.clock import START, JumpingClock
from tests.fakes.network import FakeNetwork, FakeNode

TRANSACTIONS = 200


@dataclass
class Kept:
    """What is kept, in a dictionary."""

    times: dict[tuple[str, str, str], AdditionTime] = field(default_factory=dict)

    async def keep(self, times: Sequence[AdditionTime]) -> None:
        """Keep these."""
        for time in times:
            self.times[time.change_id, time.quantity.value, time.enclave_key] = time

    async def newest(self, node: str, besu_version: str, quantity: Quantity, limit: int) -> tuple[AdditionTime, ...]:
        """Return the measured ones."""
        found = [
            time
            for time in self.times.values()
            if (time.node, time.besu_version, time.quantity) == (node, besu_version, quantity)
            and time.taken_seconds is not None
        ]
        return tuple(sorted(found, key=lambda time: time.at, reverse=True))[:limit]

    async def of_change(self, change_id: str) -> tuple[AdditionTime, ...]:
        """Return those of a change."""
        return tuple(time for time in self.times.values() if time.change_id == change_id)


class Measured:
    """Additions to one group, as the worker commits them, on a clock of the test's own."""

    def __init__(self) -> None:
        self.clock = JumpingClock()
        self.kept = Kept()
        self.book = BundlingBook()
        self.errors: list[tuple[Quantity, float]] = []
        network = FakeNetwork()
        nodes = [FakeNode(network, f"node{key}", key) for key in "abc"]
        self.times = AdditionTimes(
            self.kept,
            Fleet([ChainWatcher(node, self.clock) for node in nodes]),
            self.work,
            self.book,
            self.clock,
            1.0,
            lambda quantity, error: self.errors.append((quantity, error)),
        )

    async def work(self, _group: str) -> tuple[tuple[int, int], ...]:
        return ((5, TRANSACTIONS),)

    def change(self, change_id: str) -> Change:
        plan = Plan(
            node="nodea",
            abi="bytes",
            to_add=("c",),
            to_remove=(),
            participants=("a", "b"),
            version="0x0",
            unlock_by_empty_add=False,
            first_block=8,
            replays=(ExpectedReplay(enclave_key="c", node="nodec", blocks=1, transactions=TRANSACTIONS),),
        )
        return Change(
            change_id=change_id,
            request_id="r",
            kind=Kind.ADD_MEMBERS,
            privacy_group_id="g",
            members=("c",),
            account="0xo",
            created_at=START,
            state=State.PREFLIGHT,
            lead_id=change_id,
            plan=plan,
        )

    def step(self, before: Change, after: Change, seconds: float = 0.0) -> Change:
        self.clock.time += timedelta(seconds=seconds)
        self.times.on_step(before, after)
        return after

    async def add(self, change_id: str, *, lock: float, bundling: float, replay: float) -> None:
        """One addition from preflight to its success; what was noted is kept before it goes on."""
        change = self.change(change_id)
        change = self.step(change, replace(change, state=State.LOCKING))
        await self.settled()
        change = self.step(change, replace(change, state=State.ADDING, lock_block=10))
        self.book.remember("nodea", "g", bundling)
        view = GroupView(block_number=12, exists=True, participants=("a", "b", "c"))
        effect = Effect(block_number=12, block_hash="0x12", view=view)
        change = self.step(change, replace(change, state=State.REPLAYING, lock_block=None, effect=effect), lock)
        change = self.step(change, replace(change, progress=(self.seen(Verdict.REPLAYING),)))
        change = self.step(change, replace(change, progress=(self.seen(Verdict.IN_SYNC),)), replay)
        self.step(change, replace(change, state=State.SUCCEEDED), 3.0)
        await self.settled()

    def seen(self, verdict: Verdict) -> MemberProgress:
        return MemberProgress(
            enclave_key="c", verdict=verdict, blocks_replayed=0, blocks_total=1, head=12, moved_at=self.clock.now()
        )

    async def settled(self) -> None:
        """Let the part of the daemon that keeps things come to rest."""
        for _ in range(20):
            await asyncio.sleep(0)

    def taken(self, change_id: str) -> dict[str, float | None]:
        mine = [time for time in self.kept.times.values() if time.change_id == change_id]
        return {time.quantity.value: time.taken_seconds for time in mine}


@pytest.fixture
async def measured() -> AsyncIterator[Measured]:
    made = Measured()
    running = asyncio.create_task(made.times.run())
    yield made
    running.cancel()


async def test_an_addition_is_forecast_and_measured(measured: Measured) -> None:
    """Its lock, bundle and replay are kept with what was forecast of them, under the node and the line that did it."""
    await measured.add("one", lock=2.0, bundling=0.5, replay=4.0)
    assert measured.taken("one") == {"bundling": 0.5, "lock": 2.0, "replay": 4.0}
    replay = measured.kept.times["one", "replay", "c"]
    assert (replay.node, replay.transactions) == ("nodec", TRANSACTIONS)
    assert replay.expected_seconds is not None
    assert {quantity for quantity, _ in measured.errors} == set(Quantity)


async def test_forecasts_are_learned_from_each_finished_addition(measured: Measured) -> None:
    """On a network ten times slower than usual the first three forecasts are far off; from the fourth on none is."""
    for number in range(7):
        await measured.add(str(number), lock=2.0, bundling=0.5, replay=20.0 + number % 3)
    replays = [error for quantity, error in measured.errors if quantity is Quantity.REPLAY]
    assert len(replays) == 7
    assert min(replays[:3]) > 0.5
    assert max(replays[3:]) <= 0.25


async def test_what_began_in_another_process_is_not_measured(measured: Measured) -> None:
    """After a restart it is not known when a replay began: nothing is kept rather than a guess."""
    change = replace(measured.change("old"), state=State.REPLAYING, progress=(measured.seen(Verdict.REPLAYING),))
    measured.step(change, replace(change, progress=(measured.seen(Verdict.IN_SYNC),)), 5.0)
    await measured.settled()
    assert measured.kept.times == {}


async def test_what_fails_is_not_measured(measured: Measured) -> None:
    """An addition that was undone tells nothing of what one takes."""
    change = measured.change("undone")
    change = measured.step(change, replace(change, state=State.LOCKING))
    change = measured.step(change, replace(change, state=State.ADDING, lock_block=10))
    measured.step(change, replace(change, state=State.UNLOCKING), 30.0)
    await measured.settled()
    assert set(measured.taken("undone").values()) == {None}


async def test_a_group_of_which_nothing_is_known_has_no_forecast(measured: Measured) -> None:
    """Without its history there is nothing to tell, and that is what is told."""

    async def unknown(_group: str) -> tuple[tuple[int, int], ...]:
        return ()

    measured.times._work = unknown
    assert await measured.times.durations("g", "nodea", ()) is None
