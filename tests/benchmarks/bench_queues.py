"""The message queues against each other: requests published and taken, and the way from one to the other, in one run.

Each is one server on this machine, as the tests start it: what several of them cost in a cluster is not seen here. Both
sides are the daemon's own adapters, so that what is compared is what the daemon makes of a queue.
"""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from statistics import median
from typing import Final

from orchestrator.broker.connection import connect
from orchestrator.broker.names import Limits
from orchestrator.broker.port import Broker
from orchestrator.engine.ports.queues import Trigger
from tests.benchmarks.figures import Figure
from tests.benchmarks.scale import Scale
from tests.servers.kafka_server import KafkaServer
from tests.servers.loopback_server import LoopbackServer
from tests.servers.nats_server import NatsServer
from tests.servers.rabbitmq_server import RabbitMQServer

_AT_ONCE: Final = 64
_GROUPS: Final = 100
_ROUNDS: Final = 3
_WAYS: Final = 300
_WARM_UP: Final = 200
_WAY_SECONDS: Final = 0.005
_PATIENCE_SECONDS: Final = 120.0
_TYPE: Final = "membership.change.progressed.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one queue did in one round.

    Attributes:
        requests_per_second: Published and confirmed, 64 at once.
        taken_per_second: Taken and acknowledged while as many wait.
        events_per_second: Published and confirmed, one after the other within a group, 64 groups at once.
        way_milliseconds: From publishing a request to its being given out, 200 a second: the middle and the 99th of a
            hundred.
    """

    requests_per_second: float
    taken_per_second: float
    events_per_second: float
    way_milliseconds: tuple[float, float]


_FIGURES: Final[tuple[tuple[str, str, Callable[[Measured], float]], ...]] = (
    ("requests published", "/s", attrgetter("requests_per_second")),
    ("requests taken", "/s", attrgetter("taken_per_second")),
    ("events published", "/s", attrgetter("events_per_second")),
    ("request to daemon, middle", "ms", lambda found: found.way_milliseconds[0]),
    ("request to daemon, p99", "ms", lambda found: found.way_milliseconds[1]),
)


async def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Measure part q."""
    with _servers() as servers:
        # In turns, so that what else the machine does meets all of them.
        rounds = [
            {name: await _measured(server, directory, scale.requests) for name, server in servers.items()}
            for _ in range(_ROUNDS)
        ]
        memory = {name: _resident_mebibytes(server) for name, server in servers.items()}
    figures: list[Figure] = []
    for what, unit, of in _FIGURES:
        values = {name: median(of(found[name]) for found in rounds) for name in servers}
        for name, value in values.items():
            times = median(of(found[name]) / of(found["NATS"]) for found in rounds)
            figures.append(Figure("q", f"{what}: {name}", value, unit, note=f"{times:.2f} times NATS"))
    figures += [Figure("q", f"server's memory: {name}", value, "MiB") for name, value in memory.items()]
    return figures


@contextmanager
def _servers() -> Iterator[dict[str, LoopbackServer]]:
    with NatsServer() as nats, RabbitMQServer() as rabbitmq, KafkaServer() as kafka:
        yield {"NATS": nats, "RabbitMQ": rabbitmq, "Kafka": kafka}


async def _measured(server: LoopbackServer, directory: Path, count: int) -> Measured:
    async with _opened(server, directory) as broker:
        await broker.check()
        async with aclosing(broker.triggers()) as triggers:
            # The first of all makes connections, and a member of a group waits for its partitions.
            await _all_at_once(broker, _WARM_UP)
            await _take(triggers, _WARM_UP)
            way = await _way(broker, triggers)
        began = time.perf_counter()
        await _all_at_once(broker, count)
        published = time.perf_counter() - began
        async with aclosing(broker.triggers()) as triggers:
            await _take(triggers, 1)
            began = time.perf_counter()
            await _take(triggers, count - 1)
            taken = time.perf_counter() - began
        began = time.perf_counter()
        await _events(broker, count)
        events = time.perf_counter() - began
    return Measured(
        requests_per_second=count / published,
        taken_per_second=(count - 1) / taken,
        events_per_second=count / events,
        way_milliseconds=way,
    )


@asynccontextmanager
async def _opened(server: LoopbackServer, directory: Path) -> AsyncIterator[Broker]:
    assert isinstance(server, NatsServer | RabbitMQServer | KafkaServer)
    async with connect(server.url, directory=directory, limits=Limits()) as broker:
        yield broker


def _request(number: int) -> bytes:
    data = {"kind": "add_members", "privacy_group_id": f"group {number % _GROUPS}", "members": ["k" * 44]}
    event = {"specversion": "1.0", "id": str(uuid.uuid4()), "source": "/bench", "type": "a.request", "data": data}
    return json.dumps(event).encode()


async def _all_at_once(broker: Broker, count: int) -> None:
    async def some(first: int) -> None:
        for number in range(first, count, _AT_ONCE):
            await broker.request(_request(number))

    async with asyncio.timeout(_PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
        for first in range(_AT_ONCE):
            tasks.create_task(some(first))


async def _take(triggers: AsyncIterator[Trigger], count: int) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        for _ in range(count):
            await (await anext(triggers)).acknowledge()


async def _events(broker: Broker, count: int) -> None:
    async def of_a_group(group: int) -> None:
        for _ in range(count // _AT_ONCE):
            body = json.dumps({"subject": f"group {group}", "data": "x" * 600}).encode()
            await broker.publish(_TYPE, str(uuid.uuid4()), body)

    async with asyncio.timeout(_PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
        for group in range(_AT_ONCE):
            tasks.create_task(of_a_group(group))


async def _way(broker: Broker, triggers: AsyncIterator[Trigger]) -> tuple[float, float]:
    """Return how long requests take to be given out, in milliseconds: the middle one, and the 99th of a hundred."""
    sent: dict[bytes, float] = {}
    ways: list[float] = []

    async def send() -> None:
        for number in range(_WAYS):
            body = _request(number)
            sent[body] = time.perf_counter()
            await broker.request(body)
            await asyncio.sleep(_WAY_SECONDS)

    async with asyncio.timeout(_PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
        tasks.create_task(send())
        while len(ways) < _WAYS:
            trigger = await anext(triggers)
            ways.append((time.perf_counter() - sent[trigger.body]) * 1000)
            await trigger.acknowledge()
    ways.sort()
    return ways[len(ways) // 2], ways[len(ways) * 99 // 100]


def _resident_mebibytes(server: LoopbackServer) -> float:
    for line in Path(f"/proc/{server.process_id}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the server does not run")
