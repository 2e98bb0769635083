"""Watching new blocks, on the fake network and a real SQLite store."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from orchestrator.engine.blocks import block_watch
from orchestrator.engine.blocks.block_watch import BlockWatch, WatchRules
from orchestrator.engine.history.examinations import examined
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Block, Head, NodeError
from orchestrator.membership.attempt import Action
from orchestrator.membership.damage.unextendable import WatchTally
from orchestrator.membership.forecast.blocks import ChainBlock, Examination, PublicTransaction
from orchestrator.membership.model import GroupView
from orchestrator.membership.news.status import EventType, StatusEvent
from orchestrator.membership.reasons.table import Reason
from orchestrator.store.commits.database import Database
from orchestrator.store.stores.block_watch_store import SqlWatchRecord
from orchestrator.store.stores.change_store import SqlChangeStore
from orchestrator.store.stores.outbox_store import SqlOutbox
from tests.fakes.block_contents import a_transaction, an_addition
from tests.fakes.clock import JumpingClock
from tests.fakes.migrated_stores import migrated
from tests.fakes.network import FakeNetwork, FakeNode, Group


def transaction(name: str, account: str, *, addition: str = "") -> PublicTransaction:
    return an_addition(name, account, addition=addition) if addition else a_transaction(name, account)


TWICE = (transaction("0xt1", "0xp"), transaction("0xt2", "0xp"))


def with_pair(block: Block) -> Block:
    assert block.content is not None
    return replace(block, content=replace(block.content, transactions=(*TWICE, *block.content.transactions)))


class Watched:
    """Three nodes, a group of two of them and one that nobody writes to, and watches on one store."""

    def __init__(self, database: Database) -> None:
        self.network = FakeNetwork()
        self.nodes = [FakeNode(self.network, f"node{key}", key) for key in "abc"]
        self.network.groups["g"] = Group(owner="0xo", participants=("a", "b"))
        self.network.groups["quiet"] = Group(owner="0xo", participants=("a", "b"))
        self.network.mine(5)
        self.clock = JumpingClock()
        self.record = SqlWatchRecord(database)
        self.outbox = SqlOutbox(database)
        self.store = SqlChangeStore(database, self.clock)
        self.looked = asyncio.Event()
        self.looks: list[tuple[WatchTally, int]] = []
        self.watchers = [ChainWatcher(node, self.clock) for node in self.nodes]

    def watch(self, holder: str = "one", **rules: int) -> BlockWatch:
        def noted(_before: WatchTally, after: WatchTally, closed: int) -> None:
            self.looks.append((after, closed))
            self.looked.set()

        known = WatchRules(holder=holder, **rules)  # type: ignore[arg-type] # confirmations alone
        return BlockWatch(Fleet(self.watchers), self, self.outbox, self.record, self.clock, known, noted)

    async def groups(self, *, limit: int = 10_000) -> tuple[str, ...]:
        return ("g", "quiet")[:limit]

    async def is_ours(self, pmt_hash: str) -> bool:
        return not pmt_hash

    async def announce(self, events: Sequence[StatusEvent]) -> None:
        await self.store.announce(events)

    def public(self, *transactions: PublicTransaction) -> None:
        """Have the next block hold public transactions."""
        self.network.public[self.network.head.number + 1] = transactions

    async def seen(self, watch: BlockWatch) -> None:
        """Have a watch look through the head."""
        for watcher in self.watchers:
            await watcher.refresh()
        while await watch.look():
            pass

    async def told(self) -> list[StatusEvent]:
        types = (EventType.GROUP_UNEXTENDABLE.value,)
        return [stored.event for stored in await self.outbox.after(0, limit=100, types=types)]


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    url = migrated(tmp_path / "store.db")
    async with Database(url) as database:
        yield Watched(database)


async def test_a_node_that_overstates_its_head_stops_no_watch(watched: Watched) -> None:
    """While one node shows a head that no other confirms, blocks are watched on the others, and waiting is waiting."""
    watch = watched.watch()
    await watched.seen(watch)
    far = Head(number=0x7FFFFFFFFFFF, block_hash="far", parent_hash="away")
    watched.watchers[0].head = far
    watched.public(*TWICE)
    watched.network.mine()
    for watcher in watched.watchers[1:]:
        await watcher.refresh()
    while await watch.look():
        pass
    assert watched.looks[-1][0].account_twice == 1
    waiting = asyncio.create_task(watch._next_head())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    watched.network.mine()
    for watcher in watched.watchers[1:]:
        await watcher.refresh()
    await waiting


async def test_a_block_that_closes_a_group_is_told_once(watched: Watched) -> None:
    """The group with a transaction in the block is told with block, account and transactions; once, and no other."""
    watch = watched.watch()
    await watched.seen(watch)
    for _ in range(2):
        watched.public(*TWICE)
        watched.network.act("g", Action.LOCK)
        watched.network.act("g", Action.UNLOCK)
        await watched.seen(watch)
    (event,) = await watched.told()
    assert event.privacy_group_id == "g"
    assert event.data["block_number"] == 6
    assert event.data["flaws"] == [{"flaw": "account_twice", "account": "0xp", "transactions": ["0xt1", "0xt2"]}]
    (kept,) = await watched.record.unextendable()
    assert (kept.privacy_group_id, kept.examination.number) == ("g", 6)
    assert watched.looks[-1][0].account_twice == 2
    assert watched.looks[-1][1] == 1


async def test_a_node_that_alone_tells_of_such_a_block_closes_no_group(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that closes groups by one node's word, and by no other's, is told to nobody."""
    watch = watched.watch()
    await watched.seen(watch)
    watched.network.act("g", Action.LOCK)
    honest = watched.nodes[0].blocks

    async def lie(numbers: Sequence[int]) -> Sequence[Block]:
        return [with_pair(block) for block in await honest(numbers)]

    monkeypatch.setattr(watched.nodes[0], "blocks", lie)
    with structlog.testing.capture_logs() as logs:
        await watched.seen(watch)
    assert await watched.told() == []
    (warning,) = [line for line in logs if line["event"] == "nodes differ about a block"]
    assert (warning["closes_by"], warning["open_by"]) == ("nodea", ["nodeb", "nodec"])
    # By the word of all three the next one does.
    monkeypatch.undo()
    watched.public(*TWICE)
    watched.network.act("g", Action.UNLOCK)
    await watched.seen(watch)
    assert [event.data["block_number"] for event in await watched.told()] == [7]


async def test_a_pair_without_the_group_closes_nothing(watched: Watched) -> None:
    """A block with an account twice and no transaction of a group is counted and told to nobody."""
    watch = watched.watch()
    await watched.seen(watch)
    watched.public(*TWICE)
    watched.network.mine(1)
    await watched.seen(watch)
    tally = watched.looks[-1][0]
    assert await watched.told() == []
    assert (tally.account_twice, tally.newest_twice, tally.account) == (1, 6, "0xp")


async def test_another_replica_goes_on_where_one_left_off(watched: Watched) -> None:
    """What one process told is not told by the next, and what it did not come to is."""
    await watched.seen(watched.watch())
    watched.public(*TWICE)
    watched.network.act("g", Action.LOCK)
    await watched.seen(watched.watch())
    watched.public(*TWICE)
    watched.network.act("g", Action.UNLOCK)
    watched.public(*TWICE)
    watched.network.act("quiet", Action.LOCK)
    await watched.seen(watched.watch("two"))
    assert [(event.privacy_group_id, event.data["block_number"]) for event in await watched.told()] == [
        ("g", 6),
        ("quiet", 8),
    ]


async def test_a_node_that_does_not_answer_hides_nothing(watched: Watched) -> None:
    """While no node tells, the block is not passed over: it is looked at again."""
    watch = watched.watch()
    await watched.seen(watch)
    watched.public(*TWICE)
    watched.network.act("g", Action.LOCK)
    for watcher in watched.watchers:
        await watcher.refresh()
    for node in watched.nodes:
        node.down = True
    with pytest.raises(NodeError):
        await watch.look()
    watched.nodes[0].down = False
    watched.nodes[2].down = False
    await watch.look()
    assert [event.privacy_group_id for event in await watched.told()] == ["g"]


async def test_a_group_that_no_node_can_tell_of_hides_no_other(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where questions with one group in them fail, the others are looked at without it, and blocks go on."""
    watch = watched.watch()
    await watched.seen(watch)
    for node in watched.nodes:

        async def failing(
            groups: Sequence[str], block: int, ask: Callable[..., Awaitable[tuple[GroupView, ...]]] = node.roots_of
        ) -> tuple[GroupView, ...]:
            if "quiet" in groups:
                raise NodeError(Reason(slug="node_error", detail="nonsense"))
            return await ask(groups, block)

        monkeypatch.setattr(node, "roots_of", failing)
    watched.public(*TWICE)
    watched.network.act("g", Action.LOCK)
    await watched.seen(watch)
    assert [event.privacy_group_id for event in await watched.told()] == ["g"]
    assert watched.looks[-1][0].blocks == 2


async def test_an_addition_that_is_sent_again_is_noticed(watched: Watched) -> None:
    """The bytes of an addition in a later block are warned of and counted; twice in one block they are not."""
    watch = watched.watch()
    await watched.seen(watch)
    old = "ab" * 64
    watched.public(transaction("0x1", "0xa", addition=old), transaction("0x2", "0xb", addition=old))
    watched.network.mine(1)
    await watched.seen(watch)
    assert watched.looks[-1][0].repeated == 0
    watched.public(transaction("0x3", "0xthief", addition=old))
    watched.network.mine(1)
    with structlog.testing.capture_logs() as logs:
        await watched.seen(watched.watch("two"))
    (warning,) = [entry for entry in logs if entry["log_level"] == "warning"]
    assert (warning["transaction"], warning["sender"], warning["first_block"]) == ("0x3", "0xthief", 6)
    _, tally = await watched.record.watched()
    assert (tally.repeated, tally.newest_repeated) == (1, "0x3")


async def test_a_long_standstill_is_caught_up_with_in_parts(watched: Watched) -> None:
    """Blocks of a night without the daemon are read in bounded parts, each block once."""
    await watched.seen(watched.watch())
    watched.network.mine(200)
    before = watched.nodes[0].blocks_read
    await watched.seen(watched.watch("two"))
    assert watched.nodes[0].blocks_read - before <= 210
    assert len(watched.looks) >= 4
    assert watched.looks[-1][0].blocks == 201


async def test_one_replica_watches(watched: Watched) -> None:
    """While one replica holds the lease the other reads no block; when it is gone the other takes over."""
    watcher = watched.watchers[0]
    await watcher.refresh()
    first, second = watched.watch("one"), watched.watch("two")
    assert await first._is_ours()
    assert not await second._is_ours()
    watched.clock.time += timedelta(minutes=2)
    assert await second._is_ours()
    assert not await first._is_ours()


async def test_a_block_that_meets_a_defect_is_passed_over(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that can't be examined, whatever the reason, does not end the watch over those behind it."""

    async def poisoned(watcher: ChainWatcher, content: ChainBlock) -> Examination:
        if content.number == 6:
            raise ValueError("nobody thought of it")
        return await examined(watcher, content)

    monkeypatch.setattr(block_watch, "examined", poisoned)
    await watched.seen(watched.watch())
    watched.network.mine(1)
    watched.public(*TWICE)
    watched.network.act("g", Action.LOCK)
    for watcher in watched.watchers:
        await watcher.refresh()
    running = asyncio.create_task(watched.watch().run())
    try:
        async with asyncio.timeout(10):
            while not await watched.told():
                watched.looked.clear()
                await watched.looked.wait()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert [event.data["block_number"] for event in await watched.told()] == [7]


async def test_it_runs_with_the_heads(watched: Watched) -> None:
    """Running, it looks at each block as it comes."""
    for watcher in watched.watchers:
        await watcher.refresh()
    running = asyncio.create_task(watched.watch().run())
    try:
        async with asyncio.timeout(10):
            await watched.looked.wait()
            watched.looked.clear()
            watched.public(*TWICE)
            watched.network.act("g", Action.LOCK)
            for watcher in watched.watchers:
                await watcher.refresh()
            await watched.looked.wait()
        assert [event.privacy_group_id for event in await watched.told()] == ["g"]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_forged_blocks_far_ahead_end_no_watch(watched: Watched) -> None:
    """Blocks that one node showed far above the chain, while no other answered, hide nothing that is made later."""
    await watched.seen(watched.watch())
    liar = FakeNode(FakeNetwork(), "liar", "l")
    liar.network.mine(1_000)
    watched.watchers.append(ChainWatcher(liar, watched.clock))
    for watcher in watched.watchers[:3]:
        watcher.silent = True
    await watched.watchers[3].refresh()
    watch = watched.watch()
    while await watch.look():
        pass
    mark, _ = await watched.record.watched()
    assert mark is not None
    assert mark.number > 900
    del watched.watchers[3]
    watched.public(*TWICE)
    watched.network.act("g", Action.LOCK)
    await watched.seen(watched.watch())
    assert [event.privacy_group_id for event in await watched.told()] == ["g"]
