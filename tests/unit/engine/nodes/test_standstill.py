"""Nodes that stand still, on the fake network with a real SQLite store."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.standstill import StandstillWatch
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.membership.news.status import EventType, StatusEvent
from orchestrator.store.commits.database import Database
from orchestrator.store.stores.change_store import SqlChangeStore
from orchestrator.store.stores.outbox_store import SqlOutbox
from tests.fakes.clock import JumpingClock
from tests.fakes.migrated_stores import migrated
from tests.fakes.network import FakeNetwork, FakeNode

MINUTE = timedelta(minutes=1)
STANDING, MOVING = EventType.NODE_STANDING_STILL, EventType.NODE_MOVING


class Scene:
    """Three nodes, of which the last may stand."""

    def __init__(self, database: Database) -> None:
        self.network = FakeNetwork()
        self.nodes = [FakeNode(self.network, name, name) for name in "abc"]
        self.clock = JumpingClock()
        self.outbox = SqlOutbox(database)
        self.store = SqlChangeStore(database, self.clock)
        self.watchers = [ChainWatcher(node, self.clock) for node in self.nodes]
        self.network.mine(5)

    def watch(self) -> StandstillWatch:
        return StandstillWatch(Fleet(self.watchers), self.store, self.outbox, self.clock, "one", MINUTE)

    async def pass_a_minute(self, watch: StandstillWatch) -> None:
        """Blocks are made and looked at, for a minute."""
        for _ in range(7):
            self.network.mine(2)
            for watcher in self.watchers:
                await watcher.refresh()
            await watch.look()
            self.clock.time += timedelta(seconds=10)
        await watch.look()

    async def told(self) -> list[StatusEvent]:
        return [stored.event for stored in await self.outbox.after(0, limit=100)]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    url = migrated(tmp_path / "store.db")
    async with Database(url) as database:
        yield Scene(database)


async def test_a_node_that_stands_is_told_once_with_what_holds_it(scene: Scene) -> None:
    """After the patience the standing node is told, with its block and cause; and when it moves again, that."""
    watch = scene.watch()
    scene.nodes[2].held_at = 5
    scene.nodes[2].alone = True
    await scene.pass_a_minute(watch)
    await scene.pass_a_minute(watch)
    (event,) = await scene.told()
    assert event.type is STANDING
    assert event.data["node"] == "c"
    assert event.data["head"] == 5
    assert event.data["hold"] == "peers"
    assert str(event.data["remedy"]).startswith("Restart this node's Besu")
    assert watch.standing == {"c"}
    scene.nodes[2].held_at = None
    await scene.pass_a_minute(watch)
    assert [event.type for event in await scene.told()] == [STANDING, MOVING]
    assert watch.standing == frozenset()


async def test_what_holds_a_node_is_told_anew_when_it_is_something_else(scene: Scene) -> None:
    """The enclave first, then the peers that were lost by its outage."""
    watch = scene.watch()
    scene.nodes[2].held_at = 5
    scene.nodes[2].enclave_fault = "its enclave does not answer"
    await scene.pass_a_minute(watch)
    scene.nodes[2].enclave_fault = None
    scene.nodes[2].alone = True
    await watch.look()
    assert [event.data["hold"] for event in await scene.told()] == ["enclave", "peers"]


async def test_a_restart_repeats_nothing_and_forgets_nothing(scene: Scene) -> None:
    """What was told is read from the events: another process tells the same node's moving only."""
    scene.nodes[2].held_at = 5
    await scene.pass_a_minute(scene.watch())
    again = scene.watch()
    await scene.pass_a_minute(again)
    assert [event.type for event in await scene.told()] == [STANDING]
    scene.nodes[2].held_at = None
    await scene.pass_a_minute(scene.watch())
    assert [event.type for event in await scene.told()] == [STANDING, MOVING]


async def test_a_chain_that_stands_and_a_node_that_is_away_are_something_else(scene: Scene) -> None:
    """Nobody stands still while nobody moves, nor does who does not answer."""
    watch = scene.watch()
    for watcher in scene.watchers:
        await watcher.refresh()
    scene.clock.time += 10 * MINUTE
    await watch.look()
    scene.nodes[2].down = True
    with pytest.raises(Exception, match="node"):
        await scene.watchers[2].refresh()
    for _ in range(7):
        scene.network.mine(2)
        for watcher in scene.watchers[:2]:
            await watcher.refresh()
        await watch.look()
        scene.clock.time += timedelta(seconds=10)
    assert await scene.told() == []


async def test_a_node_far_ahead_is_told_once_and_when_it_is_not(scene: Scene) -> None:
    """What one node claims beyond every other is told once, by whichever replica, and again when it is over."""
    for watcher in scene.watchers:
        await watcher.refresh()
    head = scene.watchers[2].head
    assert head is not None
    scene.watchers[2].head = replace(head, number=head.number + 1_000)
    await scene.watch().look()
    await scene.watch().look()
    (event,) = await scene.told()
    assert (event.type, event.data["node"]) == (EventType.NODE_AHEAD, "c")
    assert event.data["head"] == 1_000 + int(str(event.data["newest_head"]))
    scene.watchers[2].head = head
    await scene.watch().look()
    assert [event.type for event in await scene.told()] == [EventType.NODE_AHEAD, MOVING]
