"""Retention, on a real outbox."""

from datetime import timedelta
from typing import TYPE_CHECKING

from orchestrator.events.retention import LEASE_NAME, Retention
from orchestrator.membership.news.status import EventType
from tests.fakes.clock import FastClock

if TYPE_CHECKING:
    from tests.unit.events.conftest import Source


async def test_old_events_go_and_those_about_progress_sooner(source: "Source", clock: FastClock) -> None:
    """Progress is kept shorter than the rest; only published events are deleted."""
    await source.commit(3)
    await source.commit(2, kind=EventType.CHANGE_SUCCEEDED)
    stored = await source.outbox.pending(10)
    retention = Retention(source.outbox, clock, "one", keep=timedelta(seconds=200), keep_progress=timedelta(seconds=50))
    await clock.sleep(60)
    assert await retention.sweep() == 0, "nothing is published yet"
    await source.outbox.mark_published([entry.position for entry in stored], at=clock.now())
    assert await retention.sweep() == 3
    assert await source.outbox.deleted_through() == 0, "thinning is nothing that a reader has to be told"
    assert len(await source.outbox.after(0, limit=10)) == 2
    await clock.sleep(150)
    assert await retention.sweep() == 2
    assert await source.outbox.deleted_through() == stored[-1].position
    assert await source.outbox.last_position() == stored[-1].position


async def test_one_of_several_replicas_sweeps(source: "Source", clock: FastClock) -> None:
    """While another replica sweeps, this one does not."""
    await source.commit(1)
    [stored] = await source.outbox.pending(1)
    await source.outbox.mark_published([stored.position], at=clock.now())
    await clock.sleep(10)
    await source.outbox.acquire_lease(LEASE_NAME, holder="two", lease=timedelta(days=1), now=clock.now())
    keep = timedelta(seconds=1)
    assert await Retention(source.outbox, clock, "one", keep).sweep() == 0
    assert await Retention(source.outbox, clock, "two", keep).sweep() == 1
