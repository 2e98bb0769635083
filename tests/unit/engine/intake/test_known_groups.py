"""Which groups there may be: what nodes that hang or are slow cost requests, and who shares an answer."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from orchestrator.engine.intake.intake import AT_ONCE
from orchestrator.engine.intake.known_groups import (
    GROUP_CHECK_SECONDS,
    PATIENCE_SECONDS,
    REST_SECONDS,
    KnownGroups,
)
from orchestrator.engine.intake.requests import InvalidRequestError
from orchestrator.membership.model import Change, GroupView, Kind
from tests.fakes.clock import START, TURNS, JumpingClock

if TYPE_CHECKING:
    from tests.unit.engine.conftest import Rig

T = TypeVar("T")

LATE_SECONDS = GROUP_CHECK_SECONDS - 0.1


class SharedClock(JumpingClock):
    """Virtual time in which many wait at the same time: what they wait for passes once, not once for each."""

    async def wait_for(self, awaitable: Awaitable[T], seconds: float) -> T:
        ends = self.time + timedelta(seconds=seconds)
        task = asyncio.ensure_future(awaitable)
        for _ in range(TURNS):
            if task.done():
                return await task
            await asyncio.sleep(0)
        self.time = max(self.time, ends)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise TimeoutError


class EmptyStore:
    """A store without changes, that answers at once: only nodes are waited for."""

    async def changes(self, *_: Any, **__: Any) -> tuple[Change, ...]:
        return ()


async def test_a_flood_of_unknown_groups_beside_a_node_that_hangs_delays_nobody(
    rig: "Rig", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind ten times as many requests for unknown groups as have places, one waits for two time-outs at the most.

    What the silent node may have is not ruled out: each of them is accepted, and preflight looks again.
    """
    clock = SharedClock()

    async def silent(*_: Any) -> GroupView:
        never: asyncio.Future[GroupView] = asyncio.get_running_loop().create_future()
        return await never

    monkeypatch.setattr(rig.nodes["a"], "view", silent)
    groups = KnownGroups(EmptyStore(), rig.fleet, clock)
    places = asyncio.Semaphore(AT_ONCE)

    async def asks(group: str) -> bool:
        async with places:
            return await groups.may_exist(group, groups.arrival())

    assert all(await asyncio.gather(*(asks(f"group {number}") for number in range(10 * AT_ONCE))))
    assert clock.time - START <= timedelta(seconds=2 * GROUP_CHECK_SECONDS)


async def test_a_slow_node_is_not_waited_for_by_many(rig: "Rig", monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that answers late is believed, until so many waited for it at once that it is left alone for a while."""
    clock = SharedClock()
    answer = asyncio.Event()
    asked = 0

    async def slow(*_: Any) -> GroupView:
        nonlocal asked
        asked += 1
        await answer.wait()
        return GroupView(block_number=1, exists=False)

    monkeypatch.setattr(rig.nodes["a"], "view", slow)
    groups = KnownGroups(EmptyStore(), rig.fleet, clock)

    async def found(*names: str) -> list[bool]:
        answer.clear()
        asking = [asyncio.create_task(groups.may_exist(name, groups.arrival())) for name in names]
        for _ in range(TURNS // 4):
            await asyncio.sleep(0)
        clock.time += timedelta(seconds=LATE_SECONDS)
        answer.set()
        return await asyncio.gather(*asking)

    few = int(PATIENCE_SECONDS / LATE_SECONDS)
    assert not any(await found(*(f"few {number}" for number in range(few))))
    assert not any(await found(*(f"many {number}" for number in range(AT_ONCE))))
    assert await found("beyond") == [True]
    assert asked == few + AT_ONCE
    clock.time += timedelta(seconds=REST_SECONDS)
    assert await found("later") == [False]


async def test_quick_nodes_are_asked_however_many_ask(rig: "Rig") -> None:
    """Thousands of requests for unknown groups do not keep nodes that answer at once from being believed."""
    groups = KnownGroups(EmptyStore(), rig.fleet, JumpingClock())
    assert not any([await groups.may_exist(f"group {number}", groups.arrival()) for number in range(200)])


async def test_those_who_wait_for_one_unknown_group_ask_once(rig: "Rig", monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests for one group share an answer that is not older than they are; a later one has its own."""
    asked, there = 0, False

    async def seen(*_: Any) -> GroupView:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return GroupView(block_number=1, exists=there)

    monkeypatch.setattr(rig.nodes["a"], "view", seen)
    together = await asyncio.gather(*(rig.ask(Kind.ADD_MEMBERS, "c") for _ in range(20)), return_exceptions=True)
    assert {type(error) for error in together} <= {InvalidRequestError, *InvalidRequestError.__subclasses__()}
    assert asked == 1
    there = True
    assert (await rig.ask(Kind.ADD_MEMBERS, "c")).kind is Kind.ADD_MEMBERS
