"""Units of work on a database: what fails alone, what fails together, and in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.store import Database, migrate
from orchestrator.store.commits.transaction import Transaction
from orchestrator.store.database.connections import normalised
from orchestrator.store.errors import ConstraintError, StoreUnavailableError
from orchestrator.store.schema import checkpoints
from orchestrator.store.units.readers import save_checkpoint


@pytest.fixture(params=["file", "memory"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = "sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"
    if request.param == "file":
        await asyncio.to_thread(migrate, url)
    async with Database(url) as opened:
        yield opened


def keeps(name: str, *, fails: Exception | None = None, breaks: bool = False) -> Callable[[Transaction], str]:
    """A unit of work that writes a row, and may then raise or break a constraint."""

    def unit(transaction: Transaction) -> str:
        save_checkpoint(transaction, name=name, position=1, failures=0, paused_since=None, detail="")
        if breaks:
            transaction.connection.execute(checkpoints.insert().values(name=name))
        if fails is not None:
            raise fails
        return name

    return unit


async def kept(database: Database) -> list[str]:
    return await database.read(lambda connection: sorted(connection.execute(sa.select(checkpoints.c.name)).scalars()))


async def test_what_fails_fails_alone(database: Database) -> None:
    """Of units that share a transaction, those that raise leave nothing and those that do not are committed."""
    units = [
        keeps("a"),
        keeps("b", fails=KeyError("b")),
        keeps("c"),
        keeps("d", breaks=True),
        keeps("e"),
        keeps("f", fails=OverflowError("f")),
        keeps("g"),
    ]
    outcomes = await asyncio.gather(*(database.write(unit, key="k") for unit in units), return_exceptions=True)
    assert await kept(database) == ["a", "c", "e", "g"]
    assert [str(outcome) for outcome in outcomes[::2]] == ["a", "c", "e", "g"]
    assert isinstance(outcomes[1], KeyError)
    assert isinstance(outcomes[3], ConstraintError)
    assert isinstance(outcomes[5], ConstraintError)


async def test_readers_can_not_write(tmp_path: Path) -> None:
    """A reading unit that writes is refused by SQLite itself."""
    url = f"sqlite:///{tmp_path}/store.db"
    await asyncio.to_thread(migrate, url)
    async with Database(url) as database:
        with pytest.raises(StoreUnavailableError, match="readonly"):
            await database.read(lambda connection: connection.execute(checkpoints.delete()))


async def test_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    """SQLite runs with a write-ahead log that is synchronised at every commit."""
    url = f"sqlite:///{tmp_path}/store.db"
    await asyncio.to_thread(migrate, url)
    async with Database(url) as database:
        pragmas = ("journal_mode", "synchronous", "foreign_keys")
        found = await database.write(
            lambda t: [t.connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in pragmas]
        )
    assert found == ["wal", 2, 1]


async def test_a_database_that_can_not_be_opened_says_why(tmp_path: Path) -> None:
    """A file that can't be made is told as such, before anything is accepted."""
    with pytest.raises(StoreUnavailableError, match="unable to open database file"):
        async with Database(f"sqlite:///{tmp_path}/missing/store.db"):
            pass


@pytest.mark.parametrize("url", ["mysql://host/name", "oracle://host/name"])
def test_other_databases_are_refused(url: str) -> None:
    """An address of another kind of database is refused with the kinds that there are."""
    with pytest.raises(ValueError, match=r"use sqlite:///file\.db or postgresql://"):
        normalised(url)


def test_addresses_get_the_driver_that_is_used() -> None:
    """Addresses are given without a driver."""
    assert normalised("postgresql://user:word@host/name").drivername == "postgresql+psycopg"
    assert normalised("sqlite:///file.db").drivername == "sqlite+pysqlite"
