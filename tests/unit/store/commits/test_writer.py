"""The writer thread commits what waits together."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import pytest
import sqlalchemy as sa

from orchestrator.store.commits.shared_transactions import Job, Outcome
from orchestrator.store.commits.transaction import Transaction
from orchestrator.store.commits.writer import TOGETHER, Writer


class Commits:
    """Stands for the database: notes which units were committed together, and can be held up."""

    def __init__(self, connection: sa.Connection) -> None:
        self.batches: list[int] = []
        self.order: list[str] = []
        self.heard: list[tuple[bool, int]] = []
        self.transaction = Transaction(connection)
        self.free = threading.Event()
        self.begun = threading.Event()
        self.free.set()

    def __call__(self, jobs: Sequence[Job]) -> list[Outcome]:
        self.begun.set()
        assert self.free.wait(10)
        self.batches.append(len(jobs))
        return [Outcome(value=job.unit(self.transaction), work=True, position=5) for job in jobs]

    def named(self, name: str) -> Callable[[Transaction], str]:
        def unit(_: Transaction) -> str:
            self.order.append(name)
            return name

        return unit


@pytest.fixture
def commits() -> Iterator[Commits]:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        yield Commits(connection)
    engine.dispose()


@pytest.fixture
async def writer(commits: Commits) -> AsyncIterator[Writer]:
    writer = Writer(commits, lambda work, position: commits.heard.append((work, position)))
    writer.start(asyncio.get_running_loop())
    yield writer
    commits.free.set()
    await asyncio.to_thread(writer.stop)


async def _held_up(writer: Writer, commits: Commits) -> "asyncio.Future[Outcome]":
    """Keep the thread busy, so that what is submitted next has to wait."""
    commits.free.clear()
    first = writer.submit(Job(commits.named("first"), ""))
    await asyncio.to_thread(commits.begun.wait, 10)
    return first


async def test_what_waits_is_committed_together(writer: Writer, commits: Commits) -> None:
    """Units that wait share a transaction, in the order of their coming, up to a limit."""
    first = await _held_up(writer, commits)
    waiting = [writer.submit(Job(commits.named(f"{key}{number}"), key)) for number in range(60) for key in ("b", "a")]
    commits.free.set()
    outcomes = await asyncio.gather(first, *waiting)
    assert [outcome.value for outcome in outcomes[1:5]] == ["b0", "a0", "b1", "a1"]
    assert commits.batches == [1, TOGETHER, 120 - TOGETHER]
    assert commits.order[1:5] == ["b0", "a0", "b1", "a1"]
    assert commits.heard == [(True, 5)] * 3


async def test_what_one_turn_of_the_loop_submits_is_committed_together(writer: Writer, commits: Commits) -> None:
    """A unit is not committed alone while the loop still runs others that the same block woke."""
    first = writer.submit(Job(commits.named("first"), "a"))
    # Long enough for a thread that got it to begin; the loop is kept from ending its turn.
    begun = commits.begun.wait(0.1)
    second = writer.submit(Job(commits.named("second"), "b"))
    await asyncio.gather(first, second)
    assert not begun
    assert commits.batches == [2]


async def test_a_unit_without_a_key_is_alone(writer: Writer, commits: Commits) -> None:
    """A unit that locks several groups gets a transaction of its own, in its turn."""
    first = await _held_up(writer, commits)
    waiting = [
        writer.submit(Job(commits.named(name), key)) for name, key in (("1", "b"), ("2", "a"), ("3", None), ("4", "a"))
    ]
    commits.free.set()
    await asyncio.gather(first, *waiting)
    assert commits.batches == [1, 2, 1, 1]
    assert commits.order == ["first", "1", "2", "3", "4"]


async def test_a_unit_that_was_cancelled_in_time_is_not_run(writer: Writer, commits: Commits) -> None:
    """Whoever gives up before the turn of a unit finds nothing of it done."""
    first = await _held_up(writer, commits)
    given_up = writer.submit(Job(commits.named("given up"), "a"))
    given_up.cancel()
    alone = writer.submit(Job(commits.named("alone"), None))
    alone.cancel()
    kept = writer.submit(Job(commits.named("kept"), "a"))
    commits.free.set()
    await asyncio.gather(first, kept)
    assert commits.order == ["first", "kept"]


async def test_stopping_finishes_what_waits(commits: Commits) -> None:
    """What was submitted before the stop is committed; afterwards nothing can be."""
    writer = Writer(commits, lambda *_: None)
    with pytest.raises(RuntimeError, match="not open"):
        writer.submit(Job(commits.named("early"), "a"))
    writer.start(asyncio.get_running_loop())
    waiting = [writer.submit(Job(commits.named(str(number)), "a")) for number in range(10)]
    await asyncio.to_thread(writer.stop)
    await asyncio.gather(*waiting)
    assert len(commits.order) == 10
    with pytest.raises(RuntimeError, match="not open"):
        writer.submit(Job(commits.named("late"), "a"))
