"""Several replicas on one PostgreSQL and one queue: how lanes are spread, what idle ones cost, and what they bring."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import psycopg

from orchestrator.broker.connection import connect
from orchestrator.broker.port import Broker
from orchestrator.store import migrate
from tests.benchmarks.figures import Figure, at_least, at_most
from tests.benchmarks.harness import Devnet, group_id, running_devnet, running_queue, trigger, write_config
from tests.benchmarks.machine import busy_seconds
from tests.benchmarks.processes import Child, child, orchestrator
from tests.benchmarks.scale import Scale
from tests.servers.ports import free_port
from tests.servers.postgresql_server import PostgreSQLServer

LOOK_SECONDS: Final = 0.05
PATIENCE_SECONDS: Final = 180.0
LONGEST_TAKE_OVER_SECONDS: Final = 10.0
TIMES: Final = 2.0
"""Throughput of three replicas to one's, where each has a processor."""
PROCESSORS_FOR_ALL: Final = 6
"""Three replicas, the nodes, PostgreSQL with the queue, and what counts."""
TIMES_AS_MANY: Final = 6
"""Groups there, to those on fewer processors: one does as much as three within the blocks that a group needs anyhow."""
_HELD: Final = (
    "SELECT split_part(holder, '#', 1), count(*) FROM lanes WHERE holder IS NOT NULL AND lease_until > %s GROUP BY 1"
)


class CountingServer(PostgreSQLServer):
    """Counts statements."""

    def command(self) -> list[str]:
        """See LoopbackServer."""
        return [*super().command(), "-c", "shared_preload_libraries=pg_stat_statements"]


@dataclass(frozen=True, slots=True)
class Replicas:
    """Daemons at work.

    Attributes:
        devnet: The nodes.
        queue: Takes requests.
        connection: Looks into the store.
        session: Asks the daemons.
        running: The daemons, r1 first.
    """

    devnet: Devnet
    queue: Broker
    connection: psycopg.AsyncConnection[tuple[Any, ...]]
    session: aiohttp.ClientSession
    running: list[Child]

    async def rows(self, statement: Any, *values: Any) -> list[tuple[Any, ...]]:
        return await (await self.connection.execute(statement, values)).fetchall()

    async def held(self) -> Counter[str]:
        """Return how many lanes each replica holds."""
        return Counter(dict(await self.rows(_HELD, int(time.time() * 1_000_000))))

    async def ask(self, names: list[str], kind: str, first: int, last: int) -> None:
        members = self.devnet.members[first:last]
        requests = (trigger(f"{name}-{kind}", kind, group_id(name), members) for name in names)
        await asyncio.gather(*map(self.queue.request, requests))

    async def succeeded(self) -> int:
        ((number,),) = await self.rows("SELECT count(*) FROM changes WHERE state = 'succeeded'")
        return int(number)

    def cpu_seconds(self) -> dict[str, float]:
        """Return the processor time that was used, by whom."""
        daemons = sum(daemon.cpu_seconds() for daemon in self.running)
        nodes = self.devnet.process.cpu_seconds() if self.devnet.process is not None else 0.0
        return {"daemons": daemons, "nodes": nodes, "all processes of the machine": busy_seconds()}

    async def calls(self) -> list[float]:
        """Return how many JSON-RPC calls each has made."""
        found = []
        for daemon in self.running:
            async with self.session.get(daemon.said + "/metrics") as answer:
                lines = (await answer.text()).splitlines()
            counts = (line for line in lines if line.startswith("orchestrator_rpc_calls_total{"))
            found.append(sum(float(line.rpartition(" ")[2]) for line in counts))
        return found


@asynccontextmanager
async def replicas(directory: Path, number: int) -> AsyncIterator[Replicas]:
    """Run nodes, a queue, PostgreSQL and so many daemons."""
    async with AsyncExitStack() as stack:
        server = await asyncio.to_thread(CountingServer)
        stack.push_async_callback(asyncio.to_thread, server.close)
        await asyncio.to_thread(server.start)
        url = server.url_of(server.create_database())
        await asyncio.to_thread(migrate, url)
        devnet = await stack.enter_async_context(running_devnet(directory))
        queue_url = await stack.enter_async_context(running_queue())
        session = await stack.enter_async_context(aiohttp.ClientSession())
        running = []
        for place in range(1, number + 1):
            folder = directory / f"r{place}"
            folder.mkdir()
            more = [f'[engine]\nreplica = "r{place}"']
            listen = f"127.0.0.1:{free_port()}"
            config = write_config(folder, devnet, queue_url, store_url=url, listen=listen, more=more)
            command = orchestrator("run", "--config", str(config))
            running.append(await stack.enter_async_context(child(folder / "daemon.log", command)))
        queue = await stack.enter_async_context(connect(queue_url, directory=directory / "queue"))
        await queue.check()
        connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
        stack.push_async_callback(connection.close)
        await connection.execute("CREATE EXTENSION pg_stat_statements")
        yield Replicas(devnet, queue, connection, session, running)


async def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Measure part replicas."""
    figures, seconds, processors = [], {}, os.cpu_count() or 1
    enough = processors >= PROCESSORS_FOR_ALL
    groups = scale.shared_groups * (TIMES_AS_MANY if enough else 1)
    note = f"{2 * groups} changes, {processors} processors for all"
    for number in (1, scale.replicas):
        folder = directory / str(number)
        folder.mkdir()
        async with replicas(folder, number) as harness:
            figures += await _idle(harness, scale.idle_seconds)
            before = harness.cpu_seconds()
            seconds[number], spread = await _work(harness, groups)
            taken = seconds[number]
            figures.append(Figure("replicas", f"{number}: creations and additions at once", taken, "s", note=note))
            for who, used in harness.cpu_seconds().items():
                each = 1000 * (used - before[who]) / (2 * groups)
                busy = f"{(used - before[who]) / taken:.2f} processors kept busy"
                name = f"{number}: processor time for a change, {who}"
                figures.append(Figure("replicas", name, each, "ms", note=busy))
            if number > 1:
                figures += spread
                figures += await _death(harness, scale.shared_groups)
    ratio = seconds[1] / seconds[scale.replicas]
    bound = at_least(TIMES) if enough else None
    name = f"{scale.replicas} replicas against one, throughput"
    return [*figures, Figure("replicas", name, ratio, "times", bound, note)]


async def _idle(harness: Replicas, seconds: float) -> list[Figure]:
    """Count what is asked while there is nothing to do."""
    await asyncio.sleep(5)  # until all have started what they do all the time
    before = await harness.calls()
    await harness.rows("SELECT pg_stat_statements_reset()")
    await asyncio.sleep(seconds)
    counted = (
        "SELECT sum(calls), sum(total_exec_time) FROM pg_stat_statements AS s JOIN pg_database AS d ON d.oid = s.dbid "
        "WHERE datname = current_database()"
    )
    ((statements, milliseconds),) = await harness.rows(counted)
    calls = [(after - earlier) / seconds for earlier, after in zip(before, await harness.calls(), strict=True)]
    number, note = len(harness.running), f"{seconds:g} s, blocks of 1 s, three nodes"
    each = float(statements) / seconds / number
    return [
        Figure("replicas", f"{number} idle: statements for each", each, "1/s", note=note),
        Figure("replicas", f"{number} idle: PostgreSQL executes", float(milliseconds) / seconds / 10, "%", note=note),
        Figure("replicas", f"{number} idle: calls to nodes, all together", sum(calls), "1/s", note=note),
    ]


async def _work(harness: Replicas, groups: int) -> tuple[float, list[Figure]]:
    """Create and extend groups; return how long it took, and how the lanes were spread meanwhile."""
    names = [f"work-{number}" for number in range(groups)]
    done, begun = await harness.succeeded(), time.monotonic()
    shares: Counter[str] = Counter()
    await harness.ask(names, "create_group", 0, 2)
    await harness.ask(names, "add_members", 2, 3)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await harness.succeeded() < done + 2 * groups:
            shares += await harness.held()
            await asyncio.sleep(LOOK_SECONDS)
    parts = [100 * shares[f"r{place}"] / max(shares.total(), 1) for place in range(1, len(harness.running) + 1)]
    spread = [
        Figure(
            "replicas", "share of the lanes, the largest", max(parts), "%", note="of all that were held at each look"
        ),
        Figure("replicas", "share of the lanes, the smallest", min(parts), "%"),
    ]
    return time.monotonic() - begun, spread


async def _death(harness: Replicas, groups: int) -> list[Figure]:
    """Kill one while all have lanes, and look who goes on with its."""
    names = [f"death-{number}" for number in range(groups)]
    done = await harness.succeeded()
    await harness.ask(names, "create_group", 0, 2)
    await harness.ask(names, "add_members", 2, 3)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (await harness.held())["r1"]:  # noqa: ASYNC110 - what changes it is another process
            await asyncio.sleep(LOOK_SECONDS)
        harness.running[0].process.send_signal(signal.SIGKILL)
        struck = time.monotonic()
        query = "SELECT privacy_group_id, token FROM lanes WHERE split_part(holder, '#', 1) = 'r1'"
        orphans = dict(await harness.rows(query))
        heirs: dict[str, str] = {}
        while len(heirs) < len(orphans):
            rows = await harness.rows("SELECT privacy_group_id, token, split_part(holder, '#', 1) FROM lanes")
            heirs |= {
                group: str(heir or "given back")
                for group, token, heir in rows
                if group in orphans and group not in heirs and token > orphans[group]
            }
            await asyncio.sleep(LOOK_SECONDS)
        taken = time.monotonic() - struck
        while await harness.succeeded() < done + 2 * groups:  # noqa: ASYNC110 - what changes it is another process
            await asyncio.sleep(LOOK_SECONDS)
    counts = Counter(heirs.values())
    note = f"{len(orphans)} lanes of the dead one: " + ", ".join(f"{heir} {n}" for heir, n in sorted(counts.items()))
    bound = at_most(LONGEST_TAKE_OVER_SECONDS)
    return [Figure("replicas", "SIGKILL of one: the last of its lanes taken over", taken, "s", bound, note)]
