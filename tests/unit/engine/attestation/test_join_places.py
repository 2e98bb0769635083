"""How far joins were looked at, on a record of checkpoints in memory."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.engine.attestation.join_places import CHECKPOINT, KEEP_EVERY, JoinPlaces


@dataclass(frozen=True)
class Kept:
    position: int


class Record:
    """Checkpoints, and in which order they were saved."""

    def __init__(self, **places: int) -> None:
        self.saved: list[tuple[str, int]] = []
        self.places = places

    async def checkpoint(self, name: str) -> Kept | None:
        return Kept(self.places[name]) if name in self.places else None

    async def save_checkpoint(self, name: str, *, position: int) -> None:
        self.saved.append((name, position))

    async def acquire_lease(self, name: str, *, holder: str, lease: timedelta, now: datetime) -> bool:
        raise NotImplementedError


async def test_a_place_is_written_where_it_makes_a_difference() -> None:
    """At first, when members came or went, and every so many blocks; what is looked from goes on with each look."""
    record = Record()
    places = JoinPlaces(record)
    for head in (5, 6, 7):
        await places.keep("a", head)
    assert places.since == {"a": 7}
    places.know(("g", "k"), "a")
    await places.keep("a", 8)
    places.forget_others(["another"])
    await places.keep("a", 9)
    await places.keep("a", 10)
    await places.keep("a", 9 + KEEP_EVERY)
    assert [position for _, position in record.saved] == [5, 8, 9, 9 + KEEP_EVERY]
    assert {name for name, _ in record.saved} == {f"{CHECKPOINT}/a"}


async def test_a_place_never_goes_back() -> None:
    """A lower head changes nothing, and members that changed meanwhile are kept with the next higher one."""
    record = Record()
    places = JoinPlaces(record)
    await places.keep("a", 9)
    places.know(("g", "k"), "a")
    await places.keep("a", 4)
    assert places.since == {"a": 9}
    await places.keep("a", 10)
    assert [position for _, position in record.saved] == [9, 10]


async def test_the_one_place_of_an_older_release_counts_for_all_nodes() -> None:
    """Each node's own place comes before it."""
    places = JoinPlaces(Record(**{CHECKPOINT: 3, f"{CHECKPOINT}/b": 7}))
    await places.recall(["a", "b"])
    assert places.since == {"a": 3, "b": 7}
