"""Changes on many groups while everything fails: ``python -m tests.soak --minutes 2`` (``make soak MINUTES=2``).

Replicas of the daemon, as processes of their own, share a PostgreSQL and a NATS server and drive changes of 50 groups
on a devnet. Faults of all kinds strike, and replicas are killed or restarted in order, until the time is over. Then
everything is healed, and once nothing moves any more the invariants are checked. With ``--rolling`` nothing fails, and
replicas are restarted one after the other all the time: then no lane may lie for longer than a lease either. Exit code
0: all of it holds.
"""

import argparse
import asyncio
import base64
import contextlib
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random, SystemRandom

import sqlalchemy as sa
import structlog

from orchestrator.broker.names import Access, Limits, Names
from orchestrator.broker.nats.queue import NatsBroker
from orchestrator.devnet import DevnetConfig, running_devnet
from orchestrator.store.commits.schema_version import migrate
from orchestrator.store.database.connections import normalised
from tests.integration.faults import chain_truth as truth
from tests.integration.faults.striking import FAULTS, Surroundings, heal
from tests.servers.loopback_server import guard
from tests.servers.nats_server import NatsServer
from tests.servers.ports import free_port
from tests.servers.postgresql_server import PostgreSQLServer
from tests.soak import rolling
from tests.soak.checks import (
    check_chain,
    check_changes,
    check_events,
    check_harm,
    parted_now,
    published_on_nats,
    refused_returns,
    returns_now,
    told,
    unpublished,
)
from tests.soak.replica import OWNER, Replica, nodes_and_account
from tests.soak.requesting import Group, Ledger, Requester

MOST_MINUTES = 7 * 24 * 60
GROUPS = 50
ROLLING_GROUPS = 15
"""Additions of former members to one node wait for each other: many groups would take long to come to rest."""
MOST_REPLICAS = 9
PROGRESS_SECONDS = 5.0
QUIESCENCE_SECONDS = 300.0
"""In which one more change has to come to rest: additions of former members to one node go one after the other."""
STRIKING = tuple(name for name in FAULTS if name != "clock_jump")
"""All but the clock's: the replicas are other processes. Two strike at once, one of each half."""


@dataclass(slots=True)
class Soak:
    """A running soak.

    Attributes:
        around: What can fail.
        replicas: The daemons.
        groups: The groups.
        ledger: The changes.
        struck: How often which fault struck.
        began: When, monotonic seconds.
        over: Set when no more faults are to strike.
    """

    around: Surroundings
    replicas: list[Replica]
    groups: list[Group]
    ledger: Ledger
    struck: Counter[str]
    began: float
    over: asyncio.Event

    def line(self) -> str:
        """Return one line about how far it is."""
        states = " ".join(f"{state}={count}" for state, count in sorted(self.ledger.counts().items()))
        asked = sum(len(group.asked) for group in self.groups)
        kills = sum(replica.kills for replica in self.replicas)
        restarts = sum(replica.restarts for replica in self.replicas)
        seconds = time.monotonic() - self.began
        return (
            f"{seconds:6.0f} s  asked={asked} {states}  faults={self.struck.total()} kills={kills} restarts={restarts}"
        )

    async def tell(self) -> None:
        """Print a line now and then, until cancelled."""
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            say(self.line())

    async def strike(self, names: Sequence[str]) -> None:
        """Let some faults strike, one after the other, until the soak is over."""
        chance = self.around.chance
        while not self.over.is_set():
            name = chance.choice(names)
            self.struck[name] += 1
            await FAULTS[name](self.around, chance.uniform(0.5, 3.0))
            await asyncio.sleep(chance.uniform(1.0, 6.0))

    async def kill(self) -> None:
        """Kill replicas, now and then all, or restart one in order, until the soak is over."""
        chance = self.around.chance
        while not self.over.is_set():
            await asyncio.sleep(chance.uniform(5.0, 15.0))
            if chance.random() < 0.3:
                await chance.choice(self.replicas).restart()
                continue
            for replica in self.replicas if chance.random() < 0.2 else [chance.choice(self.replicas)]:
                replica.kill()

    async def quiet(self, engine: sa.Engine) -> bool:
        """Wait until all changes rest, all events are published and all nodes agree; returns whether they do."""
        most, deadline = 0, time.monotonic() + QUIESCENCE_SECONDS
        while time.monotonic() < deadline:
            await asyncio.sleep(1.0)
            asked = [request_id for group in self.groups for request_id, _ in group.asked]
            read = await asyncio.to_thread(self.ledger.read)
            all_of_them = {*asked, *self.ledger.states}
            rested = sum(map(self.ledger.rests, all_of_them)) if read else 0
            if rested > most:
                most, deadline = rested, time.monotonic() + QUIESCENCE_SECONDS
            if (
                read
                and rested == len(all_of_them)
                and truth.is_level(self.around.devnet)
                and await asyncio.to_thread(unpublished, engine) == 0
            ):
                return True
        return False


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def soak(minutes: float, seed: int, folder: Path, replicas: int) -> list[str]:
    """Run a soak and return what does not hold at its end.

    Args:
        minutes: For how long faults strike.
        seed: Of everything that is drawn; the processes' timing is their own.
        folder: For logs and configurations.
        replicas: How many daemons.
    """
    async with harness(folder, Random(seed), replicas) as (running, engine, broker):  # noqa: S311 - repeatable, not secret
        around, chance = running.around, running.around.chance
        requester = Requester(broker, running.ledger, around.devnet, chance, running.groups)
        async with asyncio.TaskGroup() as tasks:
            daemons = [tasks.create_task(replica.run()) for replica in running.replicas]
            others = [tasks.create_task(running.ledger.run()), tasks.create_task(running.tell())]
            asking = [tasks.create_task(requester.run(group)) for group in list(running.groups)]
            striking = [tasks.create_task(running.strike(names)) for names in (STRIKING[::2], STRIKING[1::2])]
            striking.append(tasks.create_task(running.kill()))
            await asyncio.sleep(minutes * 60)
            say("healing, and waiting until nothing moves any more")
            requester.stopping.set()
            running.over.set()
            await asyncio.wait(striking)
            await asyncio.to_thread(around.nats.start)
            if around.postgresql is not None:
                await asyncio.to_thread(around.postgresql.start)
            await heal(around.devnet)
            await asyncio.wait(asking)
            problems = (
                [] if await running.quiet(engine) else [f"nothing more came to rest for {QUIESCENCE_SECONDS:.0f} s"]
            )
            say(running.line())
            parted = requester.parted | parted_now(around.devnet, running.groups)
            say(f"parked since a reorganisation really parted the new member: {len(parted)}")
            returns = requester.returns | returns_now(around.devnet, running.groups)
            refused = await asyncio.to_thread(refused_returns, engine, returns)
            say(f"parked since the member really may not return: {len(refused)}")
            problems += await asyncio.to_thread(lambda: list(check_changes(engine, running.groups, parted, refused)))
            problems += check_chain(around.devnet, running.groups, OWNER, parted, refused)
            problems += check_harm(around.devnet, running.groups, parted)
            problems += await check_events(engine, partial(published_on_nats, around.nats.url))
            await _cancelled([*others, *daemons])
        say("faults: " + " ".join(f"{name}={count}" for name, count in sorted(running.struck.items())))
        return problems + [problem for replica in running.replicas for problem in replica.problems]


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@contextlib.asynccontextmanager
async def harness(
    folder: Path, chance: Random, number_of_replicas: int
) -> AsyncIterator[tuple[Soak, sa.Engine, NatsBroker]]:
    """Start the servers and nodes, and set up what will run on them."""
    with contextlib.ExitStack() as servers:
        queue = servers.enter_context(NatsServer())
        postgresql = servers.enter_context(PostgreSQLServer())
        url = postgresql.url_of(postgresql.create_database())
        migrate(url)
        engine = sa.create_engine(normalised(url), pool_pre_ping=True)
        servers.callback(engine.dispose)
        broker = NatsBroker(queue.url, names=Names(), limits=Limits(), access=Access())
        config = DevnetConfig(
            base_port=0, block_period_seconds=1.0, enclave_timeout_ms=1000.0, seed=chance.randrange(1 << 31)
        )
        try:
            async with running_devnet(config) as devnet:
                around = Surroundings(devnet=devnet, nats=queue, postgresql=postgresql, clock=None, chance=chance)
                replicas = [
                    Replica(_configured(folder, number, url, around), folder / f"replica{number}.log", chance)
                    for number in range(1, number_of_replicas + 1)
                ]
                groups = [Group(base64.b64encode(chance.randbytes(32)).decode()) for _ in range(GROUPS)]
                yield (
                    Soak(around, replicas, groups, Ledger(engine), Counter(), time.monotonic(), asyncio.Event()),
                    engine,
                    broker,
                )
        finally:
            await broker.close()


def _configured(folder: Path, number: int, url: str, around: Surroundings) -> Path:
    path = folder / f"replica{number}.toml"
    path.write_text(
        f'[store]\nurl = "{url}"\n[broker]\nurl = "{around.nats.url}"\n[api]\nlisten = "127.0.0.1:{free_port()}"\n'
        f'[chain]\nconfirmations = 2\nproof_blocks = 2\n[log]\nformat = "json"\n'
        f"{nodes_and_account(around.devnet, folder)}"
    )
    return path


async def roll(minutes: float, seed: int, folder: Path, replicas: int) -> list[str]:
    """Restart replicas one after the other while changes are asked for; returns what does not hold. See `soak`."""
    chance, problems = Random(seed), []  # noqa: S311 - repeatable, not secret
    with contextlib.ExitStack() as servers:
        queue = servers.enter_context(NatsServer())
        postgresql = servers.enter_context(PostgreSQLServer())
        url = postgresql.url_of(postgresql.create_database())
        migrate(url)
        async with rolling.harness(
            folder, chance, store_url=url, queue_url=queue.url, replicas=replicas, groups=ROLLING_GROUPS
        ) as running:
            until = time.monotonic() + minutes * 60
            while time.monotonic() < until:
                problems += await rolling.restart_each(running)
                restarts = sum(replica.restarts for replica in running.replicas)
                longest = running.watch.longest_seconds
                say(f"{dict(running.ledger.counts())}  restarts={restarts} longest without driver={longest:.2f} s")
            await running.quiet()
            if running.watch.longest_seconds > rolling.LEASE_SECONDS:
                problems.append(f"a lane lay for {running.watch.longest_seconds:.1f} s, longer than a lease")
            return problems + await running.problems()


def _hush() -> None:
    """Leave the progress to be read: what this process's own ends of broken connections say is expected."""
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def main() -> int:
    """Run a soak from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="for how long faults strike")
    parser.add_argument("--seed", type=int, default=None, help="of everything that is drawn")
    parser.add_argument("--replicas", type=int, default=2, help="how many daemons")
    parser.add_argument("--rolling", action="store_true", help="no faults: orderly restarts, one after the other")
    given = parser.parse_args()
    if not 1 <= given.replicas <= MOST_REPLICAS:
        parser.error(f"--replicas must be 1 to {MOST_REPLICAS}")
    if not 0 < given.minutes <= MOST_MINUTES:
        parser.error(f"--minutes must be above 0 and at most {MOST_MINUTES}, a week")
    seed = given.seed if given.seed is not None else SystemRandom().randrange(1 << 31)
    _hush()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    say(f"soak of {given.minutes:g} minutes, seed {seed}, {GROUPS} groups, {given.replicas} replicas; logs in {folder}")
    try:
        problems = asyncio.run((roll if given.rolling else soak)(given.minutes, seed, folder, given.replicas))
    finally:
        guard.close()
    say(f"{len(problems)} problems:\n{told(problems)}" if problems else "all invariants hold")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
