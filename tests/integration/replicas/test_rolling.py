"""Three real daemons on one PostgreSQL and one NATS, upgraded one after the other while they work."""

import asyncio
from pathlib import Path
from random import Random

import pytest

from orchestrator.store import migrate, schema_version
from tests.fakes.following_release import REVISION, following_migrate
from tests.servers.postgresql_server import PostgreSQLServer
from tests.soak.rolling import LEASE_SECONDS, restart_each, stage

GROUPS = 3


@pytest.mark.timeout(300)
async def test_a_rolling_upgrade_is_not_seen_in_the_changes(
    tmp_path: Path,
    nats_url: str,
    postgresql_server: PostgreSQLServer,
    postgresql_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The schema of the next release comes while three work, and each is restarted on it: no change is hurt.

    None is lost, done twice, out of order, or left lying for a lease; who stops gives all its lanes back.
    """
    (tmp_path / "next").mkdir()
    newer = following_migrate(tmp_path / "next", monkeypatch)
    await asyncio.to_thread(migrate, postgresql_url)
    chance = Random(7)  # noqa: S311 - a plan that can be repeated
    async with stage(
        tmp_path, chance, store_url=postgresql_url, queue_url=nats_url, replicas=3, groups=GROUPS
    ) as running:
        problems = await restart_each(running, [lambda: asyncio.to_thread(newer, postgresql_url)])
        await running.quiet()
        problems += await running.problems()
        assert problems == []
        assert schema_version(postgresql_url) == REVISION
        assert running.watch.longest_seconds < LEASE_SECONDS
        assert all(len(group.asked) > 2 for group in running.groups)
