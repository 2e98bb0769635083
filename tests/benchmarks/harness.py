"""The harness of a benchmark: emulated nodes, a message queue and the daemon, each in a process of its own."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import aiohttp

from orchestrator.broker.connection import connect
from orchestrator.broker.port import Broker
from orchestrator.devnet.accounts import enclave_key_of
from orchestrator.engine.intake.requests import REQUEST_TYPE
from tests.benchmarks.processes import Child, child, orchestrator
from tests.servers.nats_server import NatsServer
from tests.servers.ports import consecutive_ports

OWNER: Final = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"
OWNER_KEY: Final = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
"""The well-known public development key of that account: never to hold anything of value."""

BLOCK_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What things take an emulated node, in milliseconds.

    Attributes:
        sends_at_once: How many sends all nodes together work on; 0 for any number.
        submission_ms: A send.
        addition_ms: Adding a member, on top.
        marker_ms: Executing a marker transaction: once before its block is agreed on, once when it is imported.
    """

    sends_at_once: int
    submission_ms: float
    addition_ms: float
    marker_ms: float


FREE: Final = Costs(sends_at_once=0, submission_ms=2.0, addition_ms=0.0, marker_ms=0.0)
RECORDED: Final = Costs(sends_at_once=0, submission_ms=40.0, addition_ms=100.0, marker_ms=15.0)
"""The middle of what was recorded of idle nodes of 22.4.4: sending a lock, what sending an add took longer, and
fetching a private transaction from the enclave, which is most of executing its marker."""
SHARED: Final = replace(RECORDED, sends_at_once=2)
"""The same when all nodes share two processors, as they did in the recordings."""


@dataclass(frozen=True, slots=True)
class Devnet:
    """Where emulated nodes answer.

    Attributes:
        base_port: The first node's HTTP port.
        nodes: How many there are.
        process: They all, where they have a process of their own.
    """

    base_port: int
    nodes: int
    process: Child | None = None

    @property
    def members(self) -> tuple[str, ...]:
        """Each node's enclave key."""
        return tuple(enclave_key_of(number) for number in range(1, self.nodes + 1))

    def http(self, node: int) -> str:
        return f"http://127.0.0.1:{self.base_port + 2 * (node - 1)}"

    def ws(self, node: int) -> str:
        return f"ws://127.0.0.1:{self.base_port + 2 * (node - 1) + 1}"


@dataclass(frozen=True, slots=True)
class Daemon:
    """The daemon in a process of its own.

    Attributes:
        child: The process.
        url: Its HTTP API.
        session: Asks it.
        queue: The message queue that triggers it.
        queue_url: Where that is.
        config: Its configuration.
    """

    child: Child
    url: str
    session: aiohttp.ClientSession
    queue: Broker
    queue_url: str
    config: Path

    async def get(self, path: str) -> Any:
        async with self.session.get(self.url + path) as response:
            return await response.json()

    async def counts(self) -> tuple[int, int]:
        """Return the JSON-RPC calls and HTTP requests that it has made to all nodes."""
        async with self.session.get(self.url + "/metrics") as response:
            lines = (await response.text()).splitlines()
        found = [
            sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"orchestrator_rpc_{name}_total{{"))
            for name in ("calls", "http_requests")
        ]
        return int(found[0]), int(found[1])


def group_id(name: str) -> str:
    """Return a group id that is the same for the same name."""
    return base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()


def trigger(
    request_id: str, kind: str, group: str, members: Sequence[str], account: str = OWNER, source: str = "/benchmark"
) -> bytes:
    """Return a request as a CloudEvent."""
    data = {"kind": kind, "privacy_group_id": group, "members": list(members), "account": account}
    document = {
        "specversion": "1.0",
        "id": request_id,
        "source": source,
        "type": REQUEST_TYPE,
        "datacontenttype": "application/json",
        "data": data,
    }
    return json.dumps(document).encode()


@asynccontextmanager
async def running_devnet(
    directory: Path, *, nodes: int = 3, version: str = "23.10.3", costs: Costs = FREE
) -> AsyncIterator[Devnet]:
    """Run emulated nodes that make a block each second.

    Args:
        directory: For its log.
        nodes: How many.
        version: Besu's.
        costs: What things take a node.
    """
    base_port = consecutive_ports(2 * nodes)
    options = {
        "--nodes": nodes,
        "--validators": min(nodes, 3),
        "--base-port": base_port,
        "--block-period": BLOCK_SECONDS,
        "--besu-version": version,
        "--submission-ms": costs.submission_ms,
        "--sends-at-once": costs.sends_at_once,
        "--addition-ms": costs.addition_ms,
        "--marker-ms": costs.marker_ms,
    }
    command = orchestrator("devnet", *(text for name, value in options.items() for text in (name, str(value))))
    async with child(directory / "devnet.log", command) as process:
        yield Devnet(base_port, nodes, process)


@asynccontextmanager
async def running_queue() -> AsyncIterator[str]:
    """Run NATS with JetStream; yields its address."""
    server = NatsServer()
    await asyncio.to_thread(server.start)
    try:
        yield server.url
    finally:
        await asyncio.to_thread(server.close)


@asynccontextmanager
async def running_daemon(
    directory: Path,
    devnet: Devnet,
    queue_url: str,
    *,
    program: Sequence[str] = (),
    environment: dict[str, str] | None = None,
    more: Sequence[str] = (),
) -> AsyncIterator[Daemon]:
    """Run the daemon on all nodes of a devnet.

    Args:
        directory: For its configuration, store and log.
        devnet: The nodes.
        queue_url: The message queue.
        program: What to run instead of ``orchestrator``.
        environment: For its process, in addition to ours.
        more: Further sections of its configuration.
    """
    config = write_config(directory, devnet, queue_url, more=more)
    command = [*(program or orchestrator()), "run", "--config", str(config), "--migrate"]
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(child(directory / "daemon.log", command, environment))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        queue = await stack.enter_async_context(connect(queue_url, directory=directory / "broker"))
        await queue.check()
        yield Daemon(running, running.said, session, queue, queue_url, config)


@asynccontextmanager
async def harness(
    directory: Path,
    *,
    nodes: int = 3,
    version: str = "23.10.3",
    costs: Costs = FREE,
    program: Sequence[str] = (),
    environment: dict[str, str] | None = None,
) -> AsyncIterator[tuple[Devnet, Daemon]]:
    """Run everything; for the arguments see the parts."""
    async with (
        running_devnet(directory, nodes=nodes, version=version, costs=costs) as devnet,
        running_queue() as queue_url,
        running_daemon(directory, devnet, queue_url, program=program, environment=environment) as daemon,
    ):
        yield devnet, daemon


def write_config(
    directory: Path,
    devnet: Devnet,
    queue_url: str,
    *,
    store_url: str | None = None,
    http: Sequence[str] = (),
    listen: str = "127.0.0.1:0",
    more: Sequence[str] = (),
) -> Path:
    """Write the daemon's configuration and key file.

    Args:
        directory: For both.
        devnet: The nodes.
        queue_url: The message queue.
        store_url: The database; None for a file of its own.
        http: Where the nodes answer, instead of directly.
        listen: Where the daemon's own interface is.
        more: Further sections.
    """
    default = f"sqlite:///{directory}/orchestrator.db"
    urls = list(http) or [devnet.http(number) for number in range(1, devnet.nodes + 1)]
    key_file = directory / "owner.key"
    key_file.touch(mode=0o600)
    key_file.write_text(OWNER_KEY)
    parts = [
        f'[store]\nurl = "{store_url or default}"',
        f'[broker]\nurl = "{queue_url}"',
        f'[api]\nlisten = "{listen}"',
        f'[[accounts]]\naddress = "{OWNER}"\nkey_file = "{key_file}"',
    ]
    parts += [
        f'[[nodes]]\nname = "member{number}"\nhttp = "{urls[number - 1]}"\nws = "{devnet.ws(number)}"\n'
        f'enclave_keys = ["{key}"]'
        for number, key in enumerate(devnet.members, start=1)
    ]
    path = directory / "orchestrator.toml"
    path.write_text("\n\n".join([*parts, *more]) + "\n")
    return path


async def ask_for(daemon: Daemon, requests: Iterable[bytes]) -> None:
    """Put requests on the queue, many at a time."""
    places = asyncio.Semaphore(100)

    async def put(body: bytes) -> None:
        async with places, asyncio.timeout(_PATIENCE_SECONDS):
            await daemon.queue.request(body)

    async with asyncio.TaskGroup() as tasks:
        for body in requests:
            tasks.create_task(put(body))
