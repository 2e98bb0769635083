"""News from other replicas: PostgreSQL's LISTEN on a connection of its own."""

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import sqlalchemy as sa
import structlog

from orchestrator.engine.ports import StoreError
from orchestrator.store.connections import CONNECT_SECONDS
from orchestrator.store.news import News
from orchestrator.store.transaction import EVENTS_CHANNEL, WORK_CHANNEL

PROBE_SECONDS = 15.0
"""A connection that was silent for so long is asked whether it still works."""
ANSWER_SECONDS = 5.0
RECONNECT_SECONDS = 0.5

log = structlog.get_logger()


async def listen(url: sa.URL, news: News, newest_position: Callable[[], Awaitable[int]]) -> None:
    """Tell what other processes commit, until cancelled; connects again whenever the connection is lost.

    What was committed while there was no connection is made up for: whoever waits is woken once after each connect.

    Args:
        url: Address of a PostgreSQL database.
        news: Where to tell it.
        newest_position: Reads the newest position of the status events.
    """
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(
                address, autocommit=True, connect_timeout=CONNECT_SECONDS
            )
            async with connection:
                for channel in (WORK_CHANNEL, EVENTS_CHANNEL):
                    await _execute(connection, f"LISTEN {channel}")
                news.publish(True, await newest_position())
                await _hear(connection, news)
        except (psycopg.Error, OSError, TimeoutError, StoreError) as error:
            log.warning("no news from the database, listening again", reason=str(error).strip())
        await asyncio.sleep(RECONNECT_SECONDS)


async def _hear(connection: psycopg.AsyncConnection, news: News) -> None:
    while True:
        async for notification in connection.notifies(timeout=PROBE_SECONDS):
            if notification.channel == WORK_CHANNEL:
                news.publish(True, 0)
            elif notification.payload.isdecimal():
                news.publish(False, int(notification.payload))
        await _execute(connection, "SELECT 1")


async def _execute(connection: psycopg.AsyncConnection, statement: str) -> None:
    async with asyncio.timeout(ANSWER_SECONDS):
        await connection.execute(statement.encode())
