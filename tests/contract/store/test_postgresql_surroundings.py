"""PostgreSQL as others run it: behind poolers, at a failover, with options and several hosts in the address."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta

import psycopg
import pytest

from orchestrator.store import Database, SqlChangeStore, SqlOutbox, migrate
from orchestrator.store.errors import StoreUnavailableError
from tests.fakes.changes import a_change
from tests.fakes.clock import START, JumpingClock
from tests.patience import patient
from tests.servers.pgbouncer_server import PgBouncerServer
from tests.servers.postgresql_server import PostgreSQLServer, PostgreSQLStandby
from tests.servers.switch import Switch

LEASE = timedelta(seconds=10)


@pytest.fixture(scope="module")
def standby(_postgresql: PostgreSQLServer) -> Iterator[PostgreSQLStandby]:
    _postgresql.start()
    with PostgreSQLStandby(_postgresql) as server:
        yield server


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[SqlChangeStore]:
    await asyncio.to_thread(migrate, url)
    async with Database(url) as database:
        yield SqlChangeStore(database, JumpingClock())


async def until_it_works(store: SqlChangeStore) -> None:
    async with asyncio.timeout(patient(10)):
        while True:
            try:
                await store.probe()
                await store.changes()
            except StoreUnavailableError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_an_address_that_led_to_a_standby_for_a_while(
    postgresql_server: PostgreSQLServer, postgresql_database: str, standby: PostgreSQLStandby
) -> None:
    """While the address leads to the standby that is said; once it leads back the store works, by itself.

    Connections to the standby stay open when the address leads back; they are not used again.
    """
    with Switch(postgresql_server.port) as switch:
        url = postgresql_server.url_of(postgresql_database).replace(str(postgresql_server.port), str(switch.port))
        async with opened(url) as store:
            await until_followed(postgresql_server, standby)
            switch.lead_to(standby.port, cut=True)
            said = [await refusal(store) for _ in range(3)]  # what was open is found to be cut first
            assert "store.url must lead to the primary" in said[-1]
            switch.lead_to(postgresql_server.port, cut=False)
            await until_it_works(store)


async def refusal(store: SqlChangeStore) -> str:
    with pytest.raises(StoreUnavailableError) as caught:
        await store.probe()
    return str(caught.value)


async def test_connections_that_turn_read_only_are_thrown_away(
    postgresql_server: PostgreSQLServer, postgresql_database: str, postgresql_url: str
) -> None:
    """A session that was opened while the server gave read-only ones is not used again when it gives others."""
    async with opened(postgresql_url) as store:
        # As managed servers do when their disk is nearly full.
        database = f"datname = '{postgresql_database}'"
        sessions = f"SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity WHERE {database}"  # noqa: S608 - made of constants of this test
        read_only = f'ALTER DATABASE "{postgresql_database}" SET default_transaction_read_only'
        await store.probe()
        await asyncio.to_thread(postgresql_server.execute, sessions)
        await asyncio.to_thread(postgresql_server.execute, f"{read_only} = on")
        with pytest.raises(StoreUnavailableError, match=r"must lead to the primary, with sessions that may write"):
            await store.probe()
        assert await store.changes() == ()  # reading goes on meanwhile
        await asyncio.to_thread(postgresql_server.execute, f"{read_only} = off")
        await until_it_works(store)


@pytest.mark.parametrize("table", ["changes", "outbox"])
async def test_a_table_that_takes_no_row_is_told(
    postgresql_server: PostgreSQLServer, postgresql_database: str, postgresql_url: str, table: str
) -> None:
    """A store none of whose acceptances can be committed, since one of their tables is away, takes no probe either."""
    async with opened(postgresql_url) as store:
        await store.probe()
        away = f"ALTER TABLE {table} RENAME TO away"
        await asyncio.to_thread(postgresql_server.execute, away, postgresql_database)
        with pytest.raises(StoreUnavailableError, match=table):
            await store.probe()
        back = f"ALTER TABLE away RENAME TO {table}"
        await asyncio.to_thread(postgresql_server.execute, back, postgresql_database)
        await until_it_works(store)


async def until_followed(primary: PostgreSQLServer, standby: PostgreSQLStandby) -> None:
    """Wait until the standby has what the primary has written."""
    async with await psycopg.AsyncConnection.connect(primary.url, autocommit=True) as connection:
        row = await (await connection.execute("SELECT pg_current_wal_lsn()")).fetchone()
    assert row is not None
    async with await psycopg.AsyncConnection.connect(standby.url, autocommit=True) as connection:
        async with asyncio.timeout(patient(20)):
            while True:
                seen = await (await connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", row)).fetchone()
                if seen is not None and seen[0]:
                    return
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("written", ["libpq", "sqlalchemy"])
async def test_of_several_hosts_the_primary_is_used(
    postgresql_server: PostgreSQLServer, postgresql_database: str, standby: PostgreSQLStandby, written: str
) -> None:
    """With a standby first in the address everything goes to the primary, LISTEN as well, in both ways to write it."""
    hosts = [f"127.0.0.1:{server.port}" for server in (standby, postgresql_server)]
    url = f"postgresql://orchestrator@{','.join(hosts)}/{postgresql_database}"
    if written == "sqlalchemy":
        url = f"postgresql://orchestrator@/{postgresql_database}?host={hosts[0]}&host={hosts[1]}"
    async with opened(url) as store, opened(postgresql_server.url_of(postgresql_database)) as other:
        await store.probe()
        await news_arrives(store, other)


async def news_arrives(store: SqlChangeStore, other: SqlChangeStore) -> None:
    """Make sure that what one replica commits wakes another by LISTEN, which polls but each 30 s here."""
    await store.wait_for_work(0.5)  # connecting wakes once
    async with asyncio.timeout(patient(20)):
        waiting = asyncio.create_task(store.wait_for_work(30))
        number = 0
        while not waiting.done():
            number += 1
            await other.accept(a_change(f"{id(other)}-{number}"), "hash", ())
            await asyncio.wait({waiting}, timeout=0.2)


async def test_what_the_address_asks_for_is_kept(
    postgresql_server: PostgreSQLServer,
    postgresql_database: str,
    postgresql_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tables are made in the schema that `options` or PGOPTIONS name; stores in two schemas do not wake each other."""
    for schema in ("orch", "other"):
        await asyncio.to_thread(postgresql_server.execute, f"CREATE SCHEMA {schema}", postgresql_database)
    async with opened(f"{postgresql_url}?options=-csearch_path%3Dorch") as store:
        monkeypatch.setenv("PGOPTIONS", "-c search_path=other")
        async with opened(postgresql_url) as other:
            await other.accept(a_change("1"), "hash", ())
            assert (await store.changes(), len(await other.changes())) == ((), 1)
            assert await SqlOutbox(store._database).last_position() == 0
            assert store._database.news.position == 0
        monkeypatch.delenv("PGOPTIONS")
    async with await psycopg.AsyncConnection.connect(postgresql_url) as connection:
        rows = await (await connection.execute("SELECT schemaname FROM pg_tables WHERE tablename = 'lanes'")).fetchall()
    assert sorted(row[0] for row in rows) == ["orch", "other"]


async def test_a_pooler_that_keeps_sessions_serves(
    postgresql_server: PostgreSQLServer, postgresql_database: str, postgresql_url: str
) -> None:
    """Through pgbouncer with pool_mode = session, its other settings as they come, everything works, LISTEN too."""
    with PgBouncerServer(postgresql_server, "pool_mode = session") as pooler:
        async with opened(pooler.url_of(postgresql_database)) as store, opened(postgresql_url) as other:
            for number in range(12):  # often enough for the driver to prepare statements
                await store.accept(a_change(str(number)), "hash", ())
                await store.changes()
            (lane,) = await store.claim(holder="one", lease=LEASE, limit=9, now=START)
            await store.release(lane, now=START)
            await news_arrives(store, other)


@pytest.mark.parametrize("ignored", ["", "ignore_startup_parameters = extra_float_digits,options"])
async def test_a_pooler_that_shares_sessions_is_refused_at_the_start(
    postgresql_server: PostgreSQLServer, postgresql_database: str, postgresql_url: str, ignored: str
) -> None:
    """Through pgbouncer with pool_mode = transaction neither `migrate` nor the daemon starts; both say what to use.

    Nothing was set on sessions that others get then.
    """
    await asyncio.to_thread(migrate, postgresql_url)
    with PgBouncerServer(postgresql_server, f"pool_mode = transaction\n{ignored}") as pooler:
        url = pooler.url_of(postgresql_database)
        said = re.escape("use pool_mode = session for this database, or PostgreSQL's own address")
        with pytest.raises(StoreUnavailableError, match=said):
            await asyncio.to_thread(migrate, url)
        with pytest.raises(StoreUnavailableError, match=said):
            await Database(url).start()
        async with await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=None) as connection:
            row = await (await connection.execute("SHOW statement_timeout")).fetchone()
    assert row == ("0",)
