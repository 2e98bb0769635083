"""Auditing all the time, on the fake network and a real SQLite store."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.engine.audit.auditor import TYPES, Auditor, AuditRules
from orchestrator.engine.audit.comparison import MOST_CALLS
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Head
from orchestrator.membership.attempt import Action
from orchestrator.membership.news.status import EventType, Json, StatusEvent
from orchestrator.store.commits.database import Database
from orchestrator.store.stores.change_store import SqlChangeStore
from orchestrator.store.stores.outbox_store import SqlOutbox
from tests.fakes.clock import JumpingClock
from tests.fakes.migrated_stores import migrated
from tests.fakes.network import FakeNetwork, FakeNode, Group

DIVERGED, CONVERGED = EventType.GROUP_DIVERGED, EventType.GROUP_CONVERGED


class Audited:
    """A network of three members with one group, and auditors on one store."""

    def __init__(self, database: Database) -> None:
        self.network = FakeNetwork()
        self.nodes = [FakeNode(self.network, f"node{key}", key) for key in "abc"]
        self.network.groups["g"] = Group(owner="0xo", participants=("a", "b", "c"))
        self.network.mine(20)
        self.clock = JumpingClock()
        self.fleet = Fleet([ChainWatcher(node, self.clock) for node in self.nodes])
        self.outbox = SqlOutbox(database)
        self.store = SqlChangeStore(database, self.clock)

    def auditor(self, holder: str = "one", most_calls: int = MOST_CALLS) -> Auditor:
        rules = AuditRules(holder=holder, every_blocks=10, lease=timedelta(days=365), most_calls=most_calls)
        return Auditor(self.fleet, self.store, self.outbox, self.clock, rules)

    def root_of(self, key: str) -> str:
        return self.nodes["abc".index(key)]._view("g", self.network.head.number).state_root

    async def told(self) -> list[StatusEvent]:
        return [stored.event for stored in await self.outbox.after(0, limit=100, types=TYPES)]


@pytest.fixture
async def audited(tmp_path: Path) -> AsyncIterator[Audited]:
    url = migrated(tmp_path / "store.db")
    async with Database(url) as database:
        yield Audited(database)


async def test_divergence_is_told_once_and_convergence_too(audited: Audited) -> None:
    """A member that drifts is told with the first differing block, once; so is its return."""
    auditor = audited.auditor()
    await auditor.audit_once()
    audited.nodes[1].diverges_from = 7
    root = audited.root_of("b")
    await auditor.audit_once()
    await auditor.audit_once()
    assert auditor.diverged == {"g"}
    audited.nodes[1].diverges_from = None
    await auditor.audit_once()
    await auditor.audit_once()
    diverged, converged = await audited.told()
    assert (diverged.type, converged.type) == (DIVERGED, CONVERGED)
    assert diverged.data["first_block"] == 7
    assert diverged.data["reference"] == "a"
    odd = {"member": "b", "node": "nodeb", "verdict": "diverged", "state_root": root, "lacks": []}
    assert diverged.data["differing"] == [odd]
    assert auditor.diverged == frozenset()


async def test_those_that_an_addition_parted_are_not_the_measure(audited: Audited) -> None:
    """Two of three fell back: they are told as those that differ, by each auditor; cured, that it is over."""
    parted: list[Json] = [{"member": key, "fell_back": True} for key in "ab"]
    event = StatusEvent(type=EventType.GROUP_ADDITION_REPEATED, privacy_group_id="g", data={"affected": parted})
    await audited.store.announce([event])
    for place in (0, 1):
        audited.nodes[place].diverges_from = 7
    await audited.auditor().audit_once()
    await audited.auditor("two").audit_once()
    for place in (0, 1):
        audited.nodes[place].diverges_from = None
    await audited.auditor("three").audit_once()
    _, diverged, converged = await audited.told()
    assert (diverged.type, diverged.data["reference"]) == (DIVERGED, "c")
    differing = diverged.data["differing"]
    assert isinstance(differing, list)
    assert [one["member"] for one in differing if isinstance(one, dict)] == ["a", "b"]
    assert converged.type is CONVERGED


async def test_a_restarted_auditor_remembers_what_was_told(audited: Audited) -> None:
    """A new process neither repeats a divergence nor misses that it is over."""
    audited.nodes[1].diverges_from = 7
    await audited.auditor().audit_once()
    await audited.auditor("two").audit_once()
    audited.nodes[1].diverges_from = None
    await audited.auditor("three").audit_once()
    assert [event.type for event in await audited.told()] == [DIVERGED, CONVERGED]


async def test_a_divergence_that_lasts_is_told_again_each_day(audited: Audited) -> None:
    """Subscribers that came later hear of it, and the events that are remembered outlive their retention."""
    auditor = audited.auditor()
    audited.nodes[1].diverges_from = 7
    for _ in range(5):
        await auditor.audit_once()
        audited.clock.time += timedelta(hours=12)
    assert [event.type for event in await audited.told()] == [DIVERGED] * 3


async def test_a_member_that_is_removed_ends_the_divergence(audited: Audited) -> None:
    """Removing the member that differs heals the group."""
    auditor = audited.auditor()
    audited.nodes[2].diverges_from = 7
    await auditor.audit_once()
    audited.network.act("g", Action.REMOVE, ["c"])
    await auditor.audit_once()
    assert [event.type for event in await audited.told()] == [DIVERGED, CONVERGED]


async def test_audits_are_so_many_blocks_apart_and_done_by_one_replica(audited: Audited) -> None:
    """Two replicas together audit once every so many blocks."""
    audits: asyncio.Queue[str] = asyncio.Queue()
    auditors = {name: audited.auditor(name) for name in ("one", "two")}
    for name, auditor in auditors.items():

        async def note(name: str = name) -> None:
            await audits.put(name)

        auditor.audit_once = note  # type: ignore[method-assign, assignment] # counted instead of done
    watcher = audited.fleet.watchers[0]
    await watcher.refresh()
    running = [asyncio.create_task(auditor.run()) for auditor in auditors.values()]
    try:
        first = await asyncio.wait_for(audits.get(), 5)
        for _ in range(3):
            audited.network.mine(9)
            await watcher.refresh()
            await asyncio.sleep(0.02)
            assert audits.empty()
            audited.network.mine(1)
            await watcher.refresh()
            assert await asyncio.wait_for(audits.get(), 5) == first
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def test_every_group_has_its_turn_over_restarts(audited: Audited) -> None:
    """With calls for a few groups each, auditors that are new each time go round, and begin again at the end."""
    for number in range(6):
        audited.network.groups[f"g{number}"] = Group(owner="0xo", participants=("a", "b", "c"))
    audited.network.mine(1)
    found = []
    for holder in ("one", "two", "one"):
        report = await audited.auditor(holder, most_calls=9 + 3 * 3).audit_once()
        found.append([comparison.privacy_group_id for comparison in report.comparisons])
    assert found == [["g", "g0", "g1"], ["g2", "g3", "g4"], ["g5", "g", "g0"]]


async def test_a_head_that_was_overstated_puts_no_audit_off(audited: Audited) -> None:
    """After a head far above the chain, of a node that alone answered, audits go on as many blocks apart as before."""
    audits: asyncio.Queue[None] = asyncio.Queue()
    auditor = audited.auditor()

    async def note() -> None:
        await audits.put(None)

    auditor.audit_once = note  # type: ignore[method-assign, assignment] # counted instead of done
    watcher = audited.fleet.watchers[0]
    watcher.head = Head(number=0x7FFFFFFFFFFF, block_hash="far", parent_hash="away")
    running = asyncio.create_task(auditor.run())
    try:
        await asyncio.wait_for(audits.get(), 5)
        watcher.head = None
        await watcher.refresh()
        for _ in range(20):
            await asyncio.sleep(0)
        audited.network.mine(10)
        await watcher.refresh()
        await asyncio.wait_for(audits.get(), 5)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
