"""Verdicts of other organisations' daemons on NATS: a short stream, read message by message.

Each daemon reads all of it, from the oldest that is kept: reading again what was read before does no harm, and so
neither a durable consumer nor the server's memory of an ephemeral one is needed.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

from orchestrator.broker.library_errors import as_broker_errors
from orchestrator.broker.nats.link import QUEUE, NatsLink, Session
from orchestrator.engine.ports import BrokerError

ANSWER_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.5
"""How often the stream is asked for more when there was none."""

VERDICT_STREAM: Final = StreamConfig(max_age=3600, max_msgs=10_000, max_bytes=256 << 20, max_msg_size=512 << 10)


async def read(link: NatsLink, subject: str) -> AsyncGenerator[bytes, None]:
    """Yield what is on a subject, from the oldest message that is kept, while the connection lasts.

    Raises:
        BrokerError: The connection was lost, or the stream.
    """
    session = await link.session()
    stream = await link.stream(session, subject, VERDICT_STREAM)
    after = 0
    while await link.session() is session:
        try:
            found = await _next(session, stream, subject, after)
        except BrokerError:
            if not session.ended.is_set():
                await link.suspect(session)
            raise
        if found is None:
            await asyncio.sleep(LOOK_SECONDS)
        else:
            after, body = found
            yield body


async def _next(session: Session, stream: str, subject: str, after: int) -> tuple[int, bytes] | None:
    """Ask for the next message; a question whose connection is lost meanwhile is not waited for.

    The client library waits its whole time-out for an answer that went down with the connection.
    """
    with as_broker_errors(QUEUE, f"reading {subject}"):
        asking = asyncio.ensure_future(session.jetstream.get_msg(stream, seq=after + 1, subject=subject, next=True))
        ended = asyncio.ensure_future(session.ended.wait())
        try:
            await asyncio.wait({asking, ended}, timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise BrokerError(f"{QUEUE}: reading {subject} failed: no answer, or the connection was lost")
            found = asking.result()
        except NotFoundError:
            return None
        finally:
            asking.cancel()
            ended.cancel()
            await asyncio.gather(asking, ended, return_exceptions=True)
    return found.seq or after + 1, found.data or b""
