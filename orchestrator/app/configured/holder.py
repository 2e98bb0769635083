"""The name under which this process holds lanes and leases: no two processes ever have the same."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

import structlog

from orchestrator.config import Config
from orchestrator.engine.ports.store import StoreError
from orchestrator.store.commits.database import Database
from orchestrator.store.database.holder_names import LIFE_MARK, claimed_name
from orchestrator.store.errors import StoreUnavailableError
from orchestrator.store.stores.change_store import SqlChangeStore

CONFIGURED_SECONDS: Final = 3.0
"""How long a configured name is tried for: what was killed a moment ago may still be ending."""
DERIVED_SECONDS: Final = 1.0
_GIVE_BACK_SECONDS: Final = 5.0

log = structlog.get_logger()


class NameTakenError(StoreError):
    """Another process runs under the name that is configured for this one."""


@asynccontextmanager
async def holding(config: Config, database: Database, store: SqlChangeStore) -> AsyncIterator[str]:
    """Give this process's name as a holder; what it holds is given back when the context ends.

    `engine.replica`, or else host and address, is claimed first. Who has that alone takes up at once what an earlier
    life of it left. Two containers of one template have the same host name and address: the second one goes on without
    a claim, and what it leaves when it is killed is free when its leases are over.

    Args:
        config: The configuration.
        database: The open database.
        store: The record of changes on it.

    Raises:
        NameTakenError: `engine.replica` names a replica that runs.
        StoreError: The database can't be asked.
    """
    configured = config.engine.replica
    name = configured or f"{socket.gethostname()}/{config.api.listen}"
    async with AsyncExitStack() as stack:
        try:
            seconds = CONFIGURED_SECONDS if configured else DERIVED_SECONDS
            ours = await stack.enter_async_context(claimed_name(database.url, name, seconds))
        except StoreUnavailableError as error:
            if configured:
                raise
            log.warning("goes on without a name of its own", reason=str(error))
            ours = False
        if configured and not ours:
            raise NameTakenError(
                f"another process runs as engine.replica {configured!r} on this store: give each replica a name of its "
                "own (ORCHESTRATOR_ENGINE__REPLICA), or leave it out; if that one was killed, try again in 15 s"
            )
        life = secrets.token_hex(6)
        holder = f"{name}{LIFE_MARK}{life}" if ours else f"{name} {life}"
        freed = await store.forget(name=name) if ours else frozenset()
        log.info("holds lanes as", holder=holder, taken_up=len(freed))
        try:
            yield holder
        finally:
            with suppress(StoreError, TimeoutError):
                await asyncio.wait_for(store.forget(name=holder), _GIVE_BACK_SECONDS)
