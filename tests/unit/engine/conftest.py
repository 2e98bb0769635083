"""A whole engine on the fake network and a real SQLite store."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from orchestrator.access.callers import Door, anyone
from orchestrator.engine.attempts.additions_under_way import UNDER_WAY, AdditionsUnderWay
from orchestrator.engine.attempts.enclave_doubts import doubts_of
from orchestrator.engine.attempts.submission import Sending
from orchestrator.engine.history.forecaster import Forecaster
from orchestrator.engine.history.work import ReplayWork
from orchestrator.engine.intake.intake import Intake
from orchestrator.engine.intake.requests import parse_request
from orchestrator.engine.lanes.executor import Executor
from orchestrator.engine.lanes.supervisor import LaneRules, Supervisor
from orchestrator.engine.lanes.worker import Worker
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.records import newest_success
from orchestrator.engine.preflight.bundle_sizes import BundleSizes
from orchestrator.engine.proof.bystanders import BystanderReader
from orchestrator.engine.proof.observation import Observer, ProofRules
from orchestrator.engine.proof.replay_tracker import ReplayTracker
from orchestrator.engine.runtime.leases import Leases
from orchestrator.membership.forecast.schedule import ReplayRules
from orchestrator.membership.model import RESTING, Change, State
from orchestrator.store.commits.database import Database
from orchestrator.store.stores.change_store import SqlChangeStore
from orchestrator.store.stores.history_store import SqlHistoryStore
from tests.fakes.clock import FastClock
from tests.fakes.migrated_stores import migrated
from tests.fakes.network import FakeContract, FakeMarkers, FakeNetwork, FakeNode, FakeSigners, counted_accounts

OWNER = "0xFE3B557E8Fb62b89F4916B721be55cEb828dBd73"
BLOCK_SECONDS = 1.0


class Rig:
    """An engine that can be driven in a test: three members' nodes a, b, c with keys of the same names."""

    def __init__(self, store: SqlChangeStore, histories: SqlHistoryStore, clock: FastClock, confirmations: int) -> None:
        self.network = FakeNetwork()
        self.nodes = {name: FakeNode(self.network, name, key(name)) for name in "abc"}
        self.signers = FakeSigners(OWNER)
        self.store = store
        self.clock = clock
        self.stopping = asyncio.Event()
        self.steps: list[tuple[Change, Change]] = []
        poll = timedelta(seconds=1)
        self.fleet = Fleet([ChainWatcher(node, clock, poll) for node in self.nodes.values()])
        ids = itertools.count(1)
        self.new_id: Callable[[], str] = lambda: f"id-{next(ids):04}"
        others = BystanderReader(self.fleet, store.groups)
        proof = ProofRules(confirmations=confirmations)
        observer = Observer(self.fleet, ReplayTracker(poll), proof, clock, others)
        self.forecaster = Forecaster(self.fleet, histories)
        leases = Leases(clock)
        executor = self.executor = Executor(
            sending=Sending(
                fleet=self.fleet,
                signers=self.signers,
                markers=FakeMarkers(),
                marker_accounts=counted_accounts(),
                contract=FakeContract(),
                forecaster=self.forecaster,
                additions=AdditionsUnderWay(
                    partial(store.changes, UNDER_WAY),
                    ReplayRules(block_period=timedelta(seconds=2)),
                    self.fleet,
                    clock,
                    confirmations,
                ),
                doubts=doubts_of(
                    self.fleet,
                    self.signers,
                    FakeContract(),
                    self.new_id,
                    BundleSizes(ReplayWork(histories).of_group).of_group,
                ),
                clock=clock,
                new_id=self.new_id,
                confirmations=confirmations,
            ),
            observer=observer,
            locks=store.locks,
            succeeded=partial(newest_success, store),
        )
        worker = Worker(store, executor, leases, clock, self.stopping, lambda b, a: self.steps.append((b, a)))
        lanes = LaneRules(holder="test", lease=timedelta(hours=1), stop_within=timedelta(minutes=20))
        self.supervisor = Supervisor(store, worker, self.fleet, clock, lanes, self.stopping, leases, lambda: 0.5)
        self.intake = Intake(store, self.fleet, self.signers, clock, self.new_id)

    async def ask(self, kind: str, *names: str, request_id: str | None = None, **more: object) -> Change:
        data = {"kind": kind, "privacy_group_id": GROUP, **more}
        if names:
            data["members"] = [key(name) for name in names]
        request = parse_request(request_id or self.new_id(), data)
        return (await self.intake.submit(request, anyone(Door.HTTP))).change

    async def until_at_rest(self, *changes: Change, seconds: float = 6000) -> list[Change]:
        """Mine blocks until the changes rest for good (ended or parked)."""
        deadline = self.clock.now() + timedelta(seconds=seconds)
        while True:
            await self.clock.sleep(BLOCK_SECONDS)
            self.network.mine()
            found = [await self.store.change(change.change_id) for change in changes]
            seen = [change for change in found if change is not None]
            if all(change.state in RESTING and change.state is not State.QUEUED for change in seen):
                return seen
            assert self.clock.now() < deadline, [(c.state, c.reason) for c in seen]

    async def group_of(self, *names: str) -> None:
        """Let a group of these members be created by the engine."""
        (change,) = await self.until_at_rest(await self.ask("create_group", *names))
        assert change.state is State.SUCCEEDED, change


GROUP = "Z3JvdXAtb2YtdGhlLXVuaXQtdGVzdHMtMzItYnl0ZXM="


def key(name: str) -> str:
    """Return the enclave key of a node, or of a stranger's."""
    return {
        "a": "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=",
        "b": "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI=",
        "stranger": "ZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZGQ=",
    }.get(name, "Y2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2M=")


@pytest.fixture
async def histories(tmp_path: Path) -> AsyncIterator[SqlHistoryStore]:
    """A store for what is read of histories."""
    async with Database(migrated(tmp_path / "store.db")) as database:
        yield SqlHistoryStore(database)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A running engine; it is stopped in order at the end."""
    async with running_rig(tmp_path, confirmations=0) as made:
        yield made


@pytest.fixture
async def cautious_rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A running engine that believes what lies three blocks back."""
    async with running_rig(tmp_path, confirmations=3) as made:
        yield made


@asynccontextmanager
async def running_rig(folder: Path, confirmations: int) -> AsyncIterator[Rig]:
    clock = FastClock()
    url = migrated(folder / "store.db")
    async with Database(url) as database:
        made = Rig(SqlChangeStore(database, clock), SqlHistoryStore(database), clock, confirmations)
        made.network.mine()
        running = asyncio.create_task(made.supervisor.run())
        try:
            yield made
        finally:
            made.stopping.set()
            for _ in range(5):
                made.network.mine()
                await clock.sleep(BLOCK_SECONDS)
            await asyncio.wait_for(running, 60)
