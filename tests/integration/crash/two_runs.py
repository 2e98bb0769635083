"""One change through two runs of the daemon: the first dies at a point, the second finds what it left."""

import asyncio
import base64
import json
import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from orchestrator.besu import FlexiblePrivacyGroups, Node, signer_from_key
from orchestrator.besu.transport.http_client import HttpNode, open_session
from orchestrator.broker.names import Access, Limits, Names
from orchestrator.broker.nats.queue import NatsBroker
from tests.integration.crash.launcher import ACK_WAIT, CLAIMED, Point, run_daemon, serve_devnet
from tests.integration.crash.stores import Stores, WatchedStore
from tests.patience import patient, within
from tests.servers.postgresql_server import PostgreSQLServer

OWNER_KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
"""The key of the public development account 0xfe3b…; it must never hold anything of value."""
OWNER = "0xFE3B557E8Fb62b89F4916B721be55cEb828dBd73"
PATIENCE_SECONDS = 90.0
LEASE_SECONDS = 600.0
LOOK_SECONDS = 0.1
LAUNCHER = "tests.integration.crash.launcher"


@dataclass(frozen=True, slots=True)
class Moment:
    """A line of a run's trace.

    Attributes:
        point: Which moment.
        at: When, by the monotonic clock, in seconds.
        processor_seconds: What the run had used of the processor by then.
        label: What was done.
    """

    point: Point
    at: float
    processor_seconds: float
    label: str


@dataclass(frozen=True, slots=True)
class Recovery:
    """From a run's start to the first thing that it did for a change that another run had left.

    Attributes:
        seconds: By the clock on the wall.
        processor_seconds: What it used of the processor.
    """

    seconds: float
    processor_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """What one change came to.

    Attributes:
        died: Whether the first run reached the point.
        state: Of the change.
        reason: Why it is not done, as JSON; empty when it is.
        transactions: How many of the owner's private transactions executed in the group for it.
        members: Positions of the members' nodes, from 0.
        locked: Whether the group is locked.
        undecided: What was signed for it and is neither mined nor burnt.
        sequences: Of the group's status events in the outbox, in order.
        published: The same on the queue.
        recovery: Of the second run; None when nothing was left to do.
        first_run: What the first run did.
        log: What the daemon said.
    """

    died: bool
    state: str
    reason: str
    transactions: int
    members: frozenset[int]
    locked: bool
    undecided: tuple[str, ...]
    sequences: tuple[int, ...]
    published: tuple[int, ...]
    recovery: Recovery | None
    first_run: tuple[Moment, ...]
    log: str


class Harness:
    """What outlives the daemon: nodes, queue and stores."""

    def __init__(self, directory: Path, stores: Stores, nats_url: str, nodes: list[tuple[str, str, str]]) -> None:
        self._directory = directory
        self._stores = stores
        self._nats_url = nats_url
        self._nodes = nodes
        self._keys = [key for _, _, key in nodes]
        self._key_file = directory / "owner.key"
        self._key_file.touch(mode=0o600)
        self._key_file.write_text(OWNER_KEY)

    async def run_twice(self, kind: str, point: Point | None) -> End:
        """Ask for one change of a new group, let the daemon die at a point, start it again, and see to the end.

        Args:
            kind: What is asked for; see `_situation`.
            point: Where it dies; None for nowhere.
        """
        name = f"life_{uuid.uuid4().hex[:12]}"
        group = base64.b64encode(os.urandom(32)).decode()
        present, asked = self._situation(kind)
        async with AsyncExitStack() as stack:
            session = await stack.enter_async_context(open_session())
            node = Node(HttpNode(session, self._nodes[0][0]))
            if present:
                owner = FlexiblePrivacyGroups(node, signer_from_key(OWNER_KEY), self._keys[0], poll_seconds=0.05)
                await owner.create(present, privacy_group_id=group)
            url = await stack.enter_async_context(self._stores.store(name))
            names = Names(requests=f"{name}.requests", dead=f"{name}.dead", events=f"{name}.events")
            broker = NatsBroker(self._nats_url, names=names, limits=Limits(ack_wait=ACK_WAIT), access=Access())
            stack.push_async_callback(broker.close)
            await broker.request(_trigger(name, {"kind": kind, "privacy_group_id": group, "members": asked}))
            watched = stack.enter_context(WatchedStore(url))
            runs = _Runs(self._directory, name, self._configure(name, url, names))
            stack.push_async_callback(runs.end)
            died, recovery = await _run_both(runs, watched, point)
            view = await node.group_view(group)
            return End(
                died=died,
                state=await asyncio.to_thread(watched.state),
                reason=await asyncio.to_thread(watched.reason),
                transactions=await node.private_nonce(OWNER, group) - bool(present),
                members=frozenset(map(self._keys.index, view.participants)),
                locked=view.locked,
                undecided=await asyncio.to_thread(watched.undecided),
                sequences=await asyncio.to_thread(watched.sequences),
                published=await _published(broker, names),
                recovery=recovery,
                first_run=runs.trace(1),
                log=runs.log(),
            )

    def _situation(self, kind: str) -> tuple[list[str], list[str]]:
        """Return the members that the group has before, and those that the request names."""
        keys = self._keys
        match kind:
            case "create_group":
                return [], keys[:2]
            case "add_members":
                return keys[:2], keys[2:]
            case _:
                return keys, keys[2:]

    def _configure(self, name: str, url: str, names: Names) -> Path:
        nodes = "".join(
            f'[[nodes]]\nname = "member{number}"\nhttp = "{http}"\nws = "{ws}"\nenclave_keys = ["{key}"]\n'
            for number, (http, ws, key) in enumerate(self._nodes, 1)
        )
        path = self._directory / f"{name}.toml"
        path.write_text(
            f'[store]\nurl = "{url}"\n[broker]\nurl = "{self._nats_url}"\n[broker.names]\n'
            f'requests = "{names.requests}"\ndead = "{names.dead}"\nevents = "{names.events}"\n'
            # Longer than anybody is waited for here: a lane that had to wait for the dead run's lease would not end.
            f'[engine]\nlease_seconds = {LEASE_SECONDS:g}\n[api]\nlisten = "127.0.0.1:0"\n'
            f"[chain]\nproof_blocks = 1\naudit_blocks = 0\n"
            f'{nodes}[[accounts]]\naddress = "{OWNER}"\nkey_file = "{self._key_file}"\n'
        )
        return path


@asynccontextmanager
async def harness(
    directory: Path, nats_url: str, postgresql: PostgreSQLServer | None, *, preload: str = LAUNCHER
) -> AsyncIterator[Harness]:
    """Set up the harness.

    Args:
        directory: For files.
        nats_url: The queue's server.
        postgresql: The stores' server; None for SQLite.
        preload: The module that the process has loaded from which devnet and runs are forked.
    """
    stores = Stores(directory, postgresql)
    processes = _processes()
    processes.set_forkserver_preload([preload])
    here, there = processes.Pipe()
    network = processes.Process(target=serve_devnet, args=(there,), daemon=True)
    network.start()
    try:
        assert await asyncio.to_thread(here.poll, patient(30)), "the network did not start"
        yield Harness(directory, stores, nats_url, here.recv())
    finally:
        network.kill()
        await asyncio.to_thread(network.join)
        here.close()
        there.close()
        stores.close()


def _processes() -> ForkServerContext:
    """Return the way to start processes: forked from a server that has everything imported."""
    return get_context("forkserver")


class _Runs:
    """The runs of one daemon."""

    def __init__(self, directory: Path, name: str, config: Path) -> None:
        self._directory = directory
        self._name = name
        self._config = config
        self._process: BaseProcess | None = None
        self._count = 0
        self.began_at = 0.0

    def begin(self, point: Point | None) -> BaseProcess:
        """Start a run."""
        self._count += 1
        files = (str(self._log), str(self._trace(self._count)))
        self._process = _processes().Process(target=run_daemon, args=(str(self._config), *files, point), daemon=True)
        self.began_at = time.monotonic()
        self._process.start()
        return self._process

    async def end(self) -> None:
        """End the present run."""
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.join)

    def trace(self, run: int) -> tuple[Moment, ...]:
        """Return what a run did; runs count from 1."""
        path = self._trace(run)
        lines = path.read_text().splitlines() if path.exists() else []
        return tuple(_moment(line) for line in lines)

    def log(self) -> str:
        """Return what the daemon said in all its runs."""
        return self._log.read_text() if self._log.exists() else ""

    @property
    def _log(self) -> Path:
        return self._directory / f"{self._name}.log"

    def _trace(self, run: int) -> Path:
        return self._directory / f"{self._name}.trace{run}"


def _moment(line: str) -> Moment:
    at, processor_seconds, kind, number, when, label = line.split(" ", 5)
    return Moment(Point(kind, int(number), when), float(at), float(processor_seconds), label)


async def _run_both(runs: _Runs, watched: "WatchedStore", point: Point | None) -> tuple[bool, Recovery | None]:
    """Return whether the first run died, and how the second recovered."""
    if not await _rests_or_dies(watched, runs.begin(point)):
        return False, None
    await runs.end()
    died_again = await _rests_or_dies(watched, runs.begin(None))
    assert not died_again, runs.log()
    moments = runs.trace(2)
    claimed = next((place for place, moment in enumerate(moments) if moment.point.kind == CLAIMED), None)
    if claimed is None or claimed + 1 == len(moments):
        return True, None
    first = moments[claimed + 1]
    return True, Recovery(first.at - runs.began_at, first.processor_seconds)


async def _rests_or_dies(watched: "WatchedStore", process: BaseProcess) -> bool:
    """Wait until all is done and told, or the process is dead; returns whether it is."""
    for _ in within(PATIENCE_SECONDS, most=LEASE_SECONDS / 2):
        if not process.is_alive():
            return True
        if await asyncio.to_thread(watched.is_over):
            return False
        await asyncio.sleep(LOOK_SECONDS)
    return False


def _trigger(request_id: str, data: dict[str, object]) -> bytes:
    event = {"specversion": "1.0", "type": "membership.change.requested.v1", "source": "/crash", "id": request_id}
    return json.dumps({**event, "data": data}).encode()


async def _published(broker: NatsBroker, names: Names) -> tuple[int, ...]:
    """Return the sequences of the status events on the queue, in its order."""
    jetstream = (await broker._link.session()).jetstream
    stream = await jetstream.find_stream_name_by_subject(f"{names.events}.>")
    count = (await jetstream.stream_info(stream)).state.messages
    messages = [await jetstream.get_msg(stream, seq=number) for number in range(1, count + 1)]
    return tuple(int(json.loads(message.data or b"")["data"]["sequence"]) for message in messages)
