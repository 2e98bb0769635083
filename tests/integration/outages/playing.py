"""One outage in virtual time: the real engine on emulated nodes adds a member; something fails, and is mended.

What must hold: the change succeeds by itself, nothing is locked then, the group gets no more than one signed
transaction in a block, and nothing but the outage is blamed.
"""

import asyncio
import base64
import gc
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from orchestrator.besu.codec.private_transaction import decode_private_transaction
from orchestrator.devnet.private.private_state import GroupState
from orchestrator.store.commits.database import Database
from tests.integration.outages.cases import Case, Moment
from tests.simulation import virtual_time
from tests.simulation.checks import Checks
from tests.simulation.fault_profile import calm
from tests.simulation.messages import MessageQueue
from tests.simulation.owner import OwnerClient
from tests.simulation.replica import Replica
from tests.simulation.running import configure_logging
from tests.simulation.world import Life, World

BLOCK_SECONDS = 2.0
CALM = replace(calm(3), block_seconds=BLOCK_SECONDS)
PATIENCE_SECONDS = 900.0
"""So long after the end of the outage the change must have succeeded: its pauses have grown to two minutes by then."""
MOMENT_SECONDS = 60.0
LOOK_SECONDS = 0.5
PRIVATE_SENDS = frozenset({"priv_distributeRawTransaction", "eea_sendRawTransaction"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an outage came to.

    Attributes:
        case: The outage.
        broken: What did not hold; none when all did.
        signed: How many signed transactions nodes were given for the group.
        locks: How often the group was locked.
        recovered_seconds: From the end of the outage to the change's own.
    """

    case: Case
    broken: tuple[str, ...]
    signed: int
    locks: int
    recovered_seconds: float


class CountingChecks(Checks):
    """Checks that also count, by block, the signed private transactions that nodes are given."""

    def __init__(self, world: World, database: Database, broken: list[str]) -> None:
        super().__init__(world, database, broken)
        self._sent_in = Counter[int]()
        self.world_of_checks = world
        self.met: set[str] = set()

    @property
    def most_in_a_block(self) -> int:
        """The most that were sent while the chain had one head."""
        return max(self._sent_in.values(), default=0)

    @property
    def signed(self) -> int:
        """How many there were."""
        return sum(self._sent_in.values())

    def committed(self, life: Life) -> None:
        """Look at the store, and keep what changes met."""
        super().committed(life)
        for (reason,) in self.rows("SELECT reason FROM changes WHERE reason IS NOT NULL"):
            self.met.add(json.loads(reason)["slug"])

    def sent(self, life: Life, method: str, raw: str) -> None:
        """Count it, then look at it."""
        if method in PRIVATE_SENDS:
            self._sent_in[self.world_of_checks.emulation.network.chain.head.number] += 1
            action = decode_private_transaction(raw).transaction.data[:4].hex()
            self.world_of_checks.say(f"    signed: {action}")
        super().sent(life, method, raw)


async def play(case: Case, errors: list[str], *, trace: bool = False) -> Outcome:
    """Play one outage.

    Args:
        case: The outage.
        errors: Grows by what the code under test calls an error.
        trace: Whether to print what happens.
    """
    async with Database("sqlite://") as database:
        world = World(1, CALM, Random(1), database, trace=trace, enclave=case.enclave)  # noqa: S311 - a plan that can be repeated
        world.checks = checks = CountingChecks(world, database, errors)
        harness = Harness(world, MessageQueue(world))
        try:
            recovered_seconds = await harness.run(case)
        finally:
            if harness.replica.life is not None:
                harness.replica.life.die("the end")
        broken = [*checks.broken, *harness.found_wrong()]
        if checks.most_in_a_block > 1:
            broken.append(f"{checks.most_in_a_block} signed transactions while the chain had one head")
        if checks.met & {"bundle_not_taken", "bundle_too_large"}:
            broken.append("an outage was taken for a history that is too large")
        return Outcome(
            case=case,
            broken=tuple(broken),
            signed=checks.signed,
            locks=harness.locks(),
            recovered_seconds=recovered_seconds,
        )


def play_through(case: Case, *, trace: bool = False) -> Outcome:
    """Play one outage in a loop of its own."""
    errors: list[str] = []
    configure_logging(errors, trace=trace)
    gc.collect()
    return virtual_time.run(play(case, errors, trace=trace))


class Harness:
    """A group of nodes 1 and 2 that node 3 is to be added to.

    Args:
        world: Where it is.
        queue: Where the request is published.

    Attributes:
        replica: The daemon.
        owner: Made the group.
        group: Its id.
    """

    def __init__(self, world: World, queue: MessageQueue) -> None:
        self._world = world
        self._queue = queue
        self.group = base64.b64encode(world.chance.randbytes(32)).decode()
        self._keys = [node.key for node in world.emulation.network.nodes]
        self.owner = OwnerClient(world)
        self.replica = Replica(world, queue, "r1")

    async def begin(self) -> None:
        """Make the group, and let the daemon run."""
        self._world.spawn(self._make_blocks())
        self.owner.create(self.group, tuple(self._keys[:2]))
        await asyncio.sleep(2.5 * BLOCK_SECONDS)
        self._world.spawn(self.replica.run())
        await asyncio.sleep(2.5 * BLOCK_SECONDS)

    def ask(self) -> None:
        """Ask for node 3 to be added."""
        self._queue.publish("add", {"kind": "add_members", "privacy_group_id": self.group, "members": [self._keys[2]]})

    async def rested(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until the change rests, so long at the most."""
        await self._until(self._at_rest, seconds)

    async def run(self, case: Case) -> float:
        """Play an outage; returns the seconds from its end to the change's."""
        world = self._world
        await self.begin()
        if case.way.moment is Moment.ASKED:
            self._strike(case)
        self.ask()
        if case.way.moment is not Moment.ASKED:
            await self._until(lambda: self._has_come(case.way.moment), MOMENT_SECONDS)
            self._strike(case)
        await asyncio.sleep(case.way.seconds)
        self._mend(case)
        mended_at = world.loop.time()
        await self.rested()
        recovered_seconds = world.loop.time() - mended_at
        await asyncio.sleep(3 * BLOCK_SECONDS)
        return recovered_seconds

    def found_wrong(self) -> Iterable[str]:
        """What is not as it should be at the end."""
        rows = self._world.checks.rows("SELECT state, reason, failures FROM changes")
        if [row[0] for row in rows] != ["succeeded"]:
            yield f"the change ended as {rows}"
        state = self._state()
        if state is None or not state.contract.can_execute:
            yield "the group is locked"
        elif set(state.contract.participants) != set(self._keys):
            yield f"the group has {len(state.contract.participants)} members"

    def locks(self) -> int:
        """How often the group was locked."""
        records = self._world.checks.ledger.truth.executed(self.group)
        return sum(record.signed.transaction.data[:4].hex() == "f83d08ba" for _, record in records)

    def _state(self) -> GroupState | None:
        last = self._world.checks.ledger.truth.last(self.group)
        return last.state if last is not None else None

    def _has_come(self, moment: Moment) -> bool:
        if moment is Moment.LOCKED:
            state = self._state()
            return state is not None and not state.contract.can_execute
        pending = self._world.emulation.network.pool.pending()
        return any(transaction.history_key is not None for transaction in pending)

    def _at_rest(self) -> bool:
        return not self._queue.unsettled and self._world.checks.at_rest()

    async def _until(self, holds: Any, seconds: float) -> None:
        until = self._world.loop.time() + seconds
        while self._world.loop.time() < until and not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(LOOK_SECONDS / 5)

    def _strike(self, case: Case) -> None:
        self._world.say(f"--- {case.name}")
        api = self._world.emulation.apis[0]
        if case.way.rpc:
            api.call("devnet_rpcFault", [{**case.way.rpc, "node": case.member, "count": None}])
        for method, parameters in case.way.strike:
            api.call(method, [case.member, *parameters])
        self._cut(case)

    def _mend(self, case: Case) -> None:
        self._world.say("--- it is mended")
        api = self._world.emulation.apis[0]
        api.call("devnet_clearFaults", [])
        for method, parameters in case.way.mend:
            api.call(method, [case.member, *parameters])
        self._cut(case)

    def _cut(self, case: Case) -> None:
        """A node that goes ends its WebSockets."""
        if case.way.name.startswith(("node killed", "node restarted")) or case.way.rpc:
            for frames in self._world.sockets.get(case.member, []):
                frames.put_nowait(None)

    async def _make_blocks(self) -> None:
        while True:
            wake_at = self._world.advance() or 0.0
            await asyncio.sleep(min(max(wake_at - self._world.loop.time(), 0.001), BLOCK_SECONDS))
