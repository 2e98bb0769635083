"""Sessions of replicas that stand still inside a transaction: PostgreSQL is asked to end them.

Its own time-outs do not see all of them. A replica that is stopped between two messages of a pipeline, in which the
driver sends many rows, or while it is sent a long answer, counts as active and not as idle; and a statement's time-out
does not strike while the server waits for the client. Where the last message was a flush it counts as idle, and yet the
time-out for that has stopped running: each message stops it, and only the answer to a sync starts it. Its locks would
stay until it is woken, that of the outbox's positions among them, for which every other replica waits, and those of
lanes, which every other replica passes over.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Final

import sqlalchemy as sa
import structlog

from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.runtime.isolation import contained
from orchestrator.store.database.postgresql import IDLE_SECONDS

LOOK_SECONDS: Final = 1.0

log = structlog.get_logger()

# Only who has written holds what others wait for. Who is waited for, waits for no lock and has begun nothing new for so
# long is ended in whatever state it is: its work is done again. Of other roles' sessions PostgreSQL shows nothing here.
_END = sa.text("""
    SELECT pg_terminate_backend(pid)
    FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user
      AND application_name = current_setting('application_name') AND pid <> pg_backend_pid()
      AND (
        backend_xid IS NOT NULL AND wait_event_type = 'Client'
        OR wait_event_type IS DISTINCT FROM 'Lock' AND pid IN (
          SELECT unnest(pg_blocking_pids(waiting.pid)) FROM pg_stat_activity AS waiting
          WHERE waiting.datname = current_database() AND waiting.wait_event_type = 'Lock'
        )
      )
      AND state_change < clock_timestamp() - make_interval(secs => :seconds)
""")


def end_stuck(connection: sa.Connection, *, after: timedelta) -> int:
    """End sessions of this database's replicas that wait for their clients inside a transaction; returns how many.

    Args:
        connection: A connection to PostgreSQL.
        after: How long they must have waited.
    """
    return sum(connection.execute(_END, {"seconds": after.total_seconds()}).scalars())


async def end_stuck_sessions(read: Callable[[Callable[[sa.Connection], int]], Awaitable[int]]) -> None:
    """Look for such sessions again and again, until cancelled.

    Args:
        read: Runs a unit of work that only reads.
    """
    after = timedelta(seconds=IDLE_SECONDS)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        with contained("stuck sessions"):
            try:
                ended = await read(partial(end_stuck, after=after))
            except StoreError as error:  # whoever needs it tells that it is away
                log.debug("sessions not looked at", reason=str(error))
                continue
            if ended:
                log.warning("a replica stood still inside a transaction and was cut off", sessions=ended)
