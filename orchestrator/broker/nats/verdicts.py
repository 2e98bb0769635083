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
from orchestrator.engine.ports.queues import BrokerError

ANSWER_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.5
"""How often the stream is asked for more when there was none."""

STREAM_SETTLES_SECONDS: Final = 0.5
"""A stream that others have just made is listed before it is whole: NATS 2.9.10 ends (a nil pointer in its answer to
``STREAM.MSG.GET``) when it is asked for a message then."""

LOOKS_PER_CHECK: Final = 20
"""How many times nothing new is found until it is asked whether this is still the same stream."""

_NO_MESSAGE_FOUND: Final = 10037

VERDICT_STREAM: Final = StreamConfig(max_age=3600, max_msgs=10_000, max_bytes=256 << 20, max_msg_size=512 << 10)


async def read(link: NatsLink, subject: str) -> AsyncGenerator[bytes, None]:
    """Yield what is on a subject, from the oldest message that is kept, while the connection lasts.

    Raises:
        BrokerError: The connection was lost, or the stream.
    """
    session = await link.session()
    stream = await link.stream(session, subject, VERDICT_STREAM)
    await asyncio.sleep(STREAM_SETTLES_SECONDS)
    after, empty_looks = 0, 0
    while await link.session() is session:
        found = await _answer(link, session, stream, subject, after + 1)
        if found is not None:
            (after, body), empty_looks = found, 0
            yield body
            continue
        # A stream that was deleted and made again counts from 1: what is behind the old place would never come.
        if (empty_looks := empty_looks + 1) % LOOKS_PER_CHECK == 0:
            newest = await _answer(link, session, stream, subject, None)
            after = 0 if newest is not None and newest[0] < after else after
        await asyncio.sleep(LOOK_SECONDS)


async def _answer(
    link: NatsLink, session: Session, stream: str, subject: str, first: int | None
) -> tuple[int, bytes] | None:
    """Ask for the next message from a place on, or for the newest; None where there is none.

    A question whose connection is lost meanwhile is not waited for: the client library waits its whole time-out for an
    answer that went down with the connection.
    """
    with as_broker_errors(QUEUE, f"reading {subject}"):
        asking = asyncio.ensure_future(session.jetstream.get_msg(stream, first, subject, next=first is not None))
        ended = asyncio.ensure_future(session.ended.wait())
        try:
            await asyncio.wait({asking, ended}, timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                if not session.ended.is_set():
                    await link.suspect(session)
                raise BrokerError(f"{QUEUE}: reading {subject} failed: no answer, or the connection was lost")
            found = asking.result()
        except NotFoundError as error:
            if error.err_code != _NO_MESSAGE_FOUND:
                raise  # the stream is gone
            return None
        finally:
            asking.cancel()
            ended.cancel()
            await asyncio.gather(asking, ended, return_exceptions=True)
    return found.seq or first or 0, found.data or b""
