"""A store for what is read of histories."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.store.database import Database
from orchestrator.store.history_store import SqlHistoryStore
from orchestrator.store.schema_version import migrate


@pytest.fixture
async def histories(tmp_path: Path) -> AsyncIterator[SqlHistoryStore]:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    migrate(url)
    async with Database(url) as database:
        yield SqlHistoryStore(database)
