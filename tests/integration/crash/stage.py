"""Nodes, queue and stores for many short lives of the daemon, and one life that ends where it is told to."""

import asyncio
import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psycopg
import sqlalchemy as sa
from aiohttp import web

from orchestrator.besu.management_contract import MANAGEMENT_PROXY, Abi, encode_add_participants
from orchestrator.besu.private_transaction import PrivateTransaction, decode_private_transaction
from orchestrator.besu.signers import signer_from_key
from orchestrator.broker.names import Access, Limits, Names
from orchestrator.broker.nats import NatsBroker
from orchestrator.devnet.config import DevnetConfig
from orchestrator.devnet.gateway import Gateway
from orchestrator.devnet.private_state import ExecutedTransaction
from orchestrator.devnet.runtime import Devnet, running_devnet
from orchestrator.store.connections import normalised
from orchestrator.store.schema_version import migrate
from tests.integration.crash import daemon_process
from tests.servers.postgresql_server import PostgreSQLServer

OWNER_KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
"""The key of the public development account 0xfe3b…; it must never hold anything of value."""
OWNER = "0xFE3B557E8Fb62b89F4916B721be55cEb828dBd73"
BLOCK_SECONDS = 0.2
PATIENCE_SECONDS = 90.0
LOOK_SECONDS = 0.05
DEVNET = DevnetConfig(
    nodes=3, validators=3, base_port=0, block_period_seconds=BLOCK_SECONDS, replay_ms_per_transaction=1.0
)


@dataclass(frozen=True, slots=True)
class Point:
    """Where a life ends.

    Attributes:
        kind: ``"commit"`` or ``"rpc"``.
        number: Of the commit or HTTP request since the process started, from 1.
        after: When it is done and the daemon does not know, instead of right before it.
    """

    kind: str
    number: int
    after: bool


@dataclass(slots=True)
class Outcome:
    """What one run came to.

    Attributes:
        point: Where the first life was to end.
        reached: Whether it did.
        state: Of the change.
        actions: The group's executed transactions since the change was asked for.
        members: How many the group has at the end.
        locked: Whether the group is locked at the end.
        sequences: Of the group's status events, in order.
        requests: HTTP requests of the first life.
        commits: Commits of the first life.
        recovery_seconds: From the second life's start to its first request about the chain.
        recovery_cpu_seconds: Processor time that it had used by then.
        log: What the daemon said.
    """

    point: Point | None
    reached: bool = False
    state: str = ""
    actions: tuple[str, ...] = ()
    members: int = 0
    locked: bool = False
    sequences: tuple[int, ...] = ()
    requests: int = 0
    commits: int = 0
    recovery_seconds: float = 0.0
    recovery_cpu_seconds: float = 0.0
    log: str = ""


@dataclass(slots=True)
class _Front:
    """What stands before the nodes for one run, and kills the daemon at a request."""

    gateways: list[Gateway]
    point: Point | None
    requests: int = 0
    first_request_at: float | None = None
    cpu_seconds: float = 0.0
    process: "_Process | None" = None
    reached: bool = False

    async def on_http(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests += 1
        if self.first_request_at is None:
            self.first_request_at = time.monotonic()
            self.cpu_seconds = _cpu_seconds(self.process)
        fatal = self.point is not None and self.point.kind == "rpc" and self.point.number == self.requests
        if fatal and self.point is not None and not self.point.after:
            self.kill(request)
        gateway = self.gateways[int(request.match_info["node"]) - 1]
        reply = await gateway.reply(body, None, None)
        if fatal:
            self.kill(request)
        return web.Response(status=reply.status, text=reply.text, content_type="application/json")

    def seconds_since(self, began: float) -> float:
        """Return when the first request came, in seconds from a moment on."""
        return (time.monotonic() if self.first_request_at is None else self.first_request_at) - began

    def kill(self, request: web.Request) -> None:
        self.reached = True
        if self.process is not None and self.process.pid is not None:
            os.kill(self.process.pid, signal.SIGKILL)
        if request.transport is not None:
            request.transport.abort()
        raise web.HTTPServiceUnavailable(text="nobody is there to read this")


class _Process(Protocol):
    """A process of the daemon: forked or executed."""

    @property
    def pid(self) -> int | None: ...

    def is_alive(self) -> bool: ...

    def kill(self) -> None: ...

    def join(self) -> None: ...


class _Executed:
    """``orchestrator run`` as a process of its own."""

    def __init__(self, config: Path, log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator", "run", "--config", str(config)], stdout=output, stderr=output
            )
        self.pid = self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()

    def join(self) -> None:
        self._process.wait()


@dataclass(frozen=True, slots=True)
class _Lives:
    """Starts one run's lives."""

    directory: Path
    name: str
    config: Path
    forked: bool

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    @property
    def _counter(self) -> Path:
        return self.directory / f"{self.name}.commits"

    def commits(self) -> int:
        return self._counter.stat().st_size if self._counter.exists() else 0

    def start(self, point: Point | None) -> _Process:
        if not self.forked:
            return _Executed(self.config, self.log)
        commit = point.number if point is not None and point.kind == "commit" else None
        after = point is not None and point.after
        files = (str(self.config), str(self.log), commit, after, str(self._counter))
        process = daemon_process.context().Process(target=daemon_process.main, args=files)
        process.start()
        return process


class Stage:
    """Everything that outlives a run.

    Args:
        directory: For the runs' files.
        nats_url: The queue.
        postgresql: Where stores are made; None for SQLite.
    """

    def __init__(self, directory: Path, nats_url: str, postgresql: PostgreSQLServer | None) -> None:
        self._directory = directory
        self.nats_url = nats_url
        self._postgresql = postgresql
        self.key_file = directory / "owner.key"
        self.key_file.touch(mode=0o600)
        self.key_file.write_text(OWNER_KEY)
        self._template = directory / "template.db"
        self._template_name = f"template_{uuid.uuid4().hex[:8]}"
        if postgresql is None:
            migrate(f"sqlite:///{self._template}")
        else:
            self._execute(f'CREATE DATABASE "{self._template_name}"')
            migrate(postgresql.url_of(self._template_name))

    def _execute(self, statement: str) -> None:
        assert self._postgresql is not None
        with psycopg.connect(self._postgresql.url, autocommit=True) as connection:
            connection.execute(statement)

    @contextlib.contextmanager
    def store(self, name: str) -> Iterator[str]:
        """Make a store for one run, migrated, and yield its URL."""
        if self._postgresql is None:
            path = self._directory / f"{name}.db"
            shutil.copy(self._template, path)
            yield f"sqlite:///{path}"
        else:
            self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._template_name}"')
            yield self._postgresql.url_of(name)
            self._execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def lives(self, name: str, configuration: str, *, forked: bool) -> "_Lives":
        """Return what starts the daemon for one run."""
        path = self._directory / f"{name}.toml"
        path.write_text(configuration)
        return _Lives(self._directory, name, path, forked)

    async def run(self, kind: str, point: Point | None, *, forked: bool = True) -> Outcome:
        """Ask for one change of a group of its own, let the daemon die at a point, start it again, and see.

        Args:
            kind: ``"create_group"``, ``"add_members"`` or ``"remove_members"``.
            point: Where it dies; None for nowhere.
            forked: Fork what is imported already; otherwise run the command ``orchestrator run``, which can't die at a
                commit.
        """
        async with running_devnet(DEVNET) as devnet:
            return await _Run(self, devnet, kind, point, forked=forked).play()


class _Run:
    """One run: nodes and a store of its own."""

    def __init__(self, stage: Stage, devnet: Devnet, kind: str, point: Point | None, *, forked: bool) -> None:
        self._stage = stage
        self._devnet = devnet
        self._kind = kind
        self._point = point
        self._forked = forked
        self._name = f"run_{uuid.uuid4().hex[:12]}"
        self._group = base64.b64encode(os.urandom(32)).decode()
        self._keys = [node.enclave_key for node in devnet.nodes]

    async def play(self) -> Outcome:
        """See `Stage.run`."""
        if self._kind != "create_group":
            await self._create()
        before = len(self._executed())
        store = self._stage.store(self._name)
        url = await asyncio.to_thread(store.__enter__)
        try:
            async with self._front() as (front, address):
                lives = self._stage.lives(self._name, self._configuration(url, address), forked=self._forked)
                await self._publish()
                outcome = await self._live(lives, url, front)
        finally:
            await asyncio.to_thread(store.__exit__, None, None, None)
        await asyncio.sleep(2 * BLOCK_SECONDS)
        records = self._executed()
        outcome.actions = tuple(_action_of(record) for record in records[before:])
        outcome.members = len(records[-1].state.contract.participants) if records else 0
        outcome.locked = bool(records) and not records[-1].state.contract.can_execute
        return outcome

    async def _live(self, lives: "_Lives", url: str, front: _Front) -> Outcome:
        engine = sa.create_engine(normalised(url))
        outcome = Outcome(point=self._point)
        process = front.process = lives.start(self._point)
        try:
            outcome.state = await self._until_ended(engine, process)
            outcome.requests = front.requests
            outcome.commits = lives.commits()
            outcome.reached = not process.is_alive()
            if outcome.reached:
                await asyncio.to_thread(process.join)
                front.point, front.first_request_at = None, None
                began = time.monotonic()
                process = front.process = lives.start(None)
                outcome.state = await self._until_ended(engine, process)
                outcome.recovery_seconds = front.seconds_since(began)
                outcome.recovery_cpu_seconds = front.cpu_seconds
            outcome.sequences = await asyncio.to_thread(_sequences, engine)
        finally:
            if process.is_alive():
                process.kill()
            await asyncio.to_thread(process.join)
            engine.dispose()
        outcome.log = lives.log.read_text() if lives.log.exists() else ""
        return outcome

    async def _until_ended(self, engine: sa.Engine, process: "_Process") -> str:
        """Wait until the change is ended or the process is dead; returns the change's state."""
        until = time.monotonic() + PATIENCE_SECONDS
        state = ""
        while time.monotonic() < until:
            await asyncio.sleep(LOOK_SECONDS)
            state = await asyncio.to_thread(_state, engine)
            if not process.is_alive():
                return await asyncio.to_thread(_state, engine)
            if state in ("succeeded", "failed", "cancelled", "parked"):
                return state
        return state

    @contextlib.asynccontextmanager
    async def _front(self) -> AsyncIterator[tuple[_Front, str]]:
        devnet = self._devnet
        gateways = [
            Gateway(api, devnet._clock, None, devnet._advance, devnet._kick.set) for api in devnet.emulation.apis
        ]
        front = _Front(gateways, self._point)
        application = web.Application(client_max_size=1 << 24)
        application.router.add_post("/{node}", front.on_http)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handle_signals=False)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield front, f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    def _configuration(self, url: str, address: str) -> str:
        nodes = "".join(
            f'[[nodes]]\nname = "node{node.number}"\nhttp = "{address}/{node.number}"\nws = "{node.ws_url}"\n'
            f'enclave_keys = ["{key}"]\n'
            for node, key in zip(self._devnet.nodes, self._keys, strict=True)
        )
        name = self._name
        return (
            f'[store]\nurl = "{url}"\n[broker]\nurl = "{self._stage.nats_url}"\n'
            f'[broker.names]\nrequests = "{name}.requests"\ndead = "{name}.dead"\nevents = "{name}.events"\n'
            f'[api]\nlisten = "127.0.0.1:0"\n[chain]\nproof_blocks = 1\naudit_blocks = 0\n[engine]\nlease_seconds = 2\n'
            f'[log]\nformat = "json"\n{nodes}[[accounts]]\naddress = "{OWNER}"\nkey_file = "{self._stage.key_file}"\n'
        )

    async def _publish(self) -> None:
        name = self._name
        names = Names(requests=f"{name}.requests", dead=f"{name}.dead", events=f"{name}.events")
        broker = NatsBroker(self._stage.nats_url, names=names, limits=Limits(), access=Access())
        keys = self._keys
        members = {"create_group": keys[:2], "add_members": keys[2:3], "remove_members": keys[1:2]}[self._kind]
        data = {"kind": self._kind, "privacy_group_id": self._group, "members": members}
        event = {"specversion": "1.0", "type": "membership.change.requested.v1", "source": "/crash", "id": name}
        try:
            await broker.request(json.dumps({**event, "data": data}).encode())
        finally:
            await broker.close()

    async def _create(self) -> None:
        raw = signer_from_key(OWNER_KEY).sign(
            PrivateTransaction(
                private_nonce=0,
                private_from=self._keys[0],
                to=MANAGEMENT_PROXY,
                data=encode_add_participants(Abi.BYTES, self._keys[:2]),
                privacy_group_id=self._group,
                chain_id=1337,
            )
        )
        await self._devnet.call(1, "eea_sendRawTransaction", ["0x" + raw.hex()])
        while not self._executed():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(LOOK_SECONDS)

    def _executed(self) -> list[ExecutedTransaction]:
        timeline = self._devnet.emulation.network.nodes[0].timelines.get(base64.b64decode(self._group))
        return [] if timeline is None else timeline.records


def _cpu_seconds(process: _Process | None) -> float:
    if process is None:
        return 0.0
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


SELECTORS = {"f83d08ba": "lock", "a69df4b5": "unlock", "965a25ef": "add", "1f52a8ee": "remove"}


def _action_of(record: ExecutedTransaction) -> str:
    return SELECTORS[decode_private_transaction(record.signed.raw).transaction.data[:4].hex()]


def _state(engine: sa.Engine) -> str:
    with engine.connect() as connection:
        return str(connection.execute(sa.text("SELECT state FROM changes")).scalar_one_or_none() or "")


def _sequences(engine: sa.Engine) -> tuple[int, ...]:
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT sequence FROM outbox WHERE privacy_group_id <> '' ORDER BY position"))
        return tuple(rows.scalars())
