"""Replicas that are restarted one after the other, in order, while changes are asked for all the time.

Nothing of it may be seen in the changes: none lost, doubled, reordered, or left lying for longer than a lease.
"""

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import sqlalchemy as sa

from orchestrator.broker.connection import connect
from orchestrator.broker.names import Limits
from orchestrator.broker.port import Broker
from orchestrator.devnet import Devnet, DevnetConfig, running_devnet
from orchestrator.store.database.connections import normalised
from tests.integration.faults import chain_truth as truth
from tests.patience import patient
from tests.servers.ports import free_port
from tests.soak.checks import (
    Published,
    check_chain,
    check_changes,
    check_events,
    check_harm,
    published_on_nats,
    refused_returns,
    returns_now,
    unpublished,
)
from tests.soak.replica import OWNER, Replica, nodes_and_account
from tests.soak.requesting import Group, Ledger, Requester

LEASE_SECONDS = 8.0
LOOK_SECONDS = 0.25
PATIENCE_SECONDS = 240.0

_WAITING = sa.text("""
    SELECT coalesce(max(:now - greatest(due_at, coalesce(lease_until, due_at))), 0) FROM lanes
    WHERE due_at <= :now AND (holder IS NULL OR lease_until <= :now)
""")
_HELD = sa.text(
    "SELECT split_part(holder, '#', 1) AS replica, count(*) AS lanes FROM lanes WHERE holder <> '' GROUP BY 1"
)


@dataclass(slots=True)
class Watch:
    """What is seen of the lanes from outside, again and again.

    Attributes:
        engine: The store.
        longest_seconds: For how long a lane that was due lay without anybody driving it, told as on a machine of one's
            own: where others want the processors, too, whoever is to take it comes to that later.
        shares: At each look with lanes enough for all, how many each replica had.
    """

    engine: sa.Engine
    longest_seconds: float = 0.0
    shares: list[dict[str, int]] = field(default_factory=list)

    async def run(self) -> None:
        """Look until cancelled; the store may be away for a moment."""
        while True:
            with contextlib.suppress(sa.exc.DBAPIError):
                await asyncio.to_thread(self.look)
            await asyncio.sleep(LOOK_SECONDS)

    def look(self) -> dict[str, int]:
        """Look once; returns how many lanes each replica holds."""
        with self.engine.connect() as connection:
            waited = connection.execute(_WAITING, {"now": int(time.time() * 1_000_000)}).scalar_one()
            held = {row.replica: row.lanes for row in connection.execute(_HELD)}
        self.longest_seconds = max(self.longest_seconds, float(waited) / 1_000_000 / patient(1.0))
        self.shares.append(held)
        return held


@dataclass(slots=True)
class Harness:
    """Replicas at work, and what they work on.

    Attributes:
        devnet: The nodes.
        engine: The store, for looking.
        broker: Takes requests.
        queue_url: Where.
        replicas: The daemons, named r1, r2, …
        groups: The groups.
        ledger: The changes.
        watch: Looks at the lanes.
        requester: Asks for changes.
        asking: What it does, for each group.
    """

    devnet: Devnet
    engine: sa.Engine
    broker: Broker
    queue_url: str
    replicas: list[Replica]
    groups: list[Group]
    ledger: Ledger
    watch: Watch
    requester: Requester
    asking: list[asyncio.Task[None]] = field(default_factory=list)

    async def until(self, reached: Callable[[], object | Awaitable[object]], what: str) -> None:
        """Wait for something.

        Raises:
            TimeoutError: It took too long; the message says what did.
        """
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    found = reached()
                    if await found if isinstance(found, Awaitable) else found:
                        return
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise TimeoutError(f"not within {PATIENCE_SECONDS:g} s: {what}; {self.ledger.counts()}") from None

    async def until_changes_go_on(self) -> None:
        """Wait until as many changes have been asked for and taken anew as there are groups."""
        before = len(self.ledger.states)
        await self.until(lambda: len(self.ledger.states) >= before + len(self.groups), "changes go on")

    async def held_by(self, name: str) -> int:
        """Return how many lanes a replica holds."""
        return (await asyncio.to_thread(self.watch.look)).get(name, 0)

    async def quiet(self) -> None:
        """Ask for nothing more, and wait until all that was asked for rests, is published, and is on all nodes."""
        self.requester.stopping.set()
        # What is on its way to the queue now is asked for as well, and in the ledger only when the queue has answered.
        await self.until(lambda: all(task.done() for task in self.asking), "nothing more is asked for")

        async def rests() -> bool:
            asked = [request_id for group in self.groups for request_id, _ in group.asked]
            read = await asyncio.to_thread(self.ledger.read)
            done = read and all(map(self.ledger.rests, {*asked, *self.ledger.states}))
            return done and truth.is_level(self.devnet) and await asyncio.to_thread(unpublished, self.engine) == 0

        await self.until(rests, "at rest")

    async def problems(self, published: Callable[[], Awaitable[Published]] | None = None) -> list[str]:
        """Return what does not hold now that all is quiet.

        Args:
            published: Reads what the queue got; None for NATS.
        """
        returns = self.requester.returns | returns_now(self.devnet, self.groups)
        refused = await asyncio.to_thread(refused_returns, self.engine, returns)
        found = await asyncio.to_thread(lambda: list(check_changes(self.engine, self.groups, set(), refused)))
        found += check_chain(self.devnet, self.groups, OWNER, set(), refused)
        found += check_harm(self.devnet, self.groups, set())
        found += await check_events(self.engine, published or partial(published_on_nats, self.queue_url))
        return found + [problem for replica in self.replicas for problem in replica.problems]


@contextlib.asynccontextmanager
async def harness(
    folder: Path,
    chance: Random,
    *,
    store_url: str,
    queue_url: str,
    replicas: int,
    groups: int,
    copies: int = 1,
    lease_seconds: float = LEASE_SECONDS,
    changed: Callable[[int, str], str] = lambda _, configuration: configuration,
) -> AsyncIterator[Harness]:
    """Run replicas on a migrated store and a queue, with groups whose changes are asked for all the time.

    Args:
        folder: For configurations and logs.
        chance: Of everything that is drawn.
        store_url: The PostgreSQL database.
        queue_url: The message queue.
        replicas: How many.
        groups: How many.
        copies: Of each stream (NATS).
        lease_seconds: For how long lanes are held.
        changed: Changes the configuration of a replica, by its number.
    """
    engine = sa.create_engine(normalised(store_url), pool_pre_ping=True)
    config = DevnetConfig(base_port=0, block_period_seconds=1.0, seed=chance.randrange(1 << 31))
    try:
        async with (
            connect(queue_url, directory=folder, limits=Limits(replicas=copies)) as broker,
            running_devnet(config) as devnet,
            asyncio.TaskGroup() as tasks,
        ):
            daemons = []
            for number in range(1, replicas + 1):
                path = _configured(folder, number, devnet)
                engine_section = f'[engine]\nreplica = "r{number}"\nlease_seconds = {lease_seconds}\n'
                servers = f'[store]\nurl = "{store_url}"\n[broker]\nurl = "{queue_url}"\ncopies = {copies}\n'
                path.write_text(changed(number, servers + engine_section + path.read_text()))
                daemons.append(Replica(path, folder / f"r{number}.log", chance))
            ledger, watch = Ledger(engine), Watch(engine)
            asked = [Group(base64.b64encode(chance.randbytes(32)).decode()) for _ in range(groups)]
            requester = Requester(broker, ledger, devnet, chance, asked)
            running = Harness(devnet, engine, broker, queue_url, daemons, asked, ledger, watch, requester)
            beside = [tasks.create_task(daemon.run()) for daemon in daemons]
            try:
                for daemon in daemons:
                    await running.until(daemon.at_work, "ready")
                beside += [tasks.create_task(ledger.run()), tasks.create_task(watch.run())]
                running.asking = [tasks.create_task(requester.run(group)) for group in list(asked)]
                beside += running.asking
                yield running
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.wait(beside)
    finally:
        engine.dispose()


def _configured(folder: Path, number: int, devnet: Devnet) -> Path:
    path = folder / f"r{number}.toml"
    path.write_text(
        f'[api]\nlisten = "127.0.0.1:{free_port()}"\n[chain]\nproof_blocks = 2\n[log]\nformat = "json"\n'
        f"{nodes_and_account(devnet, folder)}"
    )
    return path


async def restart_each(running: Harness, between: Sequence[Callable[[], Awaitable[object]]] = ()) -> list[str]:
    """Restart the replicas one after the other, each while it holds lanes; returns what was seen wrong.

    Args:
        running: The harness.
        between: What is done after each restart.
    """
    problems = []
    for number, replica in enumerate(running.replicas, start=1):
        name = f"r{number}"
        await running.until(lambda name=name: running.held_by(name), f"{name} holds lanes")  # type: ignore[misc] # its type is not inferred
        if not await replica.restart():
            problems.append(f"{name} was not at work")
        if left := await running.held_by(name):
            problems.append(f"{name} ended and left {left} lanes held")
        for work in between[number - 1 : number]:
            await work()
        await running.until(replica.at_work, f"{name} ready again")
    return problems
