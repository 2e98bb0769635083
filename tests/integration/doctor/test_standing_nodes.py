"""The running daemon's watch over nodes that stand still, on emulated nodes."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

from orchestrator.app.configured.node_access import connect_nodes
from orchestrator.config import NodeConfig
from orchestrator.devnet import DevnetConfig, running_devnet
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.standstill import StandstillWatch
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.membership.news.status import EventType
from orchestrator.store.commits.database import Database
from orchestrator.store.commits.schema_version import migrate
from orchestrator.store.stores.change_store import SqlChangeStore
from orchestrator.store.stores.outbox_store import SqlOutbox
from tests.patience import patient


async def test_a_node_that_lost_its_peers_is_told_until_it_moves(tmp_path: Path) -> None:
    """A node that is cut off is told with the cause that it has no peers, and when it is back that it moves."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    await asyncio.to_thread(migrate, url)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        config = DevnetConfig(base_port=0, block_period_seconds=0.1, validators=1)
        devnet = await stack.enter_async_context(running_devnet(config))
        database = await stack.enter_async_context(Database(url))
        configured = tuple(
            NodeConfig(name=f"m{n.number}", http=n.http_url, enclave_keys=(n.enclave_key,)) for n in devnet.nodes
        )
        fleet = Fleet([ChainWatcher(node, clock) for node in await connect_nodes(stack, configured)])
        outbox, store = SqlOutbox(database), SqlChangeStore(database, clock)
        watch = StandstillWatch(fleet, store, outbox, clock, "one", timedelta(seconds=0.3))

        async def told(count: int) -> list[tuple[EventType, object]]:
            async with asyncio.timeout(patient(20)):
                while len(events := await outbox.after(0, limit=10)) < count:
                    await asyncio.gather(*(watcher.refresh() for watcher in fleet.watchers))
                    await watch.look()
                    await asyncio.sleep(0.05)
            return [(stored.event.type, stored.event.data.get("hold")) for stored in events]

        await devnet.call(1, "devnet_setPropagation", [3, False, False])
        await devnet.call(1, "devnet_mine", [6])
        assert await told(1) == [(EventType.NODE_STANDING_STILL, "peers")]
        assert watch.standing == {"m3"}
        await devnet.call(1, "devnet_setPropagation", [3, True, True])
        assert (await told(2))[1:] == [(EventType.NODE_MOVING, None)]
