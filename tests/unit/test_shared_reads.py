"""Reads that many ask for at the same moment."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.shared_reads import ReadingLock, SharedReads


class Table:
    """What is read: a number that somebody counts up; each read waits until it is let go on."""

    def __init__(self) -> None:
        self.written = 0
        self.reads: list[tuple[str, ...]] = []
        self.goes_on = asyncio.Semaphore(0)
        self.failure: Exception | None = None

    async def read(self, keys: Sequence[str]) -> Mapping[str, int]:
        self.reads.append(tuple(keys))
        seen = self.written
        await self.goes_on.acquire()
        if self.failure is not None:
            raise self.failure
        return dict.fromkeys(keys, seen)


async def settle() -> None:
    """Let everybody get as far as they can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_who_asks_while_a_read_is_under_way_shares_the_next_one() -> None:
    """Ten who ask behind the first make one more read, of each key once, and see what was written before they asked."""
    table = Table()
    shared = SharedReads(table.read)
    first = asyncio.create_task(shared.of("a"))
    await settle()
    table.written = 1
    others = [asyncio.create_task(shared.of(key)) for key in "abbbcaaabc"]
    await settle()
    table.goes_on.release()
    assert await first == 0
    table.goes_on.release()
    assert await asyncio.gather(*others) == [1] * 10
    assert table.reads == [("a",), ("a", "b", "c")]


async def test_a_cancelled_reader_leaves_the_read_to_the_next() -> None:
    """Who makes the read for others may be cancelled: one of them reads again, for all of them."""
    table = Table()
    shared = SharedReads(table.read)
    leader = asyncio.create_task(shared.of("a"))
    await settle()
    table.goes_on.release()
    await leader
    second, third, fourth = (asyncio.create_task(shared.of(key)) for key in "abc")
    await settle()
    second.cancel()
    await settle()
    fourth.cancel()
    table.goes_on.release()
    assert await third == 0
    assert second.cancelled() or await asyncio.gather(second, return_exceptions=True)
    assert table.reads[-1][0] == "b"


async def test_a_failure_is_for_all_who_share_it() -> None:
    """A read that fails fails those who asked for it, and nobody who asks later."""
    table = Table()
    shared = SharedReads(table.read)
    table.failure = OSError("away")
    some = [asyncio.create_task(shared.of(key)) for key in "ab"]
    await settle()
    table.goes_on.release()
    table.goes_on.release()
    found = await asyncio.gather(*some, return_exceptions=True)
    assert [str(error) for error in found] == ["away", "away"]
    table.failure = None
    table.goes_on.release()
    assert await shared.of("a") == 0


@pytest.mark.asyncio(loop_scope="function")
async def test_nobody_is_left_behind() -> None:
    """When all is over, nothing is kept of anybody."""
    table = Table()
    shared = SharedReads(table.read)
    some = [asyncio.create_task(shared.of("a")) for _ in range(3)]
    await settle()
    for task in some:
        task.cancel()
    await asyncio.gather(*some, return_exceptions=True)
    table.goes_on.release()
    assert await shared.of("b") == 0
    assert table.reads[-1] == ("b",)


async def test_what_a_silent_node_costs_one_it_costs_all_who_wait_once() -> None:
    """Those who waited meanwhile fail with the reader, without reading; who comes later reads, and so does who waited
    behind another failure."""
    lock = ReadingLock(lambda error: isinstance(error, TimeoutError))
    failure: Exception = TimeoutError("silent")
    goes_on, reads = asyncio.Event(), list[str]()

    async def read(name: str) -> None:
        async with lock.turn():
            reads.append(name)
            await goes_on.wait()
            raise failure

    some = [asyncio.create_task(read(name)) for name in "abc"]
    await settle()
    goes_on.set()
    assert [type(error) for error in await asyncio.gather(*some, return_exceptions=True)] == [TimeoutError] * 3
    assert reads == ["a"]
    failure = KeyError("of one's own")
    goes_on.clear()
    some = [asyncio.create_task(read(name)) for name in "de"]
    await settle()
    goes_on.set()
    assert [type(error) for error in await asyncio.gather(*some, return_exceptions=True)] == [KeyError] * 2
    assert reads == ["a", "d", "e"]


async def test_a_cancelled_reader_is_no_failure() -> None:
    """The next one reads for itself."""
    lock = ReadingLock(lambda _: True)
    reads = list[str]()

    async def read(name: str) -> None:
        async with lock.turn():
            reads.append(name)
            await asyncio.sleep(0)

    first, second = asyncio.create_task(read("a")), asyncio.create_task(read("b"))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert reads == ["a", "b"]


@given(st.lists(st.sampled_from(["ask", "write", "go on", "cancel"]), max_size=40))
def test_nobody_sees_less_than_was_written_before_they_asked(steps: list[str]) -> None:
    """In whatever order people ask, write and give up: each answer is at least as new as its question."""

    async def play() -> None:
        table = Table()
        shared = SharedReads(table.read)
        asked: list[tuple[int, asyncio.Task[int]]] = []
        for step in steps:
            match step:
                case "ask":
                    asked.append((table.written, asyncio.create_task(shared.of("a"))))
                case "write":
                    table.written += 1
                case "go on":
                    table.goes_on.release()
                case "cancel" if asked:
                    asked[len(asked) // 2][1].cancel()
            await settle()
        for _ in asked:
            table.goes_on.release()
        for written, task in asked:
            try:
                assert await task >= written
            except asyncio.CancelledError:
                assert task.cancelled()

    asyncio.run(play())
