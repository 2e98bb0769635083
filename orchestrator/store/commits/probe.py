"""Whether a store takes writes now: for readiness, which a database that only answers reads must not pass."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from orchestrator.store.commits.transaction import Transaction, Upsert, per_dialect
from orchestrator.store.errors import StoreUnavailableError
from orchestrator.store.kept_files import FileIdentity, KeptFile
from orchestrator.store.schema import checkpoints

PROBE: Final = "readiness"
CHECKED_BYTES: Final = 64 << 20
"""A larger SQLite file is not read through: the daemon is asked every few seconds whether it is ready."""

SHARED_MEMORY: Final = "-shm"
"""How the name of the file ends that all who have a database open share."""

_HEADER: Final = b"SQLite format 3\x00"


def file_identity(url: sa.URL) -> FileIdentity | None:
    """Return which file an address names now; None when it names none, or none that there is."""
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    try:
        found = os.stat(str(url.database))
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _probe(insert: Upsert) -> sa.Insert:
    statement = insert(checkpoints)
    return statement.on_conflict_do_update(
        index_elements=["name"], set_={"position": checkpoints.c.position + 1, "failures": 0}
    )


_PROBE = per_dialect(_probe)
_TAKE = sa.text("LOCK TABLE lanes, changes, outbox IN ROW EXCLUSIVE MODE")


def write_probe(transaction: Transaction) -> None:
    """Write a row of no meaning; the commit shows whether there is room, and whether the file can be written."""
    if transaction.connection.dialect.name == "postgresql":
        # As an acceptance does, which an administrator's lock on one of them keeps waiting.
        transaction.connection.execute(_TAKE)
    row = {"name": PROBE, "position": 0, "failures": 0, "detail": ""}
    transaction.connection.execute(_PROBE[transaction.connection.dialect.name], row)


def check_beginning(url: sa.URL, file: KeptFile) -> int:
    """Look at the beginning of an SQLite file, which costs next to nothing; returns the file's size in bytes.

    Args:
        url: The database's address.
        file: The file.

    Raises:
        StoreUnavailableError: It is damaged.
    """
    try:
        beginning, size = file.beginning(len(_HEADER))
    except OSError as error:
        raise StoreUnavailableError(f"the database file {url.database} can't be read: {error.strerror}") from error
    if beginning != _HEADER:
        raise _damaged(url)
    return size


def file_of(url: sa.URL) -> Path | None:
    """Return where the file of a database really is; None when it is none of SQLite's, or in memory."""
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return Path(os.path.realpath(str(url.database)))


def check_writable(path: Path | None, files: Sequence[str] = ("", "-wal", SHARED_MEMORY)) -> None:
    """Ask the operating system whether an SQLite file and what stands beside it may be written, or made.

    SQLite would notice by itself, but for the file of shared memory, which readers write, too: where a page of that
    can't be written the kernel ends the process.

    Args:
        path: Where the file really is, see `file_of`; None for a database that is none.
        files: Which of them, by how their names end.

    Raises:
        StoreUnavailableError: One may not.
    """
    if path is None:
        return
    for file in (path.with_name(path.name + ending) for ending in files):
        place = file if file.exists() else file.parent
        # Not there yet: SQLite makes it, if the folder lets it.
        if os.access(place, os.W_OK) or not place.exists():
            continue
        if os.statvfs(place).f_flag & os.ST_RDONLY:
            raise StoreUnavailableError(
                f"the file system of the database file {path} is read-only: mount it for writing (the kernel's log "
                "says why, where it made it so), or correct store.url"
            )
        raise StoreUnavailableError(
            f"the daemon's user may not write {place}: give it the right to (chown, chmod; lsattr shows whether the "
            "file is immutable), or correct store.url"
        )


def check_file(connection: sa.Connection, file: KeptFile) -> None:
    """Look through an SQLite file that is not large, and at the beginning of any.

    Args:
        connection: The database's.
        file: The file.

    Raises:
        StoreUnavailableError: It is damaged.
    """
    url = connection.engine.url
    # The beginning is looked at before each commit; reading the rest of a large file would take the disk from the
    # lanes.
    if check_beginning(url, file) > CHECKED_BYTES:
        return
    if connection.execute(sa.text("PRAGMA quick_check(1)")).scalar_one() != "ok":
        raise _damaged(url)


def _damaged(url: sa.URL) -> StoreUnavailableError:
    return StoreUnavailableError(f"the database file {url.database} is damaged: stop the daemon and restore a backup")
