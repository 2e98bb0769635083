"""A whole daemon on servers that fail around it: told within 10 s in log, metrics and readiness, and over by itself."""

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js.api import StreamConfig

from orchestrator.app.surroundings import examine
from orchestrator.broker.connection import connect
from orchestrator.doctor.findings import Level
from orchestrator.membership.news.status import EventType
from orchestrator.store import Database, SqlChangeStore, migrate
from tests.fakes.clock import JumpingClock
from tests.integration.servers.running import configured, daemon_on, status, until
from tests.servers.nats_server import NatsServer
from tests.servers.postgresql_server import PostgreSQLServer, PostgreSQLStandby
from tests.servers.switch import Switch


async def test_a_failover_and_a_narrow_stream_are_told_and_over_by_themselves(
    tmp_path: Path, nats_server: NatsServer, postgresql_server: PostgreSQLServer, postgresql_database: str
) -> None:
    """The store's address leads to a standby for a while, and the events' stream takes some types only.

    Each is told while it lasts, the daemon goes on, and what waited is published when its stream is mended. An event
    that the stream will never take is set aside.
    """
    client = await nats.connect(nats_server.url)
    narrow = StreamConfig(name="events", subjects=["membership.events.membership.change.*.v1"], max_msg_size=20_000)
    await client.jetstream().add_stream(narrow)
    own = postgresql_server.url_of(postgresql_database)
    await asyncio.to_thread(migrate, own)
    with (
        await asyncio.to_thread(PostgreSQLStandby, postgresql_server) as standby,
        Switch(postgresql_server.port) as way,
    ):
        url = own.replace(str(postgresql_server.port), str(way.port))
        async with daemon_on(configured(tmp_path, url, nats_server.url)) as daemon, Database(own) as database:
            await daemon.told("events", works=False, detail="no stream, such as membership.events.membership.")
            store = SqlChangeStore(database, JumpingClock())
            await store.announce([status("late", EventType.GROUP_LOCKED)])
            await store.announce([status("other", EventType.CHANGE_PARKED, detail="x" * 30_000)])
            await store.announce([status("other", EventType.CHANGE_PARKED)])
            stream = client.jetstream()
            await until(lambda: has_messages(stream, 1))  # the other group's second; its first is too large
            assert any(entry["event"] == "event set aside" for entry in daemon.said)
            way.lead_to(standby.port, cut=True)
            await daemon.told("store", works=False, detail="must lead to the primary")
            way.lead_to(postgresql_server.port, cut=False)
            await daemon.told("store", works=True)
            await stream.update_stream(narrow.evolve(subjects=["membership.events.>"]))
            await daemon.told("events", works=True)
            await until(lambda: has_messages(stream, 2))
    await client.close()


async def has_messages(stream: Any, number: int) -> bool:
    return bool((await stream.stream_info("events")).state.messages == number)


async def test_what_is_around_the_daemon_is_examined(tmp_path: Path) -> None:
    """Store, clock, both directions of the queue, its limit, secrets and disk are each found well, or what is wrong."""
    with NatsServer(settings="max_payload: 20000") as server:
        config = configured(tmp_path, f"sqlite:///{tmp_path}/store.db", server.url)
        await asyncio.to_thread(migrate, config.store.url)
        async with (
            Database(config.store.url) as database,
            connect(server.url, directory=tmp_path) as broker,
        ):
            found = {finding.check: finding for finding in await examine(config, database, broker)}
            assert {check for check, finding in found.items() if finding.level is Level.OK} >= {
                "store",
                "queue",
                "events",
            }
            assert "20000 bytes" in found["message-limit"].what
            assert found["secrets"].level is Level.OK
            assert "MiB are free for the store" in found["disk"].what
            (tmp_path / "owner.key").chmod(0o644)
            (tmp_path / "store.db").unlink()
            await asyncio.to_thread(server.kill)
            found = {finding.check: finding for finding in await examine(config, database, broker)}
    assert {check for check, finding in found.items() if finding.level is Level.ERROR} == {
        "store",
        "queue",
        "events",
        "secrets",
    }
    assert "was deleted or replaced" in found["store"].what


async def test_the_databases_clock_is_compared(
    tmp_path: Path, nats_url: str, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that is seconds from the database's is found; the server is named with its version."""
    config = configured(tmp_path, postgresql_url, nats_url)
    await asyncio.to_thread(migrate, postgresql_url)
    async with Database(postgresql_url) as database, connect(nats_url, directory=tmp_path) as broker:
        found = {finding.check: finding for finding in await examine(config, database, broker)}
        assert "PostgreSQL 1" in found["store"].what
        assert found["store-clock"].level is Level.OK
        real = time.time
        monkeypatch.setattr("orchestrator.app.surroundings.time.time", lambda: real() - 7)
        found = {finding.check: finding for finding in await examine(config, database, broker)}
    assert found["store-clock"].level is Level.ERROR
    # The answer's way back may be longer than the question's.
    told = re.search(r"\+(\d+\.\d) s from", found["store-clock"].what)
    assert told is not None
    assert float(told[1]) == pytest.approx(7, abs=1)
