"""Connections to the database, and how units of work get onto them.

Writes go through one writer thread per process, which commits as many waiting units of work together as it finds (group
commit): the disk is waited for once for all of them. Reads have a few threads of their own.

An in-memory database (``sqlite://``) belongs to one connection: everything runs at once on the calling thread.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from orchestrator.engine.ports.store import StoreError
from orchestrator.store.commits.notifications import listen
from orchestrator.store.commits.probe import (
    SHARED_MEMORY,
    check_beginning,
    check_file,
    check_writable,
    file_identity,
    file_of,
    write_probe,
)
from orchestrator.store.commits.schema_version import check_version, migrate_on, recheck_version
from orchestrator.store.commits.shared_transactions import Job, Outcome, run_all
from orchestrator.store.commits.transaction import Transaction, Unit, newest_position
from orchestrator.store.commits.writer import Writer
from orchestrator.store.database.connections import (
    FOREIGN_ERRORS,
    READERS,
    engine_for,
    is_in_memory,
    normalised,
    translated,
)
from orchestrator.store.database.news import News
from orchestrator.store.database.postgresql import cut_connections, require_sessions
from orchestrator.store.database.stuck_sessions import end_stuck_sessions
from orchestrator.store.errors import SchemaVersionError, StoreLockedError, StoreUnavailableError
from orchestrator.store.kept_files import KeptFile

T = TypeVar("T")

NO_NEWS_SECONDS = 1.0
NEWS_MISSED_SECONDS = 10.0

WAITING_UNITS = 500
"""How many units of work may wait at a time; more callers wait for their turn to wait."""

LOCKED_SECONDS = 1.0
"""For how long an SQLite file that another program holds locked is taken to be locked still."""


class Database:
    """One database, open from `start` to `close` (or as a context manager).

    Args:
        url: See `connections.normalised`.
        patience: A unit of work that has not ended after this long is given up.
    """

    def __init__(self, url: str, patience: timedelta = timedelta(seconds=30)) -> None:
        self.url = normalised(url)
        self.news = News()
        self._patience = patience.total_seconds()
        self.in_memory = is_in_memory(self.url)
        self._writing = engine_for(self.url)
        self._reading = self._writing if self.in_memory else engine_for(self.url, read_only=True)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self._writer = Writer(self._commit_together, self.news.publish)
        self._beside: list[asyncio.Task[None]] = []
        self._places = asyncio.BoundedSemaphore(WAITING_UNITS)
        self._path: Path | None = None
        self._file: KeptFile | None = None
        self._damage: StoreUnavailableError | None = None
        self._locked_for_writing, self._locked_for_reading = _Locked(), _Locked()
        self._revision = ""
        self._outdated: SchemaVersionError | None = None

    @property
    def poll_seconds(self) -> float:
        """How often somebody has to look who waits for what other processes commit: PostgreSQL tells of it."""
        return NEWS_MISSED_SECONDS if self.url.get_backend_name() == "postgresql" else NO_NEWS_SECONDS

    async def start(self) -> None:
        """Open the database for use.

        Raises:
            SchemaVersionError: Its tables are at another revision.
            StoreUnavailableError: It can't be reached.
        """
        if self.in_memory:
            self._open()
            return
        try:
            await asyncio.to_thread(self._open)
        except StoreError:
            await self.close()
            raise
        self._writer.start(asyncio.get_running_loop())
        if self.url.get_backend_name() == "postgresql":
            self._beside = [
                asyncio.create_task(listen(self.url, self.news, partial(self.read, newest_position))),
                asyncio.create_task(end_stuck_sessions(self.read)),
            ]

    def _open(self) -> None:
        try:
            if self.url.get_backend_name() == "postgresql":
                # First: behind a pooler that shares sessions, locks and notices would be those of other clients.
                require_sessions(self.url)
            self._path = file_of(self.url)
            check_writable(self._path)
            with self._writing.begin() as connection:
                if self.in_memory:
                    migrate_on(connection)
                self._revision = check_version(connection)
                if not self.in_memory and self.url.get_backend_name() == "sqlite":
                    self._file = self._file or KeptFile(Path(str(self.url.database)))
                self.news.publish(False, newest_position(connection))
        except (SQLAlchemyError, psycopg.Error) as error:
            raise translated(error, self.url) from error
        except OSError as error:
            raise StoreUnavailableError(f"the database file {self.url.database}: {error.strerror}") from error

    async def close(self) -> None:
        """Finish the units of work that wait, and disconnect."""
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        await self._finish(self._writer.stop)
        await self._finish(self._readers.shutdown)
        self._writing.dispose()
        self._reading.dispose()
        if self._file is not None:
            self._file.close()

    async def _finish(self, stop: Callable[[], None]) -> None:
        stopping = asyncio.ensure_future(asyncio.to_thread(stop))
        await asyncio.wait([stopping], timeout=self._patience)
        # A thread that waits for a frozen server can't be ended; its connection can be cut.
        while not stopping.done():
            self._cut()
            await asyncio.wait([stopping], timeout=1.0)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def write(self, unit: Unit[T], *, key: str | None = None) -> T:
        """Run a unit of work and commit it, possibly together with others.

        A caller that gives up (cancelled, or after the patience) can't know whether it was committed.

        Args:
            unit: The work; it may be run more than once, of which one is committed.
            key: The one group that it locks, so that the units of a transaction can lock in one order; None for a unit
                that locks several and gets a transaction of its own.

        Raises:
            StoreError: It was not committed.
        """
        if self.in_memory:
            (outcome,) = self._commit_together([Job(unit, key)])
            self.news.publish(outcome.work, outcome.position)
            result: T = _result(outcome)
            return result
        try:
            # Within the patience: many callers must not each wait for their place and for their commit in full.
            async with asyncio.timeout(self._patience), self._places:
                result = _result(await self._writer.submit(Job(unit, key)))
        except TimeoutError as error:
            raise self._overdue() from error
        return result

    async def read(self, unit: Callable[[sa.Connection], T]) -> T:
        """Run a unit of work that only reads.

        Raises:
            StoreError: The database did not answer.
        """
        if self.in_memory:
            return self._read(unit, time.monotonic())
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._patience), self._places:
                return await loop.run_in_executor(self._readers, self._read, unit, time.monotonic())
        except TimeoutError as error:
            raise self._overdue() from error

    def _overdue(self) -> StoreUnavailableError:
        self._cut()
        return StoreUnavailableError(f"the store did not answer within {self._patience:g} s; try again")

    def _cut(self) -> None:
        """Free the threads that wait for a database that is frozen."""
        for engine in (self._writing, self._reading):
            cut_connections(engine)

    async def probe(self) -> None:
        """Make sure that the store takes a write now, and that its file is the one that was opened, and whole.

        A file in which damage was found takes nothing until this finds none, nor do tables that were migrated to what
        this program can't work with.

        Raises:
            StoreError: It does not; the message says why.
        """
        if self._file is not None:
            try:
                await self.read(partial(check_file, file=self._file))
            except StoreLockedError:
                raise  # nothing was seen of it
            except StoreUnavailableError as error:
                # Kept until a look finds none: pages in memory would go on taking requests that nobody can read again.
                self._damage = error
                self._require_own_file()  # a file that is not there is told as that
                raise
            self._damage = None
        await self._recheck_version()
        await self.write(write_probe)

    async def _recheck_version(self) -> None:
        self._require_own_file()  # or another file's tables would be looked at
        try:
            self._revision = await self.read(partial(recheck_version, known=self._revision))
        except SchemaVersionError as error:
            self._outdated = error
            raise
        self._outdated = None

    def _require_own_file(self) -> None:
        """Refuse to go on in a file that was deleted or replaced: what is committed there is gone with the process."""
        if self._file is not None and file_identity(self.url) != self._file.identity:
            raise StoreUnavailableError(
                f"the database file {self.url.database} was deleted or replaced while it was open; "
                "put it back (or restore a backup) and start the daemon again"
            )

    def _require_whole_file(self) -> None:
        """Refuse to go on in a damaged file: what is in memory of it may be read and written all the same."""
        self._require_own_file()
        if self._outdated is not None:
            raise self._outdated
        if self._damage is not None:
            raise self._damage
        if self._file is not None:
            check_beginning(self.url, self._file)
            check_writable(self._path)

    def _read(self, unit: Callable[[sa.Connection], T], since: float) -> T:
        self._locked_for_reading.refuse(since)
        if self._file is not None:
            check_writable(self._path, (SHARED_MEMORY,))
        try:
            with self._reading.begin() as connection:
                return unit(connection)
        except FOREIGN_ERRORS as error:
            raise self._locked_for_reading.noted(translated(error, self.url)) from error

    def _commit_together(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Commit units in one transaction; when that fails, halve until only those that fail by themselves have."""
        began = False
        try:
            # By the one that came last: if that would find the lock still, so would all.
            self._locked_for_writing.refuse(max(job.since for job in jobs))
            self._require_whole_file()
            with self._writing.begin() as connection:
                began = True
                transaction = Transaction(connection)
                values = run_all(transaction, jobs)
        except FOREIGN_ERRORS as error:
            # With the connection gone nobody is to blame, and each half would wait for another one.
            lost = isinstance(error, DBAPIError) and error.connection_invalidated
            if len(jobs) == 1 or lost or not began:
                failure = self._locked_for_writing.noted(translated(error, self.url))
                failure.__cause__ = error
                return [Outcome(error=failure) for _ in jobs]
        except (StoreUnavailableError, SchemaVersionError) as error:
            return [Outcome(error=error) for _ in jobs]
        except Exception as error:  # noqa: BLE001 - whatever a unit raises belongs to its caller
            if len(jobs) == 1:
                return [Outcome(error=error)]
        else:
            return [
                Outcome(error=value)
                if isinstance(value, Exception)
                else Outcome(value=value, work=transaction.work, position=transaction.position)
                for value in values
            ]
        # One unit that fails takes the others' transaction with it: halving finds it in a few commits.
        half = len(jobs) // 2
        return self._commit_together(jobs[:half]) + self._commit_together(jobs[half:])


class _Locked:
    """When a unit of work last gave up waiting for another program's lock, and how.

    What waited behind it has waited, too, and what comes right afterwards finds nothing else. Each waiting for as long
    again, one after the other, would answer the last of many after minutes.
    """

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: tuple[float, StoreLockedError] | None = None

    def noted(self, error: StoreError) -> StoreError:
        """Return what a unit failed with, and remember it if it is that."""
        if isinstance(error, StoreLockedError):
            self._found = (time.monotonic(), error)
        return error

    def refuse(self, since: float) -> None:
        """Refuse a unit of work that would find what one has just found.

        Args:
            since: When it began to wait.

        Raises:
            StoreLockedError: It would.
        """
        found = self._found
        if found is not None and since <= found[0] + LOCKED_SECONDS:
            raise found[1]


def _result(outcome: Outcome) -> Any:
    if outcome.error is not None:
        raise outcome.error
    return outcome.value
