"""Following joins on the fake network, with a real SQLite store."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.engine.attestation import join_lanes
from orchestrator.engine.attestation.joined_groups import LIST_EVERY, MOST_FOLLOWED, Joiner
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Head
from orchestrator.engine.proof.replay_tracker import ReplayTracker
from orchestrator.membership.attempt import Action
from orchestrator.membership.forecast.memberships import MembershipLog
from orchestrator.membership.news.status import EventType, StatusEvent
from orchestrator.store.commits.database import Database
from orchestrator.store.stores.change_store import SqlChangeStore
from orchestrator.store.stores.outbox_store import SqlOutbox
from tests.fakes.changes import a_change
from tests.fakes.clock import JumpingClock
from tests.fakes.migrated_stores import migrated
from tests.fakes.network import FakeNetwork, FakeNode, Group
from tests.patience import patient

JOINING, JOINED = EventType.GROUP_JOINING, EventType.GROUP_JOINED


class Joining:
    """A group of a and b, whose owner is somebody else; our nodes are some of a, b and c."""

    def __init__(self, database: Database) -> None:
        self.network = FakeNetwork()
        self.nodes = {key: FakeNode(self.network, f"node-{key}", key) for key in "abc"}
        self.network.groups["g"] = Group(owner="0xo", participants=("a", "b"))
        self.network.mine(2)
        self.network.write("g", 40)
        self.clock = JumpingClock()
        self.outbox = SqlOutbox(database)
        self.store = SqlChangeStore(database, self.clock)
        self.watchers: list[ChainWatcher] = []

    def joiner(self, *ours: str) -> Joiner:
        self.watchers = [ChainWatcher(self.nodes[key], self.clock) for key in ours]
        fleet = Fleet(self.watchers)
        return Joiner(fleet, self.store, self.outbox, ReplayTracker(timedelta(0)), self.clock, "one")

    async def look(self, joiner: Joiner) -> None:
        for watcher in self.watchers:
            await watcher.refresh()
        await joiner.look()
        self.clock.time += timedelta(seconds=2)

    def add(self, group: str = "g") -> None:
        """Let the owner add c, whose node stays at the block before while it replays."""
        self.network.act(group, Action.LOCK)
        self.nodes["c"].held_at = self.network.head.number
        self.nodes["c"].replayed_through = 0
        self.network.act(group, Action.ADD, ["c"])

    def replay_is_done(self) -> None:
        self.nodes["c"].held_at = self.nodes["c"].replayed_through = None

    async def told(self) -> list[StatusEvent]:
        return [stored.event for stored in await self.outbox.after(0, limit=1000)]


@pytest.fixture
async def joining(tmp_path: Path) -> AsyncIterator[Joining]:
    url = migrated(tmp_path / "store.db")
    async with Database(url) as database:
        yield Joining(database)


def progress_of(event: StatusEvent) -> dict[str, object]:
    listed = event.data["progress"]
    assert isinstance(listed, list)
    assert isinstance(listed[0], dict)
    return dict(listed[0])


async def test_a_join_is_followed_to_its_proof(joining: Joining) -> None:
    """With a member's node of our own the replay is told as it moves, and the end once proven over some blocks."""
    joiner = joining.joiner("a", "c")
    await joining.look(joiner)
    joining.add()
    for reached in (5, 20, 44):
        joining.nodes["c"].replayed_through = reached
        for _ in range(6):
            await joining.look(joiner)
    told = await joining.told()
    assert {event.type for event in told} == {JOINING}
    replayed = [int(str(progress_of(event)["blocks_replayed"])) for event in told]
    assert replayed == sorted(replayed)
    assert replayed[-1] == progress_of(told[-1])["blocks_total"]
    joining.replay_is_done()
    await joining.look(joiner)
    assert joiner.joins
    joining.network.mine(3)
    await joining.look(joiner)
    last = (await joining.told())[-1]
    assert last.type is JOINED
    assert progress_of(last)["verdict"] == "in_sync"
    assert last.data["reference"] == "a"
    assert not joiner.joins


async def test_a_node_alone_tells_the_end(joining: Joining) -> None:
    """An operator of the new node only hears that it has the group, with nobody to compare it with."""
    joiner = joining.joiner("c")
    await joining.look(joiner)
    joining.add()
    await joining.look(joiner)
    assert await joining.told() == []
    joining.replay_is_done()
    for _ in range(5):
        await joining.look(joiner)
        joining.network.mine()
    told = await joining.told()
    assert told[-1].type is JOINED
    assert told[-1].data["reference"] is None
    assert progress_of(told[-1])["verdict"] == "unobserved"


async def test_a_join_is_not_forgotten_by_a_restart(joining: Joining) -> None:
    """What happened while the daemon was down, or half of it, is told by the next process."""
    await joining.look(joining.joiner("a", "c"))
    joining.add()
    await joining.look(joining.joiner("a", "c"))
    assert [event.type for event in await joining.told()] == [JOINING]
    joining.replay_is_done()
    joining.network.mine(5)
    joiner = joining.joiner("a", "c")
    for _ in range(3):
        await joining.look(joiner)
        joining.network.mine(2)
    assert (await joining.told())[-1].type is JOINED
    again = joining.joiner("a", "c")
    count = len(await joining.told())
    await joining.look(again)
    assert len(await joining.told()) == count


async def test_what_is_there_at_first_is_no_news(joining: Joining) -> None:
    """A daemon that is started on an old network tells of no join."""
    joiner = joining.joiner("a", "b")
    await joining.look(joiner)
    joining.clock.time += LIST_EVERY
    await joining.look(joiner)
    assert await joining.told() == []


async def test_our_own_changes_are_no_joins(joining: Joining) -> None:
    """A member that a change of ours adds is told by that change alone."""
    joiner = joining.joiner("a", "c")
    await joining.look(joiner)
    change = a_change("1", "g", members=("c",))
    await joining.store.accept(change, "hash", [])
    joining.add()
    joining.replay_is_done()
    for _ in range(4):
        await joining.look(joiner)
        joining.network.mine(2)
    assert await joining.told() == []


async def test_a_member_that_lost_the_group_is_told_so(joining: Joining) -> None:
    """A group that goes away after the addition ends the join with that verdict, once newer blocks show the same."""
    joiner = joining.joiner("a", "c")
    await joining.look(joiner)
    joining.add()
    joining.replay_is_done()
    joining.nodes["c"].diverges_from = joining.network.head.number + 1
    for _ in range(5):
        await joining.look(joiner)
        joining.network.mine(2)
    last = (await joining.told())[-1]
    assert last.type is JOINED
    assert progress_of(last)["verdict"] == "diverged"


async def test_a_quiet_chain_costs_one_look_for_additions(joining: Joining) -> None:
    """Blocks without additions cost a call each node and look; the groups are listed once a minute."""
    joiner = joining.joiner("a", "c")
    await joining.look(joiner)
    before = joining.nodes["a"].calls
    for _ in range(10):
        joining.network.write("g")
        await joining.look(joiner)
    heads, additions = 10, 10
    assert joining.nodes["a"].calls - before == heads + additions


async def test_who_founded_a_group_does_not_join_it(joining: Joining) -> None:
    """When somebody makes a group and adds a third member, only the third one's joining is told."""
    joiner = joining.joiner("a", "b", "c")
    await joining.look(joiner)
    create = {"group": "new", "account": "0xp", "action": "create", "members": ["a", "b"], "nonce": 0, "from": ""}
    joining.network.submit(json.dumps(create).encode())
    joining.network.mine(2)
    for action in (Action.LOCK, Action.ADD):
        joining.network.act("new", action, ["c"] if action is Action.ADD else [])
    for _ in range(5):
        await joining.look(joiner)
        joining.network.mine()
    told = [event for event in await joining.told() if event.privacy_group_id == "new"]
    assert {event.data["member"] for event in told} == {"c"}
    assert told[-1].type is JOINED


async def test_a_head_that_nobody_has_is_not_read_up_to(joining: Joining, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs are read through the newest block that a second node confirms, whatever the node that is asked says."""
    joiner = joining.joiner("a", "b", "c")
    await joining.look(joiner)
    asked: list[int] = []

    async def memberships(_: Sequence[str], __: int, last_block: int) -> tuple[MembershipLog, ...]:
        asked.append(last_block)
        return ()

    for node in joining.nodes.values():
        monkeypatch.setattr(node, "memberships", memberships)
    joining.network.act("g", Action.LOCK)
    joining.network.act("g", Action.ADD, ["c"])
    joining.clock.time += LIST_EVERY
    for watcher in joining.watchers:
        await watcher.refresh()
    joining.watchers[0].head = Head(number=1 << 61, block_hash="far", parent_hash="away")
    await joiner.look()
    assert asked
    assert max(asked) <= joining.network.head.number


@pytest.mark.parametrize("hangs", [True, False], ids=["asked in vain", "answered"])
async def test_forged_groups_hold_up_no_news_of_others(
    joining: Joining, monkeypatch: pytest.MonkeyPatch, *, hangs: bool
) -> None:
    """A node that lists thousands of groups, and does not answer for them, delays no join of other nodes' groups."""
    joining.network.groups["h"] = Group(owner="0xo", participants=("a",))
    joining.network.write("h", 3)
    joiner = joining.joiner("b", "a", "c")
    await joining.look(joiner)
    asked = 0

    async def groups(_: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        return {f"forged {number}": ("b", "c") for number in range(5_000)}

    async def memberships(_: Sequence[str], __: int, ___: int) -> tuple[MembershipLog, ...]:
        nonlocal asked
        asked += 1
        if hangs:
            await asyncio.Event().wait()
        return ()

    monkeypatch.setattr(join_lanes, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(joining.nodes["b"], "groups", groups)
    monkeypatch.setattr(joining.nodes["b"], "memberships", memberships)
    joining.add("h")
    try:
        async with asyncio.timeout(patient(30)):
            while not any(event.privacy_group_id == "h" for event in await joining.told()):
                await joining.look(joiner)
    finally:
        await joiner.close()
    # Of b itself, and of c by b's word.
    assert asked <= 2 * MOST_FOLLOWED
    assert len(joiner.joins) <= 2 * MOST_FOLLOWED + 1


async def test_a_node_that_was_behind_makes_no_old_member_new(joining: Joining) -> None:
    """Where one node was at the first block, neither its members nor others' are new after a restart."""
    await joining.look(joining.joiner("a", "b", "c"))
    joining.nodes["b"].held_at = 0
    joining.clock.time += LIST_EVERY
    await joining.look(joining.joiner("a", "b", "c"))
    joining.nodes["b"].held_at = None
    joining.network.mine(3)
    await joining.look(joining.joiner("a", "b", "c"))
    assert await joining.told() == []
