"""What the libraries of the message queues raise."""

import asyncio

import pytest
from aio_pika.exceptions import AMQPConnectionError, DeliveryError
from nats.errors import NoServersError
from pamqp import commands

from orchestrator.broker.library_errors import as_broker_errors, close_quietly
from orchestrator.engine.ports.queues import BrokerError


@pytest.mark.parametrize("error", [NoServersError(), AMQPConnectionError("gone"), OSError("refused"), TimeoutError()])
async def test_library_errors_become_broker_errors(error: Exception) -> None:
    """Whatever a library raises is told as one kind of error, with what was being done."""
    with pytest.raises(BrokerError, match=r"NATS: greeting failed: ."), as_broker_errors("NATS", "greeting"):
        raise error


async def test_a_message_that_was_not_taken_is_told_in_words() -> None:
    """RabbitMQ refuses a message with a bare frame, which says nothing to whoever reads the log."""
    refused = DeliveryError(None, commands.Basic.Nack(delivery_tag=1))
    with pytest.raises(BrokerError, match=r"full, or has no leader"), as_broker_errors("RabbitMQ", "publishing"):
        raise refused


async def test_a_cancellation_that_nobody_asked_for_is_a_lost_connection() -> None:
    """A library's own cancelled task does not look like a cancellation of ours."""
    inner = asyncio.get_running_loop().create_future()
    inner.cancel()
    with pytest.raises(BrokerError, match="connection was lost"), as_broker_errors("NATS", "greeting"):
        await inner


async def test_our_own_cancellation_passes() -> None:
    """A task that is cancelled ends as cancelled."""

    async def wait() -> None:
        with as_broker_errors("NATS", "greeting"):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("answer", ["an answer", NoServersError(), ValueError()], ids=str)
async def test_our_own_cancellation_is_not_lost_to_an_answer(answer: str | Exception) -> None:
    """A task that is cancelled in the moment in which it is answered ends as cancelled: it would go on for ever."""
    answered = asyncio.get_running_loop().create_future()

    async def ask_for_ever() -> None:
        while True:
            with as_broker_errors("NATS", "greeting"):
                await asyncio.wait_for(answered, 60)
            await asyncio.Event().wait()

    task = asyncio.create_task(ask_for_ever())
    await asyncio.sleep(0)
    if isinstance(answer, str):
        answered.set_result(answer)
    else:
        answered.set_exception(answer)
    task.cancel()
    await asyncio.wait({task}, timeout=30)
    assert task.cancelled()


async def test_closing_is_bounded_and_silent() -> None:
    """A connection that does not close, or raises while closing, holds nothing up."""

    async def never() -> None:
        await asyncio.Event().wait()

    async def fail() -> None:
        raise OSError("broken pipe")

    async with asyncio.timeout(30):
        await close_quietly(asyncio.create_task(never()), 0.01)
        await close_quietly(asyncio.create_task(fail()), 0.01)
