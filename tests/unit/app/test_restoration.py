from datetime import UTC, datetime, timedelta
from functools import partial

from orchestrator.app.restoration import SHOWN_FOR, examine_restoration
from orchestrator.doctor.findings import Level
from orchestrator.instants import micros
from orchestrator.membership.model import State
from orchestrator.membership.reasons.table import Reason
from orchestrator.store import Database, SqlChangeStore
from orchestrator.store.copies.restoration import mark_restored
from tests.fakes.changes import a_change, a_step, led
from tests.fakes.clock import START, JumpingClock


async def test_a_restoration_is_told_until_nothing_waits() -> None:
    """A note for a month; a warning for as long as changes of before wait for a person; nothing without one."""
    now = datetime.now(UTC)
    async with Database("sqlite://") as database:
        assert await examine_restoration(database) == ()
        await database.write(partial(mark_restored, now=micros(now), alone=True))
        (told,) = await examine_restoration(database)
        assert (told.check, told.level) == ("restored", Level.NOTE)
        await database.write(partial(mark_restored, now=micros(now - 2 * SHOWN_FOR), alone=True))
        assert await examine_restoration(database) == ()
        store = SqlChangeStore(database, JumpingClock())
        change = a_change("1")
        await store.accept(change, "hash", ())
        (lane,) = await store.claim(holder="one", lease=timedelta(hours=1), limit=1, now=START + timedelta(seconds=1))
        parked = led(change, State.PARKED, reason=Reason(slug="store_restored", detail="touched"))
        await store.record(lane, a_step(change, parked))
        (told,) = await examine_restoration(database)
        assert (told.level, "1 change(s)" in told.what) == (Level.WARNING, True)
