"""What all parts of one simulation share: chance, time, the network, the store, and what may happen to a replica."""

import asyncio
import sys
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.devnet.config import DevnetConfig
from orchestrator.devnet.emulation import Emulation
from orchestrator.store.commits.database import Database
from tests.simulation.fault_profile import FaultProfile
from tests.simulation.proxy import Proxy

if TYPE_CHECKING:
    from tests.simulation.checks import Checks

T = TypeVar("T")

LONGEST_FREEZE_SECONDS = 60.0

START = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """One simulation.

    Args:
        seed: Of everything that is left to chance.
        profile: What goes wrong.
        chance: The one source of chance.
        database: The store, in memory.
        trace: Whether to print what happens.
        enclave: The kind of all enclaves.
        bundle_limit_bytes: The largest history that they take; None for what is usual with their kind.
    """

    checks: "Checks"

    def __init__(
        self,
        seed: int,
        profile: FaultProfile,
        chance: Random,
        database: Database,
        *,
        trace: bool = False,
        enclave: str = "orion",
        bundle_limit_bytes: int | None = None,
    ) -> None:
        self.seed = seed
        self.profile = profile
        self.chance = chance
        self.database = database
        self.trace = trace
        self.stormy = True
        self.reorganises = "reorganisation" in profile.timed
        self.clocks_jump = "clock_jump" in profile.timed
        self.store_up = True
        self.events = 0
        self.loop = asyncio.get_running_loop()
        config = DevnetConfig(
            nodes=profile.nodes,
            validators=profile.validators,
            besu_version=profile.besu_version,
            gossip_ms=profile.gossip_ms,
            block_period_seconds=profile.block_seconds,
            replay_ms_per_transaction=profile.replay_ms,
            addition_ms=profile.addition_ms,
            fixed_marker_key=profile.public_traffic,
            enclave=enclave,
            bundle_limit_bytes=bundle_limit_bytes,
            seed=seed,
        )
        self.emulation = Emulation(config)
        self.proxy: Proxy | None = None
        self.lives: dict[str, Life] = {}
        self.sockets: dict[int, list[asyncio.Queue[str | None]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def advance(self) -> float | None:
        """Let the network's time be that of the loop."""
        return self.emulation.advance(self.loop.time())

    def happens(self, probability: float) -> bool:
        """Draw whether a fault happens now; there are none once everything is mended."""
        self.events += 1
        return probability > 0 and self.stormy and self.chance.random() < probability

    def latency(self) -> float:
        """Draw how long a message takes, in seconds."""
        return self.chance.choice((0.001, 0.002, 0.005, 0.03))

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do something that no replica's death ends."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def say(self, what: str) -> None:
        """Print a line of the trace."""
        if self.trace:
            sys.stdout.write(f"{self.loop.time():10.3f}  {what}" + "\n")

    def end_storm(self) -> None:
        """From now on nothing fails any more."""
        self.say("--- everything is mended")
        self.stormy = False
        self.store_up = True
        self.profile = replace(self.profile, timed=())


@dataclass(slots=True)
class Life:
    """One life of a replica, from a start to its death.

    Attributes:
        world: Where it lives.
        name: Of the replica and the life.
        alive: Whether it may do anything.
        skew_seconds: How far its wall clock is off.
        main: What it runs.
        thawed: Set while it does not stand still.
        heads: The nodes' heads when it began, by the nodes' names.
    """

    world: World
    name: str
    skew_seconds: float = 0.0
    alive: bool = True
    main: asyncio.Task[None] | None = None
    thawed: asyncio.Event = field(default_factory=asyncio.Event)
    heads: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.heads = {f"node-{node.number}": node.head.number for node in self.world.emulation.network.nodes}
        self.world.lives[self.name.partition(".")[0]] = self

    async def moment(self, what: str) -> None:
        """Be at a point at which the replica may die or stand still; whoever is dead does nothing any more."""
        world = self.world
        self.check()
        if world.trace:
            world.say(f"{self.name}: {what}")
        if world.happens(world.profile.crash):
            self.die(what)
            self.check()
        if world.happens(world.profile.freeze):
            seconds = world.chance.uniform(1.0, world.chance.choice((10.0, 25.0, LONGEST_FREEZE_SECONDS)))
            world.say(f"{self.name} stands still for {seconds:.1f} s")
            self.thawed.clear()
            world.loop.call_later(seconds, self.thawed.set)
        if not self.thawed.is_set():
            await self.thawed.wait()
            self.check()

    def die(self, at: str) -> None:
        """Lose all memory and stop, wherever each of its tasks is."""
        if self.alive:
            self.world.say(f"{self.name} dies at {at}")
            self.alive = False
            self.thawed.set()
            if self.main is not None:
                self.main.cancel()

    def check(self) -> None:
        """Let nobody go on who is dead."""
        if not self.alive:
            raise asyncio.CancelledError


class LifeClock:
    """`orchestrator.engine.ports.clock.Clock` of one life."""

    def __init__(self, life: Life) -> None:
        self._life = life

    def now(self) -> datetime:
        return START + timedelta(seconds=self._life.world.loop.time() + self._life.skew_seconds)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._life.moment("wakes")

    async def wait_for(self, awaitable: Any, seconds: float) -> Any:
        async with asyncio.timeout(seconds):
            return await awaitable
