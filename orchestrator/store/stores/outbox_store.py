"""`events.ports.Outbox` on SQL: each method is one unit of work in a worker thread."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

import sqlalchemy as sa
import structlog

from orchestrator.engine.runtime.isolation import contained_failures
from orchestrator.instants import micros
from orchestrator.store.commits.database import Database
from orchestrator.store.commits.transaction import newest_position
from orchestrator.store.units import outbox, readers
from orchestrator.store.units.outbox import Identity, Page, StoredEvent, Swept, UnreadableEvent
from orchestrator.store.units.readers import Checkpoint

_KEY = ""
"""What these units lock belongs to no group, and nobody else locks it."""


_NEVER = 0
"""When an event was published that was set aside instead."""
_MOST_REPORTED = 1000
"""Unreadable events that are told of, each once; more are a store of something else."""

_log = structlog.get_logger(__name__)


class SqlOutbox:
    """The durable status events; see `events.ports.Outbox` for what each method does. Each may raise `StoreError`.

    Args:
        database: An open database.
        source: The CloudEvents source of its events, an absolute URI; None for one that names the store.
    """

    def __init__(self, database: Database, source: str | None = None) -> None:
        self._database = database
        self._source = source
        self._known: Identity | None = None
        self._reported: set[int] = set()

    async def identity(self) -> Identity:
        """Return what tells this store's events from those of others."""
        if self._known is not None:
            return self._known
        return await self._database.read(self._own)

    def _own(self, connection: sa.Connection) -> Identity:
        """Return it within a unit that reads: it is read once, and never changes."""
        if self._known is None:
            self._known = outbox.identity_of(connection, source=self._source)
        return self._known

    async def _page(self, unit: Callable[..., Page]) -> Page:
        return await self._database.read(lambda connection: unit(connection, own=self._own(connection)))

    async def pending(self, limit: int, without: Sequence[str] = ()) -> tuple[StoredEvent, ...]:
        """Return the first unpublished events, by position, but none of some groups.

        What can't be read is set aside: it counts as published from then on, and is told.
        """
        while True:
            events, unreadable = await self._page(partial(outbox.pending, limit=limit, without=without))
            if unreadable:
                aside = [row.position for row in unreadable]
                unit = partial(outbox.mark_published, positions=aside, at=_NEVER)
                # Set aside in the store, so that it counts as published for every replica and after a restart.
                await self._database.write(unit, key=_KEY)
                self._tell(unreadable)
            # A page of nothing but unreadable rows is no end of the outbox.
            if events or not unreadable:
                return events

    async def oldest_unpublished(self) -> datetime | None:
        """Return when the first unpublished event was committed; None when all are published."""
        return await self._database.read(outbox.oldest_unpublished)

    def _tell(self, unreadable: Sequence[UnreadableEvent]) -> None:
        for row in unreadable:
            if row.position not in self._reported and len(self._reported) < _MOST_REPORTED:
                self._reported.add(row.position)
                contained_failures["event set aside"] += 1
                _log.error("a status event can't be read, set aside", position=row.position, reason=row.reason)

    async def mark_published(self, positions: Sequence[int], *, at: datetime) -> None:
        """Mark events as published (again does no harm)."""
        if positions:
            unit = partial(outbox.mark_published, positions=sorted(positions), at=micros(at))
            await self._database.write(unit, key=_KEY)

    async def after(
        self,
        position: int,
        *,
        limit: int,
        privacy_group_id: str | None = None,
        change_id: str | None = None,
        types: Sequence[str] = (),
    ) -> tuple[StoredEvent, ...]:
        """Return the next events behind a position, by position, whether published or not; none that can't be read."""
        found: list[StoredEvent] = []
        while True:
            events, unreadable = await self._page(
                partial(
                    outbox.after,
                    position=position,
                    limit=limit - len(found),
                    privacy_group_id=privacy_group_id,
                    change_id=change_id,
                    types=types,
                )
            )
            self._tell(unreadable)
            found += events
            if not unreadable or len(found) >= limit:
                return tuple(found)
            # Past the last row of the page, readable or not: else the same ones come for ever.
            position = max(position, unreadable[-1].position, *(stored.position for stored in events[-1:]))

    async def last_position(self) -> int:
        """Return the newest position that is visible, deleted ones included; 0 when there was never an event."""
        return await self._database.read(newest_position)

    async def deleted_through(self) -> int:
        """Return the newest position that retention deleted (0 for none); what was thinned out does not count."""
        return await self._database.read(outbox.deleted_through)

    async def wait_for_events(self, position: int, seconds: float) -> None:
        """Return once an event behind `position` may be visible, at the latest after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._database.news.wait_behind(position)

    async def acquire_lease(self, name: str, *, holder: str, lease: timedelta, now: datetime) -> bool:
        """Take or prolong the right to do a named work alone; False while another holder's lease lasts."""
        unit = partial(
            readers.acquire_lease, name=name, holder=holder, now=micros(now), lease_until=micros(now + lease)
        )
        return await self._database.write(unit, key=_KEY)

    async def release_lease(self, name: str, *, holder: str) -> None:
        """Give the right back; does nothing when it is not held."""
        await self._database.write(partial(readers.release_lease, name=name, holder=holder), key=_KEY)

    async def checkpoint(self, name: str) -> Checkpoint | None:
        """Return a reader's checkpoint; None when it never saved one."""
        return await self._database.read(partial(readers.checkpoint, name=name))

    async def save_checkpoint(
        self, name: str, *, position: int, failures: int = 0, paused_since: datetime | None = None, detail: str = ""
    ) -> None:
        """Store a reader's checkpoint."""
        unit = partial(
            readers.save_checkpoint,
            name=name,
            position=position,
            failures=failures,
            paused_since=None if paused_since is None else micros(paused_since),
            detail=detail,
        )
        await self._database.write(unit, key=_KEY)

    async def delete_published(
        self,
        *,
        before: datetime,
        now: datetime,
        after: int,
        through_position: int,
        types: Sequence[str] = (),
        limit: int = 1000,
    ) -> Swept:
        """Delete those of the next events that are published and committed before a time, in one transaction."""
        unit = partial(
            outbox.deletable,
            before=micros(before),
            now=micros(now),
            after=after,
            through_position=through_position,
            types=types,
            limit=limit,
        )
        # Looked for by a reader: the writer is held only for rows that go.
        positions, through = await self._database.read(unit)
        if not positions:
            return Swept(deleted=0, through=through)
        deleting = partial(outbox.delete, positions=positions, thinning=bool(types))
        return Swept(deleted=await self._database.write(deleting, key=_KEY), through=through)
