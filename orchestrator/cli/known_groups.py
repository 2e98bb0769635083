"""Which groups the store knows, for verbs that look at nodes without a daemon."""

from pathlib import Path
from typing import Final

from orchestrator.app import store_url
from orchestrator.config import Config
from orchestrator.engine.clock import SystemClock
from orchestrator.store.change_store import SqlChangeStore
from orchestrator.store.database import Database

MOST_GROUPS: Final = 10_000


async def known_groups(config: Config) -> tuple[str, ...] | None:
    """Return the ids of groups that a change succeeded in; None when there is no store yet. Makes none.

    Raises:
        StoreError: The store can't be read.
    """
    url = store_url(config)
    if _is_unmade(url):
        return None
    async with Database(url) as database:
        return await SqlChangeStore(database, SystemClock()).groups(limit=MOST_GROUPS)


def _is_unmade(url: str) -> bool:
    return url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists()
