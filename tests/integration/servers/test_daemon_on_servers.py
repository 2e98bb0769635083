"""A whole daemon on servers that fail around it: told within 10 s in log, metrics and readiness, and over by itself."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import nats
import pytest
import structlog
from nats.js.api import StreamConfig

from orchestrator.app import run_daemon
from orchestrator.app.surroundings import examine
from orchestrator.besu.inspection import Level
from orchestrator.broker.connecting import connect
from orchestrator.config import Config, load_config
from orchestrator.membership.status import EventType, StatusEvent
from orchestrator.store import Database, SqlChangeStore, migrate
from tests.fakes.clock import JumpingClock
from tests.servers.nats_server import NatsServer
from tests.servers.postgresql_server import PostgreSQLServer, PostgreSQLStandby
from tests.servers.switch import Switch

PATIENCE_SECONDS = 40.0
"""A busy machine is slow; what is claimed of time is the sum of the daemon's own intervals."""


def configured(folder: Path, store: str, broker: str) -> Config:
    (folder / "owner.key").touch(mode=0o600)
    (folder / "owner.key").write_text("8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63")
    (folder / "orchestrator.toml").write_text(
        f"""
[store]
url = "{store}"
[broker]
url = "{broker}"
[api]
listen = "127.0.0.1:0"
[[nodes]]
name = "member1"
http = "http://127.0.0.1:1"
enclave_keys = ["BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="]
[[accounts]]
address = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"
key_file = "owner.key"
"""
    )
    return load_config(folder / "orchestrator.toml", {})


@dataclass(frozen=True)
class Running:
    """A daemon, seen from outside."""

    url: str
    session: aiohttp.ClientSession
    said: list[Any]

    async def told(self, what: str, *, works: bool, detail: str = "") -> None:
        """Wait until readiness, metrics and log agree on whether something works."""

        async def seen() -> bool:
            async with self.session.get(f"{self.url}/readyz") as answer:
                checks = {check["name"]: check for check in (await answer.json())["checks"]}
            if checks[what]["ok"] is not works or detail not in checks[what]["detail"]:
                return False
            async with self.session.get(f"{self.url}/metrics") as answer:
                if f'orchestrator_working{{what="{what}"}} {1.0 if works else 0.0}' not in await answer.text():
                    return False
            words = "works again" if works else "does not work now"
            return any(entry["event"] == words and entry.get("what") == what for entry in self.said)

        await until(seen)


async def until(seen: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await seen():  # noqa: ASYNC110 - servers and metrics have no event to wait for
            await asyncio.sleep(0.2)


@asynccontextmanager
async def daemon_on(config: Config) -> AsyncIterator[Running]:
    stopping, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    with structlog.testing.capture_logs() as said:
        running = asyncio.create_task(run_daemon(config, stopping, ready.set_result))
        try:
            await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE_SECONDS)
            if running.done():
                await running
            async with aiohttp.ClientSession() as session:
                yield Running(await ready, session, said)
            assert not running.done()
        finally:
            stopping.set()
            await asyncio.wait_for(running, PATIENCE_SECONDS)


async def test_a_failover_and_a_narrow_stream_are_told_and_over_by_themselves(
    tmp_path: Path, nats_server: NatsServer, postgresql_server: PostgreSQLServer, postgresql_database: str
) -> None:
    """The store's address leads to a standby for a while, and the events' stream takes some types only.

    Each is told while it lasts, the daemon goes on, and what waited is published when its stream is mended.
    """
    client = await nats.connect(nats_server.url)
    narrow = StreamConfig(name="events", subjects=["membership.events.membership.change.*.v1"])
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
            await store.announce([status("other", EventType.CHANGE_PARKED)])
            stream = client.jetstream()
            await until(lambda: has_messages(stream, 1))  # the other group's
            way.lead_to(standby.port, cut=True)
            await daemon.told("store", works=False, detail="must lead to the primary")
            way.lead_to(postgresql_server.port, cut=False)
            await daemon.told("store", works=True)
            await stream.update_stream(narrow.evolve(subjects=["membership.events.>"]))
            await daemon.told("events", works=True)
            await until(lambda: has_messages(stream, 2))
    await client.close()


def status(group: str, kind: EventType) -> StatusEvent:
    return StatusEvent(type=kind, privacy_group_id=group, change_id=None, request_id=None, data={})


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
    assert "+7.0 s" in found["store-clock"].what
