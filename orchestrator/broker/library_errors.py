"""Turns what the libraries of the message queues raise into `BrokerError`."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aio_pika.exceptions import AMQPError
from nats.errors import Error as NatsError
from pamqp.exceptions import PAMQPException

from orchestrator.engine.ports import BrokerError

_UNWIND_SECONDS = 0.5

LIBRARY_ERRORS = (NatsError, AMQPError, PAMQPException, OSError, TimeoutError, RuntimeError)
"""What a lost or refused connection may raise (aio-pika uses RuntimeError for a connection that is closed)."""


@contextmanager
def as_broker_errors(queue: str, doing: str) -> Iterator[None]:
    """Raise `BrokerError` for what the libraries raise.

    Both libraries cancel their own tasks when a connection is lost, and let those cancellations out to whoever waits:
    a cancellation that nobody asked this task for is such a loss.

    Args:
        queue: Name of the message queue's kind, for the message.
        doing: What is being done, for the message.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokerError(f"{queue}: {doing} failed: the connection was lost") from error
    except LIBRARY_ERRORS as error:
        raise BrokerError(f"{queue}: {doing} failed: {str(error) or type(error).__name__}") from error


async def close_quietly(closing: asyncio.Task[None], seconds: float) -> None:
    """Wait for a library to close its connection, but not long, and whatever it raises."""
    finished, late = await asyncio.wait({closing}, timeout=seconds)
    for task in late:
        task.cancel()
    if late:
        ended, _ = await asyncio.wait(late, timeout=_UNWIND_SECONDS)
        finished |= ended
    for task in finished:
        if not task.cancelled():
            task.exception()
