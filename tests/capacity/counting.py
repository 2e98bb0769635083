"""A calm network of emulated nodes in virtual time, and one replica on it, of which everything is counted."""

import asyncio
import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from typing import Final

from orchestrator.besu.codec.json_rpc import Answer, Call
from orchestrator.devnet.rpc.dispatch import NodeApi
from orchestrator.engine.attestation.joined_groups import Joiner
from orchestrator.engine.audit.auditor import Auditor, AuditRules
from orchestrator.engine.blocks.block_watch import BlockWatch, WatchRules
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.standstill import StandstillWatch
from orchestrator.engine.proof.replay_tracker import ReplayTracker
from orchestrator.events.retention import Retention
from orchestrator.store.commits.database import Database
from orchestrator.store.stores.block_watch_store import SqlWatchRecord
from orchestrator.store.stores.change_store import SqlChangeStore
from orchestrator.store.stores.outbox_store import SqlOutbox
from tests.simulation.checks import Checks
from tests.simulation.fault_profile import FaultProfile, calm
from tests.simulation.messages import Message, MessageQueue
from tests.simulation.owner import OwnerClient
from tests.simulation.replica import Part, Replica
from tests.simulation.storage import ReplicaDatabase, _Waiting
from tests.simulation.wire import Wire
from tests.simulation.world import Life, LifeClock, World

BLOCK_SECONDS: Final = 5.0
AUDIT_BLOCKS: Final = 100
CREATED_IN_A_BLOCK: Final = 200
_WRITES_TO: Final = "0x" + "11" * 20
PATIENCE_SECONDS: Final = 3_600.0


@dataclass(slots=True)
class Counts:
    """What was counted up to a moment.

    Attributes:
        calls: JSON-RPC calls by node and method.
        heads: Heads that were announced by WebSocket.
        transactions: Transactions of the store.
        units: Units of work in them.
        reads: Units of work that only read.
        published: Status events on the queue.
        blocks: Blocks of the chain.
        filled: Those of them that hold a transaction.
    """

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    heads: int = 0
    transactions: int = 0
    units: int = 0
    reads: int = 0
    published: int = 0
    blocks: int = 0
    filled: int = 0

    def since(self, before: "Counts") -> "Counts":
        """Return what was counted between two moments."""
        return Counts(
            calls=self.calls - before.calls,
            heads=self.heads - before.heads,
            transactions=self.transactions - before.transactions,
            units=self.units - before.units,
            reads=self.reads - before.reads,
            published=self.published - before.published,
            blocks=self.blocks - before.blocks,
            filled=self.filled - before.filled,
        )

    @property
    def total(self) -> int:
        """All calls to all nodes."""
        return sum(self.calls.values())

    @property
    def by_method(self) -> Counter[str]:
        """Calls to all nodes by method."""
        found: Counter[str] = Counter()
        for (_, method), number in self.calls.items():
            found[method] += number
        return found


class _Unchecked(Checks):
    """Looks at nothing: the simulator's invariants are others' claim, and looking takes longer the more there is."""

    def __init__(self) -> None:
        self.broken: list[str] = []

    def acknowledged(self, message: Message) -> None: ...

    def leaves(self, life: Life, method: str, raw: str) -> None: ...

    def sent(self, life: Life, method: str, raw: str) -> None: ...

    def held(self) -> dict[str, tuple[str, int]]:
        return {}

    def done(self, *_: object) -> None: ...

    def committed(self, life: Life) -> None: ...


class _Wire(Wire):
    def __init__(self, world: World, api: NodeApi, life: Life, counts: Counts) -> None:
        super().__init__(world, api, life)
        self._counts = counts

    async def _exchange_once(self, calls: Sequence[Call], timeout: float) -> list[Answer]:
        for call in calls:
            self._counts.calls[self.url, call.method] += 1
        return await super()._exchange_once(calls, timeout)


class _Store(ReplicaDatabase):
    def __init__(self, world: World, life: Life, counts: Counts) -> None:
        super().__init__(world, life)
        self._counts = counts

    def _commit(self, waiting: list[_Waiting]) -> None:
        self._counts.transactions += 1
        self._counts.units += len(waiting)
        super()._commit(waiting)


class _Replica(Replica):
    def __init__(self, world: World, queue: MessageQueue, counts: Counts) -> None:
        super().__init__(world, queue, "one")
        self._counts = counts
        self.auditor: Auditor | None = None

    def database(self, life: Life) -> ReplicaDatabase:
        return _Store(self._world, life, self._counts)

    def wire(self, api: NodeApi, life: Life) -> Wire:
        return _Wire(self._world, api, life, self._counts)

    def parts(self, fleet: Fleet, store: SqlChangeStore, outbox: SqlOutbox, clock: LifeClock) -> Sequence[Part]:
        """What a daemon runs beside its lanes, without what asks no node (`orchestrator.app.daemon`)."""
        rules = AuditRules(holder=self.name, every_blocks=AUDIT_BLOCKS)
        self.auditor = Auditor(fleet, store, outbox, clock, rules)
        record = SqlWatchRecord(outbox._database)
        return (
            Joiner(fleet, store, outbox, ReplayTracker(), clock, self.name),
            StandstillWatch(fleet, store, outbox, clock, self.name, timedelta(minutes=1)),
            BlockWatch(fleet, store, outbox, record, clock, WatchRules(holder=self.name)),
            self.auditor,
            Retention(outbox, clock, self.name, timedelta(days=30)),
        )


class Harness:
    """The network, the store and the replica.

    Args:
        nodes: Members' nodes.
        database: The store, in memory.
    """

    def __init__(self, nodes: int, database: Database) -> None:
        self.world = World(1, _calm(nodes), Random(1), database)  # noqa: S311 - a plan that can be repeated
        self.world.stormy = False
        self.world.checks = _Unchecked()
        self.queue = MessageQueue(self.world)
        self._counts = Counts()
        self.replica = _Replica(self.world, self.queue, self._counts)
        self.owner = OwnerClient(self.world)
        self.keys = [node.key for node in self.world.emulation.network.nodes]
        self.groups: list[str] = []
        self.world.spawn(self._make_blocks())

    async def _make_blocks(self) -> None:
        while True:
            wake_at = self.world.advance() or 0.0
            await asyncio.sleep(min(max(wake_at - self.world.loop.time(), 0.001), BLOCK_SECONDS))

    def counts(self) -> Counts:
        """Return what was counted so far."""
        found, counted = Counts(), self._counts
        network = self.world.emulation.network
        found.calls = Counter(counted.calls)
        found.transactions, found.units = counted.transactions, counted.units
        found.blocks = network.nodes[0].head.number
        blocks = (network.chain.block(number) for number in range(found.blocks + 1))
        found.filled = sum(block is not None and bool(block.transactions) for block in blocks)
        found.heads = found.blocks * len(network.nodes)
        found.published = sum(len(places) for places in self.queue.published.values())
        return found

    async def make_groups(self, number: int, members: int) -> None:
        """Make groups by the owner's own client; each begins at the next node, and has the nodes behind it."""
        for place in range(number):
            group = base64.b64encode(self.world.chance.randbytes(32)).decode()
            first = len(self.groups) % len(self.keys)
            hosted = [self.keys[(first + other) % len(self.keys)] for other in range(members)]
            self.owner.create(group, tuple(hosted), through=first + 1)
            self.groups.append(group)
            if place % CREATED_IN_A_BLOCK == CREATED_IN_A_BLOCK - 1:
                await self.pass_blocks(1)
        await self.pass_blocks(2)

    async def write(self, group: str, transactions: int) -> None:
        """Write to a group by the owner's own client, a transaction in each block."""
        for _ in range(transactions):
            self.owner._send(group, b"\x01\x02\x03\x04", _WRITES_TO, 1 + self.groups.index(group) % len(self.keys))
            await self.pass_blocks(1)

    async def pass_blocks(self, number: int) -> None:
        """Let blocks be made."""
        await asyncio.sleep(number * BLOCK_SECONDS)

    def start(self) -> None:
        """Start the replica."""
        self.world.spawn(self.replica.run())

    def ask(self, request_id: str, kind: str, group: str, members: Sequence[str]) -> None:
        """Ask for a change."""
        self.queue.publish(request_id, {"kind": kind, "privacy_group_id": group, "members": list(members)})

    async def rows(self, statement: str) -> list[tuple[object, ...]]:
        """Return what the store holds."""
        return await self.world.database.read(
            lambda connection: [tuple(row) for row in connection.exec_driver_sql(statement)]
        )

    async def at_rest(self) -> None:
        """Wait until every change has ended.

        Raises:
            TimeoutError: Some do not.
        """
        unended = "SELECT count(*) FROM changes WHERE state NOT IN ('succeeded', 'failed', 'cancelled', 'parked')"
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                ((taken,),) = await self.rows("SELECT count(*) FROM changes")
                if taken == len(self.queue.messages) and await self.rows(unended) == [(0,)]:
                    break
                await asyncio.sleep(0.2)
        await asyncio.sleep(1.0)  # until the last status events are published


def _calm(nodes: int) -> FaultProfile:
    profile = calm(nodes)
    return replace(profile, groups=0, requests=0, block_seconds=BLOCK_SECONDS, validators=min(nodes, 4), relay=True)
