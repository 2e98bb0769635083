"""Two replicas on one PostgreSQL: one is killed or stopped while it works, and the other one goes on with its groups.

Each trial asks for new groups with an addition each, strikes one replica while it holds lanes, and waits until every
change has ended. A stopped replica is then woken.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, Literal

import aiohttp
import psycopg
from psycopg.rows import dict_row

from orchestrator.broker.connection import connect
from orchestrator.broker.port import Broker
from orchestrator.membership.news.status import EventType
from tests.benchmarks.harness import OWNER, Devnet, group_id, running_devnet, running_queue, trigger, write_config
from tests.benchmarks.processes import Child, child, orchestrator
from tests.integration.takeover.sendings import Sendings
from tests.patience import patient
from tests.servers.ports import consecutive_ports
from tests.servers.postgresql_server import PostgreSQLServer

Strike = Literal["kill", "stop"]
SIGNALS: Final[dict[Strike, signal.Signals]] = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
LATEST_STRIKE_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.05
PATIENCE_SECONDS: Final = 60.0
HELD_UP: Final = (
    "SELECT privacy_group_id, holder, lease_until, due_at FROM lanes WHERE holder IS NOT NULL OR due_at IS NOT NULL",
    "SELECT change_id, state, ready_at FROM changes WHERE state NOT IN ('succeeded', 'failed', 'cancelled')",
    "SELECT name, holder, lease_until FROM leases",
    "SELECT pid, state, wait_event, backend_xid, state_change, query FROM pg_stat_activity WHERE state <> 'idle'",
)
TRANSACTIONS: Final = 3
"""Private transactions of a group that was created and extended once: the creation, the lock, the addition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What became of one strike.

    Attributes:
        held: How many lanes the struck replica held.
        taken_over_seconds: When the other one had the last of them.
        done_seconds: When all changes had ended.
        stale: What the woken replica sent.
        wrong: Groups and changes that ended otherwise than they should.
    """

    held: int
    taken_over_seconds: float
    done_seconds: float
    stale: tuple[str, ...]
    wrong: tuple[str, ...]


@dataclass(slots=True)
class Replica:
    """One of the two.

    Attributes:
        config: Its configuration.
        listen: Where its HTTP listens; the names under which its processes hold lanes have it in them.
        sendings: What it sends.
        stack: Ends its process.
        child: Its process.
    """

    config: Path
    listen: str
    sendings: Sendings
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    child: Child | None = None

    @property
    def running(self) -> Child:
        """Its process."""
        if self.child is None:
            raise AssertionError("it was not started")
        return self.child

    async def start(self) -> None:
        """Start its process anew."""
        await self.stack.aclose()
        command = orchestrator("run", "--config", str(self.config), "--migrate")
        self.child = await self.stack.enter_async_context(child(self.config.with_name("replica.log"), command))

    def strike(self, number: signal.Signals) -> None:
        """Send its process a signal."""
        os.kill(self.running.process.pid, number)


class Replicas:
    """The two replicas and what they work on.

    Args:
        devnet: The nodes.
        queue: Takes requests.
        connection: Looks into the database.
        session: Looks at the nodes and the replicas.
        both: The replicas.
        random: Chooses the victim and the moment.
        groups: How many are made in each trial.
    """

    def __init__(
        self,
        devnet: Devnet,
        queue: Broker,
        connection: psycopg.AsyncConnection[dict[str, Any]],
        session: aiohttp.ClientSession,
        both: tuple[Replica, Replica],
        random: Random,
        groups: int,
    ) -> None:
        self._devnet = devnet
        self._queue = queue
        self._connection = connection
        self._session = session
        self._both = both
        self._random = random
        self._groups = groups
        self._trials = 0

    async def trial(self, how: Strike) -> Trial:
        """Strike one of the two while it holds lanes, and see to it that both run again."""
        while True:  # with few groups it may be too late
            groups = await self._ask()
            names = [f"{name}-{what}" for name in groups for what in ("create", "add")]
            await asyncio.sleep(self._random.uniform(0.0, LATEST_STRIKE_SECONDS))
            victim = await self._busy_one(names)
            if victim is None:
                continue
            victim.strike(SIGNALS[how])
            struck_at = time.monotonic()
            held = await self._held(victim)
            if held:
                break
            # It gave its last lane back between the look and the strike.
            await self._bring_back(victim, how)
            await self._until(lambda names=names: self._all_ended(names))  # type: ignore[misc] # its type is not inferred
        await self._until(lambda: self._none_of(held, victim))
        taken_over = time.monotonic() - struck_at
        await self._until(lambda: self._all_ended(names))
        done = time.monotonic() - struck_at
        woken_at = time.monotonic()
        await self._bring_back(victim, how)
        stale: list[str] = []
        if how == "stop":
            await self._until(lambda: self._rests(victim))
            stale = victim.sendings.since(woken_at)
        return Trial(
            held=len(held),
            taken_over_seconds=taken_over,
            done_seconds=done,
            stale=tuple(stale),
            wrong=await self._wrong(groups, names),
        )

    async def _bring_back(self, victim: Replica, how: Strike) -> None:
        if how == "stop":
            victim.strike(signal.SIGCONT)
        else:
            await victim.running.process.wait()
            await victim.start()

    async def _ask(self) -> dict[str, str]:
        """Ask for new groups, each with an addition; returns their ids by name."""
        self._trials += 1
        groups = {name: group_id(name) for name in (f"{self._trials}-{n}" for n in range(self._groups))}
        for name, group in groups.items():
            await self._queue.request(trigger(f"{name}-create", "create_group", group, self._devnet.members[:2]))
            await self._queue.request(trigger(f"{name}-add", "add_members", group, self._devnet.members[2:3]))
        return groups

    async def _busy_one(self, requests: list[str]) -> Replica | None:
        """Wait for a replica that holds lanes; None when everything has ended."""
        async with asyncio.timeout(patient(PATIENCE_SECONDS)):
            while not await self._all_ended(requests):
                for victim in self._random.sample(self._both, 2):
                    if await self._held(victim):
                        return victim
                await asyncio.sleep(LOOK_SECONDS)
        return None

    async def _held(self, victim: Replica) -> set[tuple[str, int]]:
        """Return the lanes that the victim holds, with their tokens."""
        rows = await self._rows("SELECT privacy_group_id, token, holder FROM lanes WHERE holder IS NOT NULL")
        return {(row["privacy_group_id"], row["token"]) for row in rows if victim.listen in row["holder"]}

    async def _none_of(self, held: set[tuple[str, int]], victim: Replica) -> bool:
        """Whether a victim has none of some lanes any more, apart from those in which nothing is left to do."""
        left = "SELECT DISTINCT privacy_group_id FROM changes WHERE state NOT IN ('succeeded', 'failed', 'cancelled')"
        groups = {row["privacy_group_id"] for row in await self._rows(left)}
        return not {lane for lane in held if lane[0] in groups} & await self._held(victim)

    async def _all_ended(self, requests: list[str]) -> bool:
        counted = "SELECT count(*) AS ended FROM changes WHERE request_id = ANY(%s) AND state = 'succeeded'"
        return bool((await self._rows(counted, requests))[0]["ended"] == len(requests))

    async def _rests(self, replica: Replica) -> bool:
        """Whether a replica drives no lane any more, as it tells itself."""
        try:
            async with self._session.get(replica.running.said + "/metrics") as response:
                return "orchestrator_lanes 0.0" in (await response.text()).splitlines()
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def _wrong(self, groups: dict[str, str], requests: list[str]) -> tuple[str, ...]:
        told = await self._rows(
            "SELECT request_id, count(*) AS times FROM outbox WHERE request_id = ANY(%s) AND type = %s GROUP BY 1",
            requests,
            EventType.CHANGE_SUCCEEDED.value,
        )
        times = {row["request_id"]: row["times"] for row in told}
        wrong = [f"{name} ended {times.get(name, 0)} times" for name in requests if times.get(name) != 1]
        for name, group in groups.items():
            call = {"jsonrpc": "2.0", "id": 1, "method": "priv_getTransactionCount", "params": [OWNER, group]}
            async with self._session.post(self._devnet.http(1), json=call) as response:
                count = int((await response.json())["result"], 16)
            if count != TRANSACTIONS:
                wrong.append(f"{name} has {count} transactions")
        return tuple(wrong)

    async def _rows(self, statement: Any, *values: Any) -> list[dict[str, Any]]:
        return await (await self._connection.execute(statement, values)).fetchall()

    async def _until(self, reached: Callable[[], Awaitable[object]]) -> None:
        try:
            async with asyncio.timeout(patient(PATIENCE_SECONDS)):
                while not await reached():  # noqa: ASYNC110 - what changes it is another process
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            # Logs and database go with the trial: what holds it up shows now or never.
            seen = [row for statement in HELD_UP for row in await self._rows(statement)]
            raise AssertionError("\n".join(["it does not go on:", *map(str, seen)])) from None


@asynccontextmanager
async def two_replicas(
    directory: Path, postgresql: PostgreSQLServer, *, seed: int, groups: int = 6, lease_seconds: float | None = None
) -> AsyncIterator[Replicas]:
    """Run nodes, a queue and two replicas.

    Args:
        directory: For configurations and logs.
        postgresql: Where the database is made.
        seed: Of the victims and the moments.
        groups: How many are made in each trial.
        lease_seconds: For how long lanes are held; None for what is usual.
    """
    store_url = postgresql.url_of(postgresql.create_database())
    engine = [] if lease_seconds is None else [f"[engine]\nlease_seconds = {lease_seconds}"]
    async with AsyncExitStack() as stack:
        devnet = await stack.enter_async_context(running_devnet(directory))
        queue_url = await stack.enter_async_context(running_queue())
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS))
        )
        both = []
        ports = consecutive_ports(2)
        for name, port in (("one", ports), ("other", ports + 1)):
            (directory / name).mkdir()
            sendings, listen = Sendings(), f"127.0.0.1:{port}"
            http = [
                await stack.enter_async_context(sendings.between(devnet.http(number)))
                for number in range(1, devnet.nodes + 1)
            ]
            config = write_config(
                directory / name,
                devnet,
                queue_url,
                store_url=store_url,
                http=http,
                listen=listen,
                more=engine,
            )
            both.append(Replica(config, listen, sendings))
            stack.push_async_callback(both[-1].stack.aclose)
        queue = await stack.enter_async_context(connect(queue_url, directory=directory / "queue"))
        await queue.check()
        connection = await psycopg.AsyncConnection.connect(store_url, autocommit=True, row_factory=dict_row)
        stack.push_async_callback(connection.close)
        replicas = Replicas(devnet, queue, connection, session, (both[0], both[1]), Random(seed), groups)  # noqa: S311 - a plan that can be repeated
        for replica in both:
            await replica.start()
        yield replicas
