"""A copy of a store in one file, and a store from such a copy. PostgreSQL has tools of its own for both."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from orchestrator.store.database.connections import normalised
from orchestrator.store.errors import StoreUnavailableError

_BUSY_SECONDS: Final = 10.0
_MODE: Final = 0o600
_BESIDE: Final = ("-wal", "-shm")


class BackupError(StoreUnavailableError):
    """A backup could not be made or used; what was there is as it was. The message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFacts:
    """What is in a backup.

    Attributes:
        size_bytes: Of the file.
        changes: How many changes.
        unfinished: How many of them neither ended nor wait for a person.
        revision: Of the tables.
    """

    size_bytes: int
    changes: int
    unfinished: int
    revision: str


def by_other_tools(url: str, file: Path, *, restoring: bool) -> str | None:
    """Return the command that does it for a store that is no SQLite file; None for one that is."""
    address = normalised(url)
    if address.get_backend_name() != "postgresql":
        return None
    shown = sa.URL.create(
        "postgresql", address.username, None, address.host, address.port, address.database, address.query
    )
    name = shown.render_as_string(hide_password=True)
    if restoring:
        return f'pg_restore --clean --if-exists --no-owner --single-transaction --dbname "{name}" "{file}"'
    return f'pg_dump --format=custom --no-owner --file "{file}" "{name}"'


def back_up(url: str, target: Path) -> BackupFacts:
    """Copy an SQLite store as it is at one moment, while a daemon may work on it, and check the copy.

    The file gets its name when it is whole and on disk; it holds the same secrets as the store, hence its mode 0600.

    Args:
        url: The store's address.
        target: A file that is not there yet.

    Raises:
        BackupError: It can't be made, or what was copied is damaged.
    """
    source = _file_of(url)
    if target.exists():
        raise BackupError(f"{target} is there already, and is not overwritten: name another file")
    part = target.with_name(f".{target.name}.part")
    try:
        with _told(target), _new_file(part), closing(_opened(source)) as read, closing(_opened(part)) as written:
            read.backup(written)  # of one moment: in write-ahead mode nobody waits for it
            written.execute("PRAGMA journal_mode = DELETE")  # one file, without others beside it
        facts = examine(part)
        _named(part, target)
    finally:
        part.unlink(missing_ok=True)
    return facts


def examine(file: Path) -> BackupFacts:
    """Read a backup through.

    Raises:
        BackupError: It is damaged, or no store.
    """
    with _told(file), closing(_opened(file)) as backup:
        # The whole file, unlike the daemon's looks: nobody waits for it, and a backup is needed when it is too late for
        # another.
        found = [row[0] for row in backup.execute("PRAGMA integrity_check(3)")]
        if found != ["ok"]:
            raise BackupError(f"{file} is damaged ({found[0]}): take another backup")
        if (broken := backup.execute("PRAGMA foreign_key_check").fetchone()) is not None:
            raise BackupError(f"{file} is damaged (a row of {broken[0]} belongs to nothing): take another backup")
        (revision,) = backup.execute("SELECT version_num FROM alembic_version").fetchone()
        (changes,) = backup.execute("SELECT count(*) FROM changes").fetchone()
        (ended,) = backup.execute(
            "SELECT count(*) FROM changes WHERE state IN ('succeeded', 'failed', 'cancelled', 'parked')"
        ).fetchone()
    size_bytes = file.stat().st_size
    return BackupFacts(size_bytes=size_bytes, changes=changes, unfinished=changes - ended, revision=str(revision))


def put_back(url: str, prepared: Path, now: datetime) -> Path | None:
    """Put a prepared copy in a store's place; returns where what was there is kept beside it, None if nothing was.

    Args:
        url: The store's address.
        prepared: The copy, in the same folder.
        now: For the name of what is kept.

    Raises:
        BackupError: Somebody works on the store.
    """
    store = _file_of(url)
    kept: Path | None = None
    if store.exists():
        require_unused(url)
        kept = store.with_name(f"{store.name}.before-{now:%Y%m%dT%H%M%SZ}")
        if kept.exists():
            raise BackupError(f"{kept} is there already: try again in a second")
    with _told(store):
        # At each moment there is a store in its place: a daemon that finds none may make a new one.
        if kept is not None:
            for suffix in ("", *_BESIDE):
                beside = Path(f"{store}{suffix}")
                if beside.exists():
                    Path(f"{kept}{suffix}").hardlink_to(beside)
        for suffix in _BESIDE:
            Path(f"{store}{suffix}").unlink(missing_ok=True)
        _named(prepared, store)
    return kept


def require_unused(url: str) -> None:
    """Make sure that no other process has an SQLite store open.

    Raises:
        BackupError: One has.
    """
    store = _file_of(url)
    if not store.exists():
        return
    try:
        with closing(sqlite3.connect(store, timeout=0.5)) as connection:
            # In write-ahead mode a transaction that is exclusive shuts out writers alone; in this mode readers keep it
            # from beginning, too.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("ROLLBACK")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.OperationalError as error:
        raise BackupError(f"{store} is in use ({error}): stop the daemon, and whoever else reads it, first") from error
    except sqlite3.DatabaseError:
        return  # damaged: a reason to restore, and it is kept as it is


def copied_beside(url: str, backup: Path) -> Path:
    """Copy a backup next to a store, to be prepared there; returns the copy.

    Raises:
        BackupError: It can't be copied.
    """
    store = _file_of(url)
    part = store.with_name(f".{store.name}.restoring")
    for suffix in ("", *_BESIDE):
        Path(f"{part}{suffix}").unlink(missing_ok=True)
    with _told(part), _new_file(part), closing(_opened(backup)) as read, closing(_opened(part)) as written:
        read.backup(written)
    return part


def _file_of(url: str) -> Path:
    database = normalised(url).database
    if not database or database == ":memory:":
        raise BackupError("this store is in memory: there is nothing to back up, and nothing to restore to")
    return Path(database)


def _opened(file: Path) -> sqlite3.Connection:
    if not file.exists():
        raise BackupError(f"{file} is not there")
    connection = sqlite3.connect(file, timeout=_BUSY_SECONDS, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


@contextmanager
def _new_file(path: Path) -> Iterator[None]:
    path.unlink(missing_ok=True)  # of a run that was cut off
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MODE))
    yield


@contextmanager
def _told(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
        hint = "make room there" if full else "is it a store, and whole?"
        raise BackupError(f"{file}: {error}; {hint}") from error
    except OSError as error:
        raise BackupError(f"{file} can't be read or written: {error.strerror}") from error


def _named(part: Path, target: Path) -> None:
    """Give a whole file its name; both are on disk when this returns."""
    # A name that is on disk before what it names would be an empty store after a power cut.
    for place in (part, part.parent):
        descriptor = os.open(place, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    part.rename(target)
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
