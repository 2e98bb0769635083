"""One replica of the daemon: the real engine on simulated nodes, store and queue; it dies and is started again."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Protocol

from orchestrator.besu.adapter.signatures import Accounts, ManagementCodec
from orchestrator.besu.client.node import Node
from orchestrator.besu.client.own_markers import OwnMarkers, one_time_account
from orchestrator.besu.client.signers import signer_from_key
from orchestrator.devnet.rpc.dispatch import NodeApi
from orchestrator.engine.attempts.additions_under_way import UNDER_WAY, AdditionsUnderWay
from orchestrator.engine.attempts.enclave_doubts import doubts_of
from orchestrator.engine.attempts.marker_accounts import OneTimeAccounts
from orchestrator.engine.attempts.submission import Sending
from orchestrator.engine.audit.auditor import Auditor, AuditRules
from orchestrator.engine.history.forecaster import Forecaster
from orchestrator.engine.history.work import ReplayWork
from orchestrator.engine.intake.intake import Intake
from orchestrator.engine.lanes.executor import Executor
from orchestrator.engine.lanes.repair_requests import Repairer
from orchestrator.engine.lanes.supervisor import LaneRules, Supervisor
from orchestrator.engine.lanes.worker import Worker
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.records import newest_success
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.preflight.bundle_sizes import BundleSizes
from orchestrator.engine.proof.bystanders import BystanderReader
from orchestrator.engine.proof.observation import Observer, ProofRules
from orchestrator.engine.proof.replay_tracker import ReplayTracker
from orchestrator.engine.runtime.ids import new_ids
from orchestrator.engine.runtime.leases import Leases
from orchestrator.events.relay import Relay
from orchestrator.membership.forecast.schedule import ReplayRules
from orchestrator.store.stores.change_store import SqlChangeStore
from orchestrator.store.stores.history_store import SqlHistoryStore
from orchestrator.store.stores.outbox_store import SqlOutbox
from tests.simulation.messages import LifeQueue, MessageQueue
from tests.simulation.storage import ReplicaDatabase
from tests.simulation.wire import SimulatedNode, Wire
from tests.simulation.world import Life, LifeClock, World

OWNER_KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
"""The key of the public development account 0xfe3b…; it must never hold anything of value."""
OWNER = "0xFE3B557E8Fb62b89F4916B721be55cEb828dBd73"
GAS_LIMIT = 3_000_000


class Part(Protocol):
    """Something that runs for as long as its replica lives."""

    async def run(self) -> None:
        """Run until cancelled."""


class Replica:
    """A replica over its lives.

    Args:
        world: Where it is.
        queue: Where its requests come from.
        name: The same in every life.
    """

    def __init__(self, world: World, queue: MessageQueue, name: str) -> None:
        self._world = world
        self._queue = queue
        self.name = name
        self.lives = 0
        self.skew_seconds = 0.0
        self.life: Life | None = None
        self.store: SqlChangeStore | None = None
        self.fleet = Fleet([])
        self._stopping = asyncio.Event()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.life is not None and self.life.alive

    async def run(self) -> None:
        """Live, die and live again, for ever."""
        world = self._world
        while True:
            self.lives += 1
            life = self.life = Life(world, f"{self.name}.{self.lives}", self.skew_seconds)
            life.thawed.set()
            world.say(f"{life.name} starts")
            self._stopping = asyncio.Event()
            life.main = world.spawn(self._live(life))
            await asyncio.wait([life.main])
            if not life.main.cancelled() and life.main.exception() is not None:
                world.checks.broke(life, life.main.exception())
            life.alive = False
            if world.stormy:
                await asyncio.sleep(world.chance.choice((0.5, 3.0, 15.0, 40.0)))

    def stop(self) -> None:
        """Ask it to stop in order."""
        self._world.say(f"{self.name} is asked to stop")
        self._stopping.set()

    def database(self, life: Life) -> ReplicaDatabase:
        """Return the way to the store."""
        return ReplicaDatabase(self._world, life)

    def wire(self, api: NodeApi, life: Life) -> Wire:
        """Return the way to a node."""
        return Wire(self._world, api, life)

    def parts(self, fleet: Fleet, store: SqlChangeStore, outbox: SqlOutbox, clock: LifeClock) -> Sequence[Part]:
        """Return what runs beside intake and lanes."""
        if not self._world.profile.losses:
            return ()
        auditor = Auditor(fleet, store, outbox, clock, AuditRules(holder=self.name, every_blocks=20))
        return (auditor, Repairer(store, fleet, clock))

    async def _live(self, life: Life) -> None:
        world, stopping = self._world, self._stopping
        clock = LifeClock(life)
        database = self.database(life)
        self.store = store = SqlChangeStore(database, clock)
        nodes = [SimulatedNode(world, api, life, Node(self.wire(api, life))) for api in world.emulation.apis]  # type: ignore[arg-type]  # it offers what is asked of an HttpNode
        self.fleet = fleet = Fleet([ChainWatcher(node, clock, timedelta(seconds=1)) for node in nodes])
        signer = signer_from_key(OWNER_KEY)
        accounts = Accounts({OWNER: signer}, gas_limit=GAS_LIMIT, gas_price=0)
        new_id = new_ids(clock.now, world.chance.randbytes)
        rules = ProofRules(proof_blocks=2, confirmations=world.profile.confirmations)
        leases, histories = Leases(clock), SqlHistoryStore(database)
        executor = Executor(
            sending=Sending(
                fleet=fleet,
                signers=accounts,
                markers=OwnMarkers(gas_limit=GAS_LIMIT, gas_price=0),
                marker_accounts=OneTimeAccounts(lambda: one_time_account(world.chance.randbytes(32))),
                contract=ManagementCodec(),
                forecaster=Forecaster(fleet, histories, own=store),
                additions=AdditionsUnderWay(
                    partial(store.changes, UNDER_WAY),
                    ReplayRules(block_period=timedelta(seconds=world.profile.block_seconds)),
                    fleet,
                    clock,
                    world.profile.confirmations,
                ),
                doubts=doubts_of(
                    fleet, accounts, ManagementCodec(), new_id, BundleSizes(ReplayWork(histories).of_group).of_group
                ),
                clock=clock,
                new_id=new_id,
                confirmations=world.profile.confirmations,
            ),
            observer=Observer(fleet, ReplayTracker(), rules, clock, BystanderReader(fleet, store.groups)),
            locks=store.locks,
            succeeded=partial(newest_success, store),
        )
        lanes = LaneRules(holder=self.name, stop_within=timedelta(seconds=20))
        worker = Worker(store, executor, leases, clock, stopping, lambda *_: None)
        supervisor = Supervisor(store, worker, fleet, clock, lanes, stopping, leases, world.chance.random)
        intake = Intake(store, fleet, accounts, clock, new_id)
        while True:
            try:
                await store.forget(name=self.name)
                break
            except StoreError:
                await clock.sleep(1.0)
        async with asyncio.TaskGroup() as tasks:
            queue = LifeQueue(self._queue, life)
            beside = [tasks.create_task(intake.run(queue))]
            beside += [tasks.create_task(part.run()) for part in self.parts(fleet, store, SqlOutbox(database), clock)]
            if world.profile.relay:
                relay = Relay(SqlOutbox(database), queue, clock, self.name)
                beside.append(tasks.create_task(relay.run()))
            await supervisor.run()
            for task in beside:
                task.cancel()
