"""How far a partition is worked through: what is committed, and what of it comes again."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.broker.kafka.offsets import MOST_TEXT, Progress


@dataclass
class Log:
    """A partition with gaps (a transaction's marks, what was compacted), and what Kafka keeps of its group."""

    offsets: list[int]
    committed: tuple[int, str] | None = None
    settled: set[int] = field(default_factory=set)

    def begin(self) -> tuple[Progress, list[int]]:
        """Return the progress of a new member, and what it is given to read."""
        base, text = self.committed or (None, "")
        return Progress(base, text), [offset for offset in self.offsets if base is None or offset >= base]

    def commit(self, progress: Progress) -> None:
        self.committed = progress.mark()
        progress.stored()


@given(
    offsets=st.lists(st.integers(0, 300), min_size=1, max_size=60, unique=True).map(sorted),
    lives=st.lists(
        st.tuples(st.lists(st.integers(0, 59), max_size=40), st.integers(0, 60), st.integers(0, 60)),
        max_size=5,
    ),
)
def test_nothing_is_lost_and_what_was_stored_does_not_come_again(
    offsets: list[int], lives: list[tuple[list[int], int, int]]
) -> None:
    """Whatever is settled in whatever order, and wherever a member dies, the next one gets all that is not settled."""
    log = Log(offsets)
    for to_settle, read, commit_after in lives:
        progress, readable = log.begin()
        given_out = []
        for offset in readable[:read]:
            if progress.wants(offset):
                progress.begins(offset)
                assert progress.give(offset) >= 1
                given_out.append(offset)
            else:
                assert offset in log.settled, "only what was settled is left out"
        for number, index in enumerate(to_settle):
            if index < len(given_out):
                progress.settle(given_out[index])
                log.settled.add(given_out[index])
            if number == commit_after and given_out:
                log.commit(progress)
    progress, readable = log.begin()
    assert set(log.offsets) - set(readable) <= log.settled
    coming = {offset for offset in readable if progress.wants(offset)}
    assert set(log.offsets) - log.settled <= coming


def test_what_is_settled_behind_another_does_not_come_again() -> None:
    """The committed offset stays at the oldest that is not settled; the text beside it says what behind it is."""
    progress = Progress(None)
    for offset in (5, 6, 7, 9):
        progress.begins(offset)
        progress.give(offset)
    for offset in (6, 9):
        progress.settle(offset)
    mark = progress.mark()
    assert mark == (5, "1 1 0 5 0,2")
    after = Progress(5, "1 1 0 5 0,2")
    assert [offset for offset in range(5, 12) if after.wants(offset)] == [5, 7, 10, 11]
    assert after.ahead == 10


def test_deliveries_are_counted_over_lives() -> None:
    """What ends each process that looks at it is counted before it is given out; who comes behind it is not."""
    base, text = 0, ""
    for life in range(1, 6):
        progress = Progress(base, text)
        assert progress.begins(0)
        base, text = progress.mark() or (0, "")
        progress.stored()
        assert progress.give(0) == life
        assert not progress.begins(1)
        assert progress.give(1) in (1, life)


def test_who_waits_long_makes_no_other_look_old() -> None:
    """A message that is there for the first time is the first delivery, however often the one before it came."""
    progress = Progress(0)
    progress.begins(0)
    progress.give(0)
    mark = progress.mark()
    for life in range(2, 6):
        assert mark is not None
        progress = Progress(*mark)
        assert progress.begins(0)
        assert progress.give(0) == life
        mark = progress.mark()
        progress.stored()
    assert progress.begins(1)
    assert progress.give(1) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "consumed by another tool",
        "1 0 0 5 9",
        "1 0 0 5 3-1",
        "1 -1 0 5 ",
        "1 0 0 x ",
        "2 0 0 5 1",
        "1 0 0 5 0,",
        "1 " * 2000,
    ],
)
def test_a_text_of_others_is_none(text: str) -> None:
    """What somebody else committed counts as an offset alone."""
    progress = Progress(3, text)
    assert progress.ahead is None
    assert progress.wants(3)
    assert progress.give(3) == 1


def test_the_text_has_a_bound() -> None:
    """What does not fit into the text comes again; nothing is left out that is not settled."""
    progress = Progress(0)
    for offset in range(4000):
        progress.give(offset)
    for offset in range(0, 4000, 2):
        progress.settle(offset)
    base, text = progress.mark() or (0, "")
    assert (base, len(text) <= MOST_TEXT) == (1, True)
    after = Progress(base, text)
    assert all(after.wants(offset) for offset in range(1, 4000, 2))
    assert not after.wants(2)


def test_a_log_that_began_again_is_read_from_its_beginning() -> None:
    """Offsets before the committed one are those of another log: what was known is forgotten."""
    progress = Progress(100, "1 0 0 9 0")
    assert progress.wants(7)
    progress.begins(7)
    progress.give(7)
    assert progress.mark() == (7, "1 1 0 1 0")


def test_what_is_gone_from_the_log_is_not_waited_for() -> None:
    """A message that was not settled and whose time in the topic was over holds the offset no longer."""
    progress = Progress(10, "1 0 0 5 0,2")
    assert progress.wants(15)
    progress.give(15)
    progress.settle(15)
    assert progress.mark() == (16, "1 0 0 0 ")
