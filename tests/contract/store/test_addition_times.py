"""What additions took, on both databases."""

from dataclasses import replace
from datetime import timedelta

from orchestrator.engine.ports.records import AdditionTime
from orchestrator.membership.forecast.durations import Quantity
from orchestrator.store.commits.database import Database
from orchestrator.store.stores.time_store import SqlAdditionTimes
from tests.fakes.clock import START

REPLAY = AdditionTime(
    change_id="c0",
    quantity=Quantity.REPLAY,
    enclave_key="key",
    node="member3",
    besu_version="23.10.3",
    transactions=200,
    expected_seconds=1.25,
    at=START,
)


async def test_what_is_measured_takes_the_place_of_what_was_forecast(database: Database) -> None:
    """A change has one row for each thing; what was forecast stays in it."""
    times = SqlAdditionTimes(database)
    lock = replace(REPLAY, quantity=Quantity.LOCK, enclave_key="", blocks=2)
    await times.keep([REPLAY, lock])
    taken = replace(REPLAY, taken_seconds=2.5, at=START + timedelta(seconds=1))
    await times.keep([taken])
    assert await times.of_change("c0") == (lock, taken)
    assert await times.of_change("c1") == ()


async def test_the_newest_of_a_node_and_line_come_first(database: Database) -> None:
    """Only what is over counts, only of that node and line, and only so many."""
    times = SqlAdditionTimes(database)
    for number in range(5):
        at = START + timedelta(seconds=number)
        await times.keep([replace(REPLAY, change_id=f"c{number}", taken_seconds=float(number), at=at)])
    await times.keep(
        [replace(REPLAY, change_id="c9"), replace(REPLAY, change_id="c8", node="other", taken_seconds=1.0)]
    )
    await times.keep([replace(REPLAY, change_id="c7", besu_version="25.4.1", taken_seconds=1.0)])
    newest = await times.newest("member3", "23.10.3", Quantity.REPLAY, 3)
    assert [time.taken_seconds for time in newest] == [4.0, 3.0, 2.0]
