"""A store for what is read of histories."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.store.commits.database import Database
from orchestrator.store.stores.history_store import SqlHistoryStore
from tests.fakes.migrated_stores import migrated


@pytest.fixture
async def histories(tmp_path: Path) -> AsyncIterator[SqlHistoryStore]:
    url = migrated(tmp_path / "store.db")
    async with Database(url) as database:
        yield SqlHistoryStore(database)
