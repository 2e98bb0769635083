"""Names under which processes hold lanes: never shared, and taken up at once after a death."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.app.configured import holder
from orchestrator.app.configured.holder import NameTakenError, holding
from orchestrator.config import Config
from orchestrator.store import Database, SqlChangeStore, SqlOutbox, migrate
from tests.fakes.changes import a_change
from tests.fakes.clock import START, JumpingClock
from tests.patience import patient

LEASE = timedelta(hours=1)
# What `holding` does for a process of the same name, without what else belongs to a daemon.
LIFE = """
import asyncio, datetime, sys
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.store import Database, SqlChangeStore, SqlOutbox
from orchestrator.store.database.holder_names import claimed_name

async def live(name, url):
    async with Database(url) as database, claimed_name(database.url, name, 1.0) as ours:
        assert ours
        lease, now = datetime.timedelta(hours=1), datetime.datetime.now(datetime.UTC)
        holder = f"{name}#life"
        await SqlChangeStore(database, SystemClock()).claim(holder=holder, lease=lease, limit=9, now=now)
        await SqlOutbox(database).acquire_lease("relay", holder=holder, lease=lease, now=now)
        print("held", flush=True)
        await asyncio.Event().wait()

asyncio.run(live(*sys.argv[1:]))
"""
NODE = {"name": "n", "http": "http://127.0.0.1:1", "enclave_keys": ["BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="]}


def configured(replica: str | None = None) -> Config:
    engine = {} if replica is None else {"replica": replica}
    return Config.model_validate({"nodes": [NODE], "api": {"listen": "127.0.0.1:0"}, "engine": engine})


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    found = f"sqlite:///{tmp_path}/store.db" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")
    await asyncio.to_thread(migrate, found)
    return str(found)


@pytest.fixture
async def databases(url: str) -> AsyncIterator[tuple[Database, Database]]:
    async with Database(url) as first, Database(url) as second:
        yield first, second


async def test_two_processes_of_one_template_have_two_names(databases: tuple[Database, Database]) -> None:
    """With the same host name and address the second one takes nothing of the first one's, nor the third later."""
    stores = [SqlChangeStore(database, JumpingClock()) for database in databases]
    await stores[0].accept(a_change("1"), "hash", ())
    async with holding(configured(), databases[0], stores[0]) as first:
        (lane,) = await stores[0].claim(holder=first, lease=LEASE, limit=9, now=START)
        async with holding(configured(), databases[1], stores[1]) as second:
            assert first != second
            assert await stores[1].claim(holder=second, lease=LEASE, limit=9, now=START) == ()
        assert await stores[0].holds(lane)


async def test_a_configured_name_is_refused_to_a_second_process(
    databases: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one process runs under a configured name, another one does not start; afterwards it does."""
    stores = [SqlChangeStore(database, JumpingClock()) for database in databases]
    monkeypatch.setattr(holder, "CONFIGURED_SECONDS", patient(30))  # the server may take a while to let a name go
    async with holding(configured("a"), databases[0], stores[0]):
        with monkeypatch.context() as soon:
            soon.setattr(holder, "CONFIGURED_SECONDS", 0.3)
            with pytest.raises(NameTakenError, match="engine\\.replica 'a'"):
                await AsyncExitStack().enter_async_context(holding(configured("a"), databases[1], stores[1]))
        async with holding(configured("b"), databases[1], stores[1]) as other:
            assert other.startswith("b#")
    async with holding(configured("a"), databases[1], stores[1]) as successor:
        assert successor.startswith("a#")


async def test_what_a_killed_process_held_is_taken_up_at_once(
    url: str, databases: tuple[Database, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After SIGKILL the next process of the name has its lanes and leases, however long these would last."""
    store, outbox = SqlChangeStore(databases[0], JumpingClock()), SqlOutbox(databases[0])
    await store.accept(a_change("1"), "hash", ())
    config = configured()
    monkeypatch.setattr(holder, "DERIVED_SECONDS", patient(30))  # the server may take a while to notice a death
    life = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LIFE, f"{socket.gethostname()}/{config.api.listen}", url), stdout=subprocess.PIPE
    )
    assert life.stdout is not None
    try:
        async with asyncio.timeout(patient(30)):
            while line := await life.stdout.readline():
                if line == b"held\n":
                    break
        assert await store.claim(holder="other", lease=LEASE, limit=9, now=START) == ()
    finally:
        life.kill()
        await life.wait()
    async with holding(config, databases[0], store) as successor:
        assert len(await store.claim(holder=successor, lease=LEASE, limit=9, now=START)) == 1
        assert await outbox.acquire_lease("relay", holder=successor, lease=LEASE, now=START)
