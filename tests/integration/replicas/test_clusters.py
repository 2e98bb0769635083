"""Real daemons on servers that are several: one is lost while they work, and nothing of the changes is."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from orchestrator.store import migrate
from tests.servers.nats_server import NatsCluster
from tests.servers.postgresql_server import PostgreSQLServer, PostgreSQLStandby
from tests.soak.rolling import harness

GROUPS = 3
STREAMS = ("membership-requests", "membership-events")


@pytest.fixture
def cluster(nats_url: str) -> Iterator[NatsCluster]:
    """Three servers of this test's own; the fixture before sees to it that none is left behind."""
    with NatsCluster() as servers:
        yield servers


@pytest.mark.timeout(300)
async def test_a_cluster_of_nats_may_lose_the_server_that_leads(
    tmp_path: Path, cluster: NatsCluster, postgresql_url: str
) -> None:
    """The leader of the requests' stream is killed, then that of the events': every request and event is there once."""
    await asyncio.to_thread(migrate, postgresql_url)
    chance = Random(5)  # noqa: S311 - a plan that can be repeated
    async with harness(
        tmp_path, chance, store_url=postgresql_url, queue_url=cluster.url, replicas=1, groups=GROUPS, copies=3
    ) as running:
        await running.until_changes_go_on()
        for stream in STREAMS:
            leader = await asyncio.to_thread(cluster.leader_of, stream)
            await asyncio.to_thread(leader.kill)
            await running.until_changes_go_on()
            await asyncio.to_thread(leader.start)
        await running.quiet()
        assert await running.problems() == []


@pytest.mark.timeout(300)
async def test_a_failover_of_postgresql_loses_nothing(tmp_path: Path, nats_url: str) -> None:
    """The primary is killed and its standby promoted: with commits that wait for the standby nothing is lost."""
    with await asyncio.to_thread(PostgreSQLServer) as primary:
        database = primary.create_database()
        await asyncio.to_thread(migrate, primary.url_of(database))
        with await asyncio.to_thread(PostgreSQLStandby, primary) as standby:
            await asyncio.to_thread(primary.require_standbys)
            both = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
            url = primary.url_of(database).replace(f"127.0.0.1:{primary.port}", both)
            chance = Random(6)  # noqa: S311 - a plan that can be repeated
            async with harness(
                tmp_path, chance, store_url=url, queue_url=nats_url, replicas=2, groups=GROUPS
            ) as running:
                await running.until_changes_go_on()
                await asyncio.to_thread(primary.kill)
                await asyncio.to_thread(standby.promote)
                await running.until_changes_go_on()
                await running.quiet()
                assert await running.problems() == []
