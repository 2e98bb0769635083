"""A store for what is read of histories."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.store.commits.database import Database
from orchestrator.store.commits.schema_version import migrate
from orchestrator.store.stores.history_store import SqlHistoryStore


@pytest.fixture
async def histories(tmp_path: Path) -> AsyncIterator[SqlHistoryStore]:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    migrate(url)
    async with Database(url) as database:
        yield SqlHistoryStore(database)
