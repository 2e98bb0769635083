"""Turns what the libraries of the message queues raise into `BrokerError`."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

from aio_pika.exceptions import AMQPError, ChannelPreconditionFailed, DeliveryError, PublishError
from aiormq.exceptions import InvalidFrameError
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError
from nats.js.errors import APIError, NoStreamResponseError, ServiceUnavailableError
from pamqp import commands
from pamqp.exceptions import PAMQPException

from orchestrator.engine.ports.queues import BrokerError, UnfitMessageError
from orchestrator.outside_text import presentable

_UNWIND_SECONDS = 0.5
_LARGER_THAN_THE_STREAM_TAKES = 10054
"""JetStream's own number for it."""
_JETSTREAM_OFF = frozenset({10039, 10076})

LIBRARY_ERRORS = (NatsError, AMQPError, PAMQPException, OSError, TimeoutError, RuntimeError)
"""What a lost or refused connection may raise (aio-pika uses RuntimeError for a connection that is closed)."""


@contextmanager
def as_broker_errors(queue: str, doing: str) -> Iterator[None]:
    """Raise `BrokerError` for what the libraries raise, and nothing else for our own cancellation.

    The libraries cancel their own tasks when a connection is lost, and let those cancellations out to whoever waits: a
    cancellation that nobody asked this task for is such a loss. And they drop ours: before Python 3.12
    `asyncio.wait_for`, by which they wait for answers, returns the answer when both come together. What was cancelled
    would go on for ever, so the cancellation is raised here.

    Args:
        queue: Name of the message queue's kind, for the message.
        doing: What is being done, for the message.

    Raises:
        BrokerError: The library failed.
        CancelledError: The task was cancelled, whatever became of what it did.
    """
    task = asyncio.current_task()
    before = 0 if task is None else task.cancelling()
    try:
        yield
    except asyncio.CancelledError as error:
        # `cancelling` counts what was asked of this task: the library's own cancellations raise the same, uncounted.
        if task is None or task.cancelling():
            raise
        raise BrokerError(f"{queue}: {doing} failed: the connection was lost") from error
    except Exception as error:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError from error
        # What is none of these is a defect of ours, and is to be seen as one.
        if not isinstance(error, LIBRARY_ERRORS):
            raise
        kind = UnfitMessageError if _is_unfit(error) else BrokerError
        raise kind(f"{queue}: {doing} failed: {reason_of(error)}") from error
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError


def reason_of(error: BaseException) -> str:
    """Return why a library failed, in the server's own words where it said something, and what they mean."""
    match error:
        case NoStreamResponseError():
            return "no stream has this subject, or JetStream is off for this account: nobody answered"
        case ServiceUnavailableError():
            said = presentable(str(error.description))
            off = error.err_code is None or error.err_code in _JETSTREAM_OFF
            return f"JetStream is off, on the server or for this account ({said})" if off else said
        case APIError():
            return presentable(str(error.description))
        case InvalidFrameError():
            return _closing_words(error)
        case DeliveryError() if not isinstance(error, PublishError):
            return "the server did not take the message: a queue is full, or has no leader now"
        case TimeoutError():
            return f"no answer in time ({str(error) or type(error).__name__})"
    said = presentable(str(error))
    return said or type(error).__name__


def _closing_words(error: BaseException) -> str:
    """Return why RabbitMQ closed a connection that was being opened: for a virtual host that this user has not.

    aiormq's exception names the frame's type alone; the frame with the reason is where it was raised.
    """
    for frame, _ in walk_tb(error.__traceback__):
        closing = frame.f_locals.get("frame")
        if isinstance(closing, commands.Connection.Close):
            return presentable(closing.reply_text)
    return presentable(str(error))


def _is_unfit(error: BaseException) -> bool:
    """Whether a queue refused a message for its size, which it will do each time."""
    match error:
        case MaxPayloadError():
            return True
        case APIError():
            # The stream's own bound: it may be lower than that of the server, which the client looks at itself.
            return error.err_code == _LARGER_THAN_THE_STREAM_TAKES
        case ChannelPreconditionFailed():
            return "message size" in str(error)
    return False


async def close_quietly(closing: asyncio.Task[None], seconds: float) -> None:
    """Wait for a library to close its connection, but not long, and whatever it raises."""
    finished, late = await asyncio.wait({closing}, timeout=seconds)
    for task in late:
        task.cancel()
    if late:
        # A library that catches its own cancellation would be waited for without an end.
        ended, _ = await asyncio.wait(late, timeout=_UNWIND_SECONDS)
        finished |= ended
    for task in finished:
        if not task.cancelled():
            task.exception()
