"""Names under which processes hold lanes: one living process has a name at a time.

A process whose name nobody else has may take up at once what an earlier life of it left held: that life is over. This
rests on something that ends with the process, whichever way it ends: a lock on a file beside SQLite's, which other
processes of the same machine only can open at all, and on PostgreSQL an advisory lock of a connection of its own.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import psycopg
import sqlalchemy as sa
import structlog

from orchestrator.engine.runtime.isolation import contained
from orchestrator.store.database.connections import is_in_memory
from orchestrator.store.database.postgresql import CONNECT_SECONDS, connect_arguments
from orchestrator.store.errors import StoreUnavailableError

LIFE_MARK: Final = "#"
"""Stands between a name and what tells its lives apart; no configured name has one in it."""

_TRY_SECONDS: Final = 0.1
_PROBE_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 5.0
_KEY: Final = "hashtextextended(current_schema() || '/' || {}, 0)"
_TAKE: Final = f"SELECT pg_try_advisory_lock({_KEY.format('%s')})".encode()
_IS_FREE: Final = sa.text(f"SELECT pg_try_advisory_xact_lock({_KEY.format(':name')})")
# A server whose peer lost its power would keep the lock for two hours, which is how long TCP waits by itself.
_NOTICE_DEATH: Final = (
    b"SELECT set_config('tcp_keepalives_idle', '5', false), set_config('tcp_keepalives_interval', '3', false), "
    b"set_config('tcp_keepalives_count', '3', false)"
)

log = structlog.get_logger()


def is_life_of(holder: str, name: str) -> bool:
    """Return whether a holder of lanes is a process that had a name (or is that very holder)."""
    return holder == name or holder.startswith(name + LIFE_MARK)


def is_nobodys(connection: sa.Connection, holder: str) -> bool:
    """Return whether a holder's process has ended for certain; one without a name of its own is never known to have.

    Args:
        connection: In a transaction, in which PostgreSQL keeps a name that is free from others for that moment.
        holder: The holder.
    """
    name, mark, _ = holder.partition(LIFE_MARK)
    url = connection.engine.url
    if not mark or is_in_memory(url):
        return bool(mark)
    if url.get_backend_name() == "postgresql":
        return bool(connection.execute(_IS_FREE, {"name": name}).scalar_one())
    try:
        with _opened(_lock_file(url, name)) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (OSError, StoreUnavailableError):
        return False
    return True


@asynccontextmanager
async def claimed_name(url: sa.URL, name: str, seconds: float) -> AsyncIterator[bool]:
    """Have a name while the context lasts; gives whether it is ours, False when another process has it.

    Args:
        url: A normalised address.
        name: The name.
        seconds: How long to try: a process that was killed a moment ago may still be ending.

    Raises:
        StoreUnavailableError: The database or the folder of its file can't be asked.
    """
    if is_in_memory(url):
        yield True
    elif url.get_backend_name() == "sqlite":
        path = _lock_file(url, name)
        with _opened(path) as descriptor:
            yield await _locked(descriptor, path, seconds)
    else:
        keeper = _Keeper(url, name)
        try:
            ours = await keeper.take(seconds)
            keeping = asyncio.create_task(keeper.keep()) if ours else None
            try:
                yield ours
            finally:
                if keeping is not None:
                    keeping.cancel()
                    # The connection is closed next: what uses it must have ended.
                    await asyncio.wait([keeping])
        finally:
            await keeper.close()


def _lock_file(url: sa.URL, name: str) -> str:
    return f"{url.database}.{name.replace('/', '-').replace(os.sep, '-')}.lock"


@contextmanager
def _opened(path: str) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreUnavailableError(
            f"{path} can't be made beside the database ({error.strerror}): let the daemon's user write in that folder"
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def _locked(descriptor: int, path: str, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while True:
        try:
            # Of this descriptor alone: record locks of POSIX are the process's, and closing any other descriptor of the
            # file would give them up.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            await asyncio.sleep(_TRY_SECONDS)
        except OSError as error:
            raise StoreUnavailableError(
                f"{path} can't be locked ({error.strerror}): SQLite itself needs a folder whose files can be"
            ) from error
        else:
            return True


class _Keeper:
    """Holds PostgreSQL's lock on a name, again whenever its connection was lost."""

    def __init__(self, url: sa.URL, name: str) -> None:
        self._arguments = connect_arguments(url)
        self._name = name
        self._connection: psycopg.AsyncConnection | None = None
        self._ours = True

    async def take(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        try:
            while not await self._try():
                if time.monotonic() > until:
                    return False
                await asyncio.sleep(_TRY_SECONDS)
        except (psycopg.Error, OSError, TimeoutError) as error:
            raise StoreUnavailableError(
                f"the database could not be asked for this replica's name ({str(error).strip()})"
            ) from error
        return True

    async def keep(self) -> None:
        """Look now and then whether the connection is there, and make another when it is not."""
        while True:
            await asyncio.sleep(_PROBE_SECONDS)
            with contained("replica name"):
                try:
                    await self._look()
                except (psycopg.Error, OSError, TimeoutError):
                    await self.close()  # the lanes' own renewals tell of a database that is away

    async def _look(self) -> None:
        if self._connection is not None and not self._connection.closed and self._ours:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._connection.execute(b"SELECT 1")
            return
        # A new connection is a new session, which holds nothing: in between the name was free.
        before, self._ours = self._ours, await self._try()
        if before and not self._ours:
            log.error("another process took this replica's name over while the database was away", name=self._name)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error, OSError, TimeoutError):
                async with asyncio.timeout(_ANSWER_SECONDS):
                    await connection.close()

    async def _try(self) -> bool:
        if self._connection is None or self._connection.closed:
            async with asyncio.timeout(2 * CONNECT_SECONDS):
                self._connection = await psycopg.AsyncConnection.connect(**self._arguments, autocommit=True)
                await self._connection.execute(_NOTICE_DEATH)
        async with asyncio.timeout(_ANSWER_SECONDS):
            row = await (await self._connection.execute(_TAKE, [self._name])).fetchone()
        return row is not None and bool(row[0])
