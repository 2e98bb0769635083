import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from orchestrator.engine.runtime.turns import INTAKE, LONGEST_SECONDS, Turns, resting
from tests.simulation.virtual_time import run

STEP_SECONDS = 0.01


class Floor:
    """Lanes at work, each for some steps, and what was seen of them."""

    def __init__(self, at_work: int, shares: dict[str, int] | None = None) -> None:
        self.turns = Turns(at_work, shares)
        self.working: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.order: list[str] = []

    async def lane(self, sender: str, steps: int = 1, seconds: float = STEP_SECONDS) -> None:
        with self.turns.present(sender):
            for _ in range(steps):
                async with self.turns.turn(sender):
                    self.order.append(sender)
                    self.working[sender] += 1
                    self.most[sender] = max(self.most[sender], self.working[sender])
                    self.most["all"] = max(self.most["all"], self.working.total())
                    await asyncio.sleep(seconds)
                    self.working[sender] -= 1


def test_the_lanes_of_one_sender_do_not_wait_for_each_other() -> None:
    """While nobody else has a lane, all lanes of a sender are at work at the same time."""

    async def alone() -> None:
        floor = Floor(at_work=4)
        await asyncio.gather(*(floor.lane("many") for _ in range(100)))
        assert floor.most["many"] == 100

    run(alone())


def test_a_single_lane_waits_for_nobody_beside_a_flood() -> None:
    """Beside five hundred lanes of another sender, each step of a lane begins at once, and few others are at work."""

    async def beside() -> None:
        floor = Floor(at_work=8)
        loop = asyncio.get_running_loop()
        flood = [asyncio.create_task(floor.lane("many", steps=20)) for _ in range(500)]
        await asyncio.sleep(STEP_SECONDS / 2)
        began = loop.time()
        single = asyncio.create_task(floor.lane("single", steps=6))  # while all five hundred are at work
        await asyncio.sleep(STEP_SECONDS)
        floor.most.clear()  # who was alone ends the step that it was at
        await asyncio.sleep(4 * STEP_SECONDS)
        assert floor.most["all"] <= 8 + 1  # all places, and the part of who comes
        assert floor.turns.waiting > 400
        await single
        assert loop.time() - began == pytest.approx(6 * STEP_SECONDS)
        await asyncio.gather(*flood)
        assert floor.turns.waiting == 0

    run(beside())


def test_a_share_is_so_many_turns_for_each_of_anothers() -> None:
    """With shares of four and two a sender gets four, or two, steps for each one of a sender without."""

    async def share() -> None:
        floor = Floor(at_work=7, shares={"a": 4, "b": 2})
        with floor.turns.present("a"), floor.turns.present("b"), floor.turns.present("c"):
            lanes = [asyncio.create_task(floor.lane(name)) for name in "cba" for _ in range(200)]
            await asyncio.gather(*lanes)
        taken = Counter(floor.order[:210])
        assert taken["a"] == pytest.approx(120, abs=7)
        assert taken["b"] == pytest.approx(60, abs=7)
        assert taken["c"] == pytest.approx(30, abs=7)

    run(share())


def test_senders_get_free_places_in_turn() -> None:
    """However many lanes each has, senders that wait get as many steps as the others."""

    async def share() -> None:
        floor = Floor(at_work=2)
        senders = {"a": 40, "b": 20, "c": 10}
        with floor.turns.present("a"), floor.turns.present("b"), floor.turns.present("c"):
            lanes = [asyncio.create_task(floor.lane(name)) for name, many in senders.items() for _ in range(many)]
            await asyncio.gather(*lanes)
        taken = Counter(floor.order[:30])
        assert max(taken.values()) - min(taken.values()) <= 2  # the places there are: who came first had both at first

    run(share())


def test_lanes_leave_room_for_what_is_being_accepted() -> None:
    """While requests are being accepted, the lanes of a single sender keep to their places, too."""

    async def accepting() -> None:
        floor = Floor(at_work=4)
        with floor.turns.present(INTAKE):
            await asyncio.gather(*(floor.lane("many") for _ in range(50)))
        assert floor.most["many"] == 4

    run(accepting())


@pytest.mark.parametrize("fails", [False, True])
def test_who_waits_for_a_block_has_no_place(fails: bool) -> None:
    """A lane that rests lets others work, and has a place again when it goes on, also by an exception."""

    async def rest() -> None:
        turns = Turns(at_work=1)
        block = asyncio.Event()
        done: list[str] = []

        async def waiting() -> None:
            async with turns.turn("a"):
                try:
                    async with resting():
                        await asyncio.wait_for(block.wait(), timeout=0.15 if fails else None)
                except TimeoutError:
                    done.append("late")
                done.append("waiting")

        async def working(name: str) -> None:
            async with turns.turn("a"):
                await asyncio.sleep(0.1)
                done.append(name)

        with turns.present("a"), turns.present("b"):
            lane = asyncio.create_task(waiting())
            await asyncio.sleep(0)
            await working("first")
            second = asyncio.create_task(working("second"))
            await asyncio.sleep(0)
            if not fails:
                block.set()
            await asyncio.gather(lane, second)
        assert done == ["first", "second", *(["late"] if fails else []), "waiting"]

    run(rest())


def test_a_node_that_does_not_answer_keeps_no_places() -> None:
    """A lane that is at work for long loses its place: others begin soon, however many such there are."""

    async def hang() -> None:
        floor = Floor(at_work=2)
        loop = asyncio.get_running_loop()
        hanging = [asyncio.create_task(floor.lane("hangs", seconds=1000)) for _ in range(20)]
        await asyncio.sleep(0)
        with floor.turns.present("other"):
            more = [asyncio.create_task(floor.lane("hangs", seconds=1000)) for _ in range(20)]
            await asyncio.sleep(0)
            began = loop.time()
            await floor.lane("other")
            assert loop.time() - began <= LONGEST_SECONDS + 2 * STEP_SECONDS
        for task in (*hanging, *more):
            task.cancel()
        await asyncio.gather(*hanging, *more, return_exceptions=True)
        assert floor.turns.waiting == 0

    run(hang())


@pytest.mark.parametrize("at_work", [1, 3])
def test_no_place_is_lost(at_work: int) -> None:
    """Whoever is cancelled, and when, all places are free at the end."""

    async def cancel() -> None:
        floor = Floor(at_work)
        with floor.turns.present("other"):
            lanes = [asyncio.create_task(floor.lane("many", steps=3)) for _ in range(30)]
            await asyncio.sleep(STEP_SECONDS)  # in the moment in which places change hands
            for task in lanes[::2]:
                task.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)
            floor.most.clear()
            floor.working.clear()
            await asyncio.gather(*(floor.lane("many") for _ in range(10)))
            assert floor.most["many"] == at_work
        assert not floor.turns._working

    run(cancel())


def test_a_part_that_outlives_its_work_takes_no_place() -> None:
    """What rests in a task of its own when the work is over takes no place that nobody would give back."""

    async def outlive() -> None:
        turns = Turns(at_work=1)
        go_on = asyncio.Event()

        async def part() -> None:
            async with resting():
                await go_on.wait()

        start: Callable[[], asyncio.Task[None]] = lambda: asyncio.create_task(part())  # noqa: E731 - copies the context
        with turns.present("a"), turns.present("b"):
            async with turns.turn("a"):
                late = start()
                await asyncio.sleep(0)
            go_on.set()
            await late
            assert not turns._working

    run(outlive())
