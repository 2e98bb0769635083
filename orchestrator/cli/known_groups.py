"""What the store knows, for verbs that look at nodes without a daemon."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from orchestrator.app import store_url
from orchestrator.config import Config
from orchestrator.engine.audit.auditor import announced_through, parted_by_additions
from orchestrator.engine.nodes.chain_guard import NodeChain
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.membership.damage.unextendable import Unextendable, WatchTally
from orchestrator.store.commits.database import Database
from orchestrator.store.stores.block_watch_store import SqlWatchRecord
from orchestrator.store.stores.chain_store import SqlNodeChains
from orchestrator.store.stores.change_store import SqlChangeStore
from orchestrator.store.stores.outbox_store import SqlOutbox

MOST_GROUPS: Final = 10_000


async def known_groups(config: Config) -> tuple[str, ...] | None:
    """Return the ids of groups that a change succeeded in; None when there is no store yet. Makes none.

    Raises:
        StoreError: The store can't be read.
    """
    async with _opened(config) as database:
        if database is None:
            return None
        return await SqlChangeStore(database, SystemClock()).groups(limit=MOST_GROUPS)


async def parted_members(config: Config) -> Mapping[str, frozenset[str]]:
    """Return by group the members that an addition parted from the others, as the store has it; makes none.

    Raises:
        StoreError: The store can't be read.
    """
    url = store_url(config)
    if is_unmade(url):
        return {}
    async with Database(url) as database:
        told, _ = await announced_through(SqlOutbox(database), {}, 0)
        return parted_by_additions(told)


async def kept_watch(config: Config) -> tuple[WatchTally, tuple[Unextendable, ...]] | None:
    """Return what the watch over new blocks and the reading of histories found; None without a store. Makes none.

    Raises:
        StoreError: The store can't be read.
    """
    async with _opened(config) as database:
        if database is None:
            return None
        record = SqlWatchRecord(database)
        closed = {found.privacy_group_id: found for found in await record.unextendable()}
        # The past goes before: the watch knows the first bad block since it runs, which need not be a group's first.
        closed |= {found.privacy_group_id: found for found in await record.closed_by_past()}
        return (await record.watched())[1], tuple(closed[group] for group in sorted(closed))


async def kept_chains(config: Config) -> Mapping[str, NodeChain]:
    """Return which chain each node was on, as the store has it; nothing without a store. Makes none.

    Raises:
        StoreError: The store can't be read.
    """
    async with _opened(config) as database:
        if database is None:
            return {}
        return await SqlNodeChains(database).chains()


@asynccontextmanager
async def _opened(config: Config) -> AsyncIterator[Database | None]:
    """Open the store; None when there is none yet, for opening it would make one."""
    url = store_url(config)
    if is_unmade(url):
        yield None
        return
    async with Database(url) as database:
        yield database


def is_unmade(url: str) -> bool:
    """Return whether a URL names a file that is not there."""
    return url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists()
