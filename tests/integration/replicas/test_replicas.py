"""Three real daemons on one PostgreSQL and one NATS, upgraded one after the other and cut off while they work."""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from random import Random

import aiohttp
import pytest

from orchestrator.store import migrate, schema_version
from tests.fakes.following_release import REVISION, following_migrate
from tests.integration.replicas.cutting import Cut, Ways, cut_off
from tests.servers.nats_server import NatsServer
from tests.servers.postgresql_server import PostgreSQLServer
from tests.soak.rolling import harness, restart_each

GROUPS = 3
LEASE_SECONDS = 6.0


@pytest.mark.timeout(600)
async def test_changes_show_nothing_of_upgrades_and_cuts(
    tmp_path: Path,
    nats_server: NatsServer,
    postgresql_server: PostgreSQLServer,
    postgresql_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each of three replicas is restarted, the next release's schema in between, and one is cut off from everything.

    No change is lost, done twice, out of order, or, by a restart, left lying for a lease: who stops gives all lanes
    back. Who is cut off says so, sends nothing once its leases are over, leaves its lanes to the others, and returns.
    """
    (tmp_path / "next").mkdir()
    newer = following_migrate(tmp_path / "next", monkeypatch)
    await asyncio.to_thread(migrate, postgresql_url)
    chance = Random(7)  # noqa: S311 - a plan that can be repeated
    with ExitStack() as stack:
        ways = Ways(stack, postgresql_server.port, nats_server.port)
        async with (
            harness(
                tmp_path,
                chance,
                store_url=postgresql_url,
                queue_url=nats_server.url,
                replicas=3,
                groups=GROUPS,
                lease_seconds=LEASE_SECONDS,
                changed=ways.lead,
            ) as running,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session,
        ):
            problems = await restart_each(running, [lambda: asyncio.to_thread(newer, postgresql_url)])
            assert problems == []
            assert schema_version(postgresql_url) == REVISION
            assert running.watch.longest_seconds < LEASE_SECONDS
            await cut_off(Cut(running, ways, session), LEASE_SECONDS)
            await running.quiet()
            assert await running.problems() == []
