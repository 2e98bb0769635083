"""One simulation from its seed: requests, faults, the end of the faults, and what must hold then."""

import asyncio
import base64
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from orchestrator.store.commits.database import Database
from tests.simulation.checks import Checks
from tests.simulation.endings import Endings
from tests.simulation.fault_profile import Family, FaultProfile, draw
from tests.simulation.ledger import WITHOUT_BUNDLES
from tests.simulation.messages import MessageQueue
from tests.simulation.owner import OwnerClient
from tests.simulation.person import operate
from tests.simulation.replica import Replica
from tests.simulation.thief import Thief
from tests.simulation.traffic import Application, send_pairs
from tests.simulation.visitors import Visitors
from tests.simulation.world import World

PATIENCE_SECONDS = 3600.0
"""Everything must be at rest so long after the last fault."""
LOOK_SECONDS = 2.0
GRIDLOCK_BLOCKS = 60
"""So long no block takes a transaction: longer than anybody would wait for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one seed came to.

    Attributes:
        seed: The seed.
        broken: Invariants that were broken; none for a good run.
        states: How many changes ended how.
        virtual_seconds: How long it took in virtual time.
        commits, sends, deaths: How much happened.
    """

    seed: int
    broken: tuple[str, ...]
    states: dict[str, int]
    virtual_seconds: float
    commits: int
    sends: int
    deaths: int


async def play(seed: int, family: Family, errors: list[str], *, trace: bool = False) -> Result:
    """Run one simulation.

    Args:
        seed: Everything comes from it.
        family: What kind of seed it is.
        errors: Grows by what the code under test calls an error.
        trace: Whether to print what happens.
    """
    chance = Random(seed)  # noqa: S311 - a plan that can be repeated
    profile = draw(chance, family)
    async with Database("sqlite://") as database:
        world = World(seed, profile, chance, database, trace=trace)
        world.say(str(profile))
        world.checks = checks = Checks(world, database, errors)
        queue = MessageQueue(world)
        scenario = Scenario(world, queue)
        try:
            await scenario.run()
        except _EndedEarly:
            pass
        finally:
            for replica in scenario.replicas:
                if replica.life is not None:
                    replica.life.die("the end")
        return Result(
            seed=seed,
            broken=tuple(checks.broken),
            states=dict(Counter(state for (state,) in checks.states())),
            virtual_seconds=world.loop.time(),
            commits=checks.commits,
            sends=checks.sends,
            deaths=sum(replica.lives - 1 for replica in scenario.replicas),
        )


class _EndedEarly(Exception):  # noqa: N818 - it is no error
    """An invariant is broken: what comes after tells nothing."""


class Scenario:
    """One seed's play.

    Args:
        world: The simulation.
        queue: Where requests are published.
    """

    def __init__(self, world: World, queue: MessageQueue) -> None:
        self._world = world
        self._queue = queue
        self._owner = OwnerClient(world)
        self._application = Application(world)
        self._profile: FaultProfile = world.profile
        names = [f"r{number}" for number in range(1, world.profile.replicas + 1)]
        self.replicas = [Replica(world, queue, name) for name in names]
        self._keys = [node.key for node in world.emulation.network.nodes]
        self._stranger = base64.b64encode(world.chance.randbytes(32)).decode()
        self.groups = tuple(base64.b64encode(world.chance.randbytes(32)).decode() for _ in range(world.profile.groups))
        self._endings = Endings(
            world=world,
            checks=world.checks,
            queue=queue,
            owner=self._owner,
            application=self._application,
            groups=self.groups,
        )
        self._visitors = Visitors(world, queue, self.groups, self._keys)
        self._thief = Thief(world, self.groups)
        self._faulty: list[asyncio.Task[Any]] = []

    async def run(self) -> None:
        """Play it to the end."""
        world = self._world
        world.spawn(self._make_blocks())
        await self._set_up()
        for replica in self.replicas:
            world.spawn(replica.run())
        asking = world.spawn(self._visitors.ask() if self._profile.shared else self._ask())
        self._faulty = [world.spawn(self._make_faults())]
        if self._profile.foreign:
            self._faulty.append(world.spawn(self._meddle()))
        if self._profile.writes:
            write = self._application.write_at_pace if self._profile.shared else self._application.write
            self._faulty.append(world.spawn(write(self.groups)))
        if self._profile.losses:
            self._faulty.append(world.spawn(self._thief.run()))
        if self._profile.public_traffic:
            self._faulty.append(world.spawn(send_pairs(world)))
        if self._profile.operator:
            self._faulty.append(world.spawn(operate(world, self.replicas)))
        await self._watch(self._profile.storm_seconds, lambda: False)
        await asking
        await self._mend()
        until = world.loop.time() + PATIENCE_SECONDS
        while True:
            await self._watch(until - world.loop.time(), self._at_rest)
            if not self._at_rest():
                left = [message.request_id for message in self._queue.unsettled]
                world.checks.broke(None, f"not at rest: messages {left}, changes {world.checks.unfinished()}")
                return
            await asyncio.sleep(4 * self._profile.block_seconds)
            # An audit may have taken a parked change up again meanwhile.
            if self._at_rest():
                break
        self._endings.check()

    def _at_rest(self) -> bool:
        return not self._queue.unsettled and self._world.checks.at_rest()

    async def _watch(self, seconds: float, done: Callable[[], bool]) -> None:
        until = self._world.loop.time() + seconds
        while self._world.loop.time() < until and not done():
            await asyncio.sleep(LOOK_SECONDS)
            self._endings.check_nodes()
            if self._world.checks.broken:
                raise _EndedEarly

    async def _make_blocks(self) -> None:
        while True:
            wake_at = self._world.advance() or 0.0
            await asyncio.sleep(min(max(wake_at - self._world.loop.time(), 0.001), self._profile.block_seconds))

    async def _set_up(self) -> None:
        world = self._world
        for number, group in enumerate(self.groups):
            if self._profile.shared:
                self._owner.create(group, (self._keys[number],), through=number + 1)
            elif world.chance.random() < 0.6:
                members = tuple(self._keys[: world.chance.randint(1, len(self._keys))])
                self._owner.create(group, members)
            else:
                members = tuple(self._keys[: world.chance.randint(1, 2)])
                self._queue.publish(
                    f"create-{number}", {"kind": "create_group", "privacy_group_id": group, "members": list(members)}
                )
        await asyncio.sleep(2.5 * self._profile.block_seconds)

    # --- requests --------------------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        world, busy = self._world, self._profile.busy
        kinds = ("add_members",) * (2 if busy else 4) + ("remove_members", "set_members", "unlock_group")
        for number in range(self._profile.requests):
            await asyncio.sleep(world.chance.choice((0.0, 0.1, 0.5 if busy else world.chance.uniform(0, 15))))
            group = self.groups[0] if busy else world.chance.choice(self.groups)
            kind = world.chance.choice(kinds)
            data: dict[str, Any] = {"kind": kind, "privacy_group_id": group}
            if kind == "set_members":
                data["members"] = [self._keys[0], *self._some_keys()]
            elif kind != "unlock_group":
                data["members"] = self._some_keys()
            if "members" in data:
                data["members"] = list(dict.fromkeys(data["members"]))
            if world.chance.random() < 0.15:
                data["deadline_seconds"] = world.chance.choice((5, 30, 120))
            world.say(f"asked: ask-{number} {data}")
            self._queue.publish(f"ask-{number}", data, expected=self._exists(group))
            if world.happens(self._profile.away):
                self._faulty.append(world.spawn(self._fault("node_down", world.chance.choice((2.0, 10.0, 30.0)))))

    def _some_keys(self) -> list[str]:
        chance = self._world.chance
        keys = chance.sample(self._keys[1:], chance.randint(1, len(self._keys) - 1))
        if chance.random() < 0.1:
            keys.append(self._stranger)
        if chance.random() < 0.05:
            keys.append(self._keys[0])
        return keys[: 1 if chance.random() < 0.6 else 3]

    def _exists(self, group: str) -> bool:
        raw = base64.b64decode(group)
        return any(raw in node.timelines for node in self._world.emulation.network.nodes)

    # --- faults ----------------------------------------------------------------------------------------------------

    async def _make_faults(self) -> None:
        world = self._world
        kinds = self._profile.timed
        while kinds:
            await asyncio.sleep(world.chance.expovariate(1 / self._profile.pause_seconds))
            kind = world.chance.choice(kinds)
            seconds = world.chance.choice((0.5, 5.0, 15.0))
            world.say(f"fault: {kind} for {seconds:g} s")
            self._faulty.append(world.spawn(self._fault(kind, seconds)))

    async def _fault(self, kind: str, seconds: float) -> None:
        world = self._world
        network, api = world.emulation.network, world.emulation.apis[0]
        number = world.chance.randint(1, self._profile.nodes)
        replica = world.chance.choice(self.replicas)
        match kind:
            case "node_down":
                api.call("devnet_setNode", [number, False])
                self._cut(number)
                await asyncio.sleep(seconds)
                api.call("devnet_setNode", [number, True])
            case "enclave_down":
                api.call("devnet_setEnclave", [number, False])
                await asyncio.sleep(seconds)
                api.call("devnet_setEnclave", [number, True])
            case "sockets_cut":
                self._cut(number)
            case "congestion":
                network.congested = True
                await asyncio.sleep(seconds)
                network.congested = False
            case "gridlock":
                await self._until_added()
                network.congested = True
                await asyncio.sleep(GRIDLOCK_BLOCKS * self._profile.block_seconds)
                network.congested = False
            case "pool_cut" | "blocks_cut" | "isolated":
                node = network.nodes[number - 1]
                network.set_propagation(node, transactions=kind == "blocks_cut", blocks=kind == "pool_cut")
                await asyncio.sleep(2 * seconds)
                network.set_propagation(node, transactions=True, blocks=True)
            case "pool_lost":
                network.drop_pending()
            case "reorganisation":
                depth = min(self._profile.confirmations, network.chain.head.number - 1)
                if depth > 0:
                    world.advance()
                    drop = world.chance.random() < 0.3
                    network.reorganise(world.chance.randint(1, depth), world.loop.time(), drop_transactions=drop)
            case "clock_jump":
                replica.skew_seconds += world.chance.choice((-60.0, -5.0, 5.0, 60.0))
                if replica.life is not None:
                    replica.life.skew_seconds = replica.skew_seconds
            case "orderly_stop":
                replica.stop()
            case "store_down":
                world.store_up = False
                await asyncio.sleep(seconds)
                world.store_up = True

    async def _until_added(self) -> None:
        """Wait for an addition that is not mined yet, for a while: of what stays in pools it is what does harm late."""
        for _ in range(200):
            self._world.advance()
            if any(found.history_key is not None for found in self._world.emulation.network.pool.pending()):
                return
            await asyncio.sleep(self._profile.block_seconds / 20)

    def _cut(self, number: int) -> None:
        for frames in self._world.sockets.get(number, []):
            frames.put_nowait(None)

    async def _meddle(self) -> None:
        world = self._world
        while True:
            await asyncio.sleep(world.chance.expovariate(1 / 15.0))
            group = world.chance.choice(self.groups)
            await self._owner.meddle(group, world.chance.choice(self._keys[1:]))

    async def _mend(self) -> None:
        world = self._world
        world.end_storm()
        for task in self._faulty:
            task.cancel()
        api = world.emulation.apis[0]
        for number in range(1, self._profile.nodes + 1):
            api.call("devnet_setNode", [number, True])
            api.call("devnet_setEnclave", [number, True])
            api.call("devnet_setPropagation", [number, True, True])
        api.call("devnet_setCongested", [False])
        await asyncio.sleep(2 * self._profile.block_seconds)
        if self._profile.besu_version == WITHOUT_BUNDLES:
            # A node's marker that only followers' pools keep is neither mined nor taken back: a person restarts all.
            world.emulation.network.drop_pending()
        for group in self.groups:
            if self._profile.foreign and self._locked_by_owner(group):
                self._owner.unlock(group)

    def _locked_by_owner(self, group: str) -> bool:
        lock = self._endings.last_lock(group)
        return lock is not None and lock in self._owner.raws
