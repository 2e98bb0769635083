"""A whole daemon whose store can't take writes any more: it tells, takes nothing meanwhile, and goes on when it can."""

import asyncio
import contextlib
import json
import os
import resource
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from orchestrator.devnet import DevnetConfig, running_devnet
from orchestrator.store import migrate
from tests.acceptance.conftest import ENCLAVE_KEYS, OWNER, OWNER_KEY, process, trigger, wait_until
from tests.acceptance.test_main_job import publish
from tests.patience import patient
from tests.servers.ports import free_port
from tests.servers.postgresql_server import PostgreSQLServer

UNPRIVILEGED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
"""What runs a program so that files' modes count also for root."""
NOTICED_SECONDS = 10.0
"""What is wrong shows within this time of the daemon's own; a busy machine gets more."""


@dataclass
class Watched:
    """A daemon, its store's file if it has one, and what is asked of it meanwhile."""

    running: subprocess.Popen[bytes]
    url: str
    broker_url: str
    log: Path
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def get(self, path: str) -> tuple[int, Any]:
        try:
            with urlopen(self.url + path, timeout=patient(10)) as answer:  # noqa: S310 - the daemon of the test
                return answer.status, json.load(answer)
        except HTTPError as error:
            return error.code, json.load(error)

    def unready_because(self) -> str:
        """Why the store makes the daemon unready; empty while it does not."""
        status, answer = self.get("/readyz")
        store = next(check for check in answer["checks"] if check["name"] == "store")
        assert (status == 503) is not answer["ready"]
        # Where a look takes longer than it may the daemon is unready before it knows why.
        known = not store["detail"].startswith("no answer in ")
        return store["detail"] if known and not store["ok"] and status == 503 else ""

    def ready(self) -> bool:
        return self.get("/readyz")[0] == 200

    def ask(self) -> int:
        """Ask for a change over HTTP; returns the status of the answer."""
        body = trigger(f"http-{next(self.numbers)}", "create_group", ENCLAVE_KEYS[:1])
        asking = Request(  # noqa: S310 - the daemon of the test
            f"{self.url}/v1/changes", body, {"content-type": "application/cloudevents+json"}, method="POST"
        )
        try:
            with urlopen(asking, timeout=patient(20)) as answer:  # noqa: S310 - the daemon of the test
                return int(answer.status)
        except HTTPError as error:
            if not error.headers["Retry-After"]:
                raise
            return error.code

    def accepted(self, request_id: str) -> bool:
        return any(change["request_id"] == request_id for change in self.get("/v1/changes?limit=100")[1]["changes"])

    async def survives(self, failure: contextlib.AbstractContextManager[None], *reasons: str, back: bool) -> None:
        """Break the store: unready with the reason, nothing taken; when it works again, what was asked for is taken."""
        queued = f"queued-{next(self.numbers)}"
        with failure:
            why = await asyncio.to_thread(wait_until, "unready", self.unready_because, seconds=4 * NOTICED_SECONDS)
            assert any(reason in why for reason in reasons), why
            await publish(self.broker_url, trigger(queued, "create_group", ENCLAVE_KEYS[:1]))
            # Each of many is answered, and not one after the other.
            assert set(await asyncio.gather(*(asyncio.to_thread(self.ask) for _ in range(5)))) == {503}
            assert await asyncio.to_thread(self.unready_because)
            assert self.running.poll() is None
        if back:
            await asyncio.to_thread(wait_until, "readiness", self.ready, seconds=4 * NOTICED_SECONDS)
            await asyncio.to_thread(wait_until, "acceptance", lambda: self.accepted(queued), seconds=40)
        assert "Traceback" not in await asyncio.to_thread(self.log.read_text)


@asynccontextmanager
async def watched(folder: Path, store_url: str, broker_url: str) -> AsyncIterator[Watched]:
    """Run a daemon of one node on a store."""
    async with running_devnet(DevnetConfig(base_port=0, nodes=1, validators=1)) as devnet:
        (folder / "owner.key").touch(mode=0o600)
        (folder / "owner.key").write_text(OWNER_KEY)
        port = free_port()
        (node,) = devnet.nodes
        config = folder / "orchestrator.toml"
        config.write_text(
            f'[store]\nurl = "{store_url}"\n[broker]\nurl = "{broker_url}"\n[api]\nlisten = "127.0.0.1:{port}"\n'
            f'[[nodes]]\nname = "member1"\nhttp = "{node.http_url}"\nws = "{node.ws_url}"\n'
            f'enclave_keys = ["{node.enclave_key}"]\n'
            f'[[accounts]]\naddress = "{OWNER}"\nkey_file = "owner.key"\n'
        )
        with ExitStack() as stack:
            running = stack.enter_context(
                process(["run", "--migrate", "--config", str(config)], folder / "daemon.log", by=UNPRIVILEGED)
            )
            daemon = Watched(running, f"http://127.0.0.1:{port}", broker_url, folder / "daemon.log")
            await asyncio.to_thread(wait_until, "readiness", daemon.ready)
            yield daemon
            await asyncio.to_thread(stack.close)


@contextlib.contextmanager
def full(daemon: Watched, folder: Path) -> Iterator[None]:
    """No file of the daemon's may grow: as on a disk, or under a quota, without room."""
    size = max(file.stat().st_size for file in folder.glob("orchestrator.db*"))
    before = resource.prlimit(daemon.running.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.running.pid, resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(daemon.running.pid, resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def moved_away(path: Path) -> Iterator[None]:
    """The file is not where it was; then it is again."""
    away = path.with_suffix(".away")
    path.rename(away)
    try:
        yield
    finally:
        away.rename(path)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program writes in the file, and does not come to an end; then it lets go."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[None]:
    """The daemon's user may not write the file; then it may."""
    path.chmod(0o400)
    try:
        yield
    finally:
        path.chmod(0o600)


@contextlib.contextmanager
def damaged(path: Path) -> Iterator[None]:
    """The file's beginning is overwritten; then it is as it was."""
    # What is there is the same in every such file: to put it back undoes nothing that was written meanwhile.
    before = b"SQLite format 3\x00"
    with path.open("r+b") as file:
        file.write(b"\xff" * len(before))
        file.flush()
        yield
        file.seek(0)
        file.write(before)


@contextlib.contextmanager
def deleted(path: Path) -> Iterator[None]:
    """The file is gone for good."""
    path.unlink()
    yield


async def test_a_file_that_can_not_be_written(tmp_path: Path, nats_url: str) -> None:
    """Full, moved away, locked, read-only, overwritten: 503 with the reason, nothing taken, ready again afterwards."""
    path = tmp_path / "orchestrator.db"
    async with watched(tmp_path, f"sqlite:///{path}", nats_url) as daemon:
        await daemon.survives(full(daemon, tmp_path), "full", "disk I/O error", back=True)
        await daemon.survives(moved_away(path), "deleted or replaced", back=True)
        await daemon.survives(locked(path), "another program holds", back=True)
        await daemon.survives(read_only(path), "may not write", back=True)
        await daemon.survives(damaged(path), "damaged", back=True)
        assert await asyncio.to_thread(daemon.ask) == 202


def test_a_file_that_can_not_be_written_from_the_start(tmp_path: Path) -> None:
    """A daemon whose file is read-only, or locked by another program, ends at its start with the reason."""
    path, config = tmp_path / "orchestrator.db", tmp_path / "orchestrator.toml"
    migrate(f"sqlite:///{path}")
    config.write_text(
        f'[store]\nurl = "sqlite:///{path}"\n'
        f'[[nodes]]\nname = "member1"\nhttp = "http://127.0.0.1:1"\nenclave_keys = ["{ENCLAVE_KEYS[0]}"]\n'
    )
    for failure, reason in ((read_only(path), "may not write"), (locked(path), "another program holds")):
        log = tmp_path / f"{reason}.log"
        with failure, process(["run", "--config", str(config)], log, by=UNPRIVILEGED) as running:
            assert running.wait(patient(60)) == 1
        assert reason in log.read_text()
        assert "Traceback" not in log.read_text()


async def test_a_file_that_was_deleted(tmp_path: Path, nats_url: str) -> None:
    """Deleted for good: 503, and what is asked for stays in the queue until the daemon runs on a store again."""
    path = tmp_path / "orchestrator.db"
    async with watched(tmp_path, f"sqlite:///{path}", nats_url) as daemon:
        await daemon.survives(deleted(path), "deleted or replaced", back=False)


async def test_a_database_in_recovery(tmp_path: Path, nats_url: str) -> None:
    """While PostgreSQL is a standby the daemon is not ready and takes nothing; it goes on when it is promoted."""
    server = PostgreSQLServer()
    await asyncio.to_thread(server.start)
    try:
        database = await asyncio.to_thread(server.create_database)

        @contextlib.contextmanager
        def in_recovery() -> Iterator[None]:
            server.stop()
            server.follow_nobody()
            server.start()
            yield
            server.execute("SELECT pg_promote()")

        async with watched(tmp_path, server.url_of(database), nats_url) as daemon:
            await daemon.survives(in_recovery(), "must lead to the primary", back=True)
    finally:
        await asyncio.to_thread(server.close)
