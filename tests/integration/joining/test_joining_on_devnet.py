"""Joins on emulated nodes: somebody else's client adds one of our nodes to its group."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from orchestrator.app.configured.node_access import connect_nodes
from orchestrator.besu import FlexiblePrivacyGroups, HttpNode, Node, open_session, signer_from_key
from orchestrator.config import NodeConfig
from orchestrator.devnet import Devnet, DevnetConfig, running_devnet
from orchestrator.devnet.network.history import HISTORY_GROUP
from orchestrator.engine.attestation.joined_groups import Joiner
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.proof.replay_tracker import ReplayTracker
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.membership.news.status import EventType, StatusEvent
from orchestrator.store.commits.database import Database
from orchestrator.store.commits.schema_version import migrate
from orchestrator.store.stores.change_store import SqlChangeStore
from orchestrator.store.stores.outbox_store import SqlOutbox
from tests.integration.lost_additions import losing_the_next_addition
from tests.patience import patient

# The well-known public development key of 0xfe3b….
OWNER = signer_from_key("8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63")

AN_HOUR = 3600.0


@dataclass
class Scene:
    """A devnet with a group of its first two nodes, its owner's client, and a joiner on some nodes."""

    devnet: Devnet
    owner: FlexiblePrivacyGroups
    joiner: Joiner
    outbox: SqlOutbox

    async def add_the_third(self) -> None:
        await self.joiner.look()
        await self.owner.add(HISTORY_GROUP, [self.devnet.nodes[2].enclave_key])

    async def follow_until(self, last: EventType) -> list[StatusEvent]:
        async with asyncio.timeout(patient(30)):
            while True:
                await self.joiner.look()
                stored = await self.outbox.after(0, limit=1000)
                told = [item.event for item in stored if item.event.privacy_group_id == HISTORY_GROUP]
                if told and told[-1].type is last:
                    return told
                await asyncio.sleep(0.05)

    async def follow_to_the_end(self) -> list[StatusEvent]:
        return await self.follow_until(EventType.GROUP_JOINED)


@asynccontextmanager
async def scene(folder: Path, *ours: int, **settings: object) -> AsyncIterator[Scene]:
    given = {"base_port": 0, "block_period_seconds": 0.2, "history": 30, "replay_ms_per_transaction": 50, **settings}
    url = f"sqlite:///{folder / 'store.db'}"
    await asyncio.to_thread(migrate, url)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        devnet = await stack.enter_async_context(
            running_devnet(DevnetConfig(**given))  # type: ignore[arg-type] # keywords of the test
        )
        database = await stack.enter_async_context(Database(url))
        session = await stack.enter_async_context(open_session())
        configured = tuple(
            NodeConfig(name=f"m{n.number}", http=n.http_url, ws=n.ws_url, enclave_keys=(n.enclave_key,))
            for n in devnet.nodes
            if n.number in ours
        )
        nodes = await connect_nodes(stack, configured)
        fleet = Fleet([ChainWatcher(node, clock) for node in nodes])
        outbox = SqlOutbox(database)
        tracker = ReplayTracker(timedelta(milliseconds=50))
        first = devnet.nodes[0]
        owner = FlexiblePrivacyGroups(
            Node(HttpNode(session, first.http_url)), OWNER, first.enclave_key, poll_seconds=0.02
        )
        for watcher in fleet.watchers:
            await watcher.refresh()
        watching = [asyncio.create_task(watcher.run()) for watcher in fleet.watchers]
        try:
            yield Scene(
                devnet, owner, Joiner(fleet, SqlChangeStore(database, clock), outbox, tracker, clock, "one"), outbox
            )
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)


async def test_the_operator_of_the_new_member_sees_its_replay(tmp_path: Path) -> None:
    """With an old member's node at hand the replay's progress is told, and the end when the states are equal."""
    async with scene(tmp_path, 2, 3, validators=1) as joining:
        third = joining.devnet.emulation.network.nodes[2]
        each, third.replay_seconds_each = third.replay_seconds_each, AN_HOUR
        await joining.add_the_third()
        await joining.follow_until(EventType.GROUP_JOINING)  # the replay is seen, however late the first look comes
        third.replay_seconds_each = each
        told = await joining.follow_to_the_end()
    assert [event.type for event in told[:2]] == [EventType.GROUP_JOINING] * 2
    last = told[-1].data["progress"]
    assert isinstance(last, list)
    assert isinstance(last[0], dict)
    assert last[0]["verdict"] == "in_sync"
    assert last[0]["blocks_replayed"] == last[0]["blocks_total"]


async def test_the_operator_of_a_single_node_hears_of_the_group(tmp_path: Path) -> None:
    """With the new member's node alone the join is told once the node has the group."""
    async with scene(tmp_path, 3, validators=1) as joining:
        await joining.add_the_third()
        told = await joining.follow_to_the_end()
    assert told[-1].data["reference"] is None
    assert told[-1].data["node"] == "m3"


async def test_a_join_that_gets_lost_is_told(tmp_path: Path) -> None:
    """A new member that loses the group one block later is told as diverged or missing, not as joined in sync."""
    async with scene(tmp_path, 2, 3, validators=1) as joining:
        async with losing_the_next_addition(joining.devnet, 3):
            await joining.add_the_third()
        told = await joining.follow_to_the_end()
    last = told[-1].data["progress"]
    assert isinstance(last, list)
    assert isinstance(last[0], dict)
    assert last[0]["verdict"] in {"diverged", "missing"}
