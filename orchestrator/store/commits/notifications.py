"""News from other replicas: PostgreSQL's LISTEN on a connection of its own."""

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import sqlalchemy as sa
import structlog

from orchestrator.engine.ports.store import StoreError
from orchestrator.store.commits.transaction import EVENTS_CHANNEL, WORK_CHANNEL
from orchestrator.store.database.news import News
from orchestrator.store.database.postgresql import CONNECT_SECONDS, connect_arguments

PROBE_SECONDS = 15.0
"""A connection that was silent for so long is asked whether it still works."""
ANSWER_SECONDS = 5.0
RECONNECT_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0

log = structlog.get_logger()


async def listen(url: sa.URL, news: News, newest_position: Callable[[], Awaitable[int]]) -> None:
    """Tell what other processes commit, until cancelled; connects again whenever the connection is lost.

    What was committed while there was no connection is made up for: whoever waits is woken once after each connect.

    Args:
        url: Address of a PostgreSQL database.
        news: Where to tell it.
        newest_position: Reads the newest position of the status events.
    """
    arguments = connect_arguments(url)
    pause, told = RECONNECT_SECONDS, ""
    while True:
        try:
            async with asyncio.timeout(4 * CONNECT_SECONDS):  # of several hosts each has its own limit
                # LISTEN counts from its commit on, so that each statement is its own transaction.
                connection = await psycopg.AsyncConnection.connect(**arguments, autocommit=True)
            async with connection:
                # Listening first, then reading: what is committed in between is heard, or read, or both, which does no
                # harm.
                for channel in (WORK_CHANNEL, EVENTS_CHANNEL):
                    await _execute(connection, f"LISTEN {channel}")
                schema = await _schema(connection)
                news.publish(True, await newest_position())
                pause, told = RECONNECT_SECONDS, ""
                await _hear(connection, news, schema)
        except (psycopg.Error, OSError, TimeoutError, StoreError) as error:
            reason = str(error).strip() or type(error).__name__
            if reason != told:
                log.warning("no news from the database, listening again", reason=reason)
                told = reason
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


async def _hear(connection: psycopg.AsyncConnection, news: News, schema: str) -> None:
    while True:
        async for notification in connection.notifies(timeout=PROBE_SECONDS):
            # Stores in other schemas of the database use the same channels.
            position, _, of_schema = notification.payload.partition(" ")
            if of_schema != schema:
                continue
            if notification.channel == WORK_CHANNEL:
                news.publish(True, 0)
            elif position.isdecimal():
                news.publish(False, int(position))
        await _execute(connection, "SELECT 1")


async def _schema(connection: psycopg.AsyncConnection) -> str:
    async with asyncio.timeout(ANSWER_SECONDS):
        row = await (await connection.execute("SELECT current_schema()")).fetchone()
    return "" if row is None else str(row[0])


async def _execute(connection: psycopg.AsyncConnection, statement: str) -> None:
    async with asyncio.timeout(ANSWER_SECONDS):
        await connection.execute(statement.encode())
