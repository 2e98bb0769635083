"""The channel for publishing is given up when something was not taken on it, and only then."""

import asyncio
from typing import cast

import pytest
from aio_pika.abc import AbstractConnection

from orchestrator.broker.rabbitmq.publish_channel import Publishing


class _Channel:
    is_closed = False

    async def close(self) -> None:
        self.is_closed = True


class _Connection:
    async def channel(self, *, publisher_confirms: bool, on_return_raises: bool) -> _Channel:
        assert publisher_confirms
        assert on_return_raises
        return _Channel()


def opened() -> Publishing:
    return Publishing(cast("AbstractConnection", _Connection()))


async def test_all_publish_on_one_channel() -> None:
    """Whoever publishes, at the same time or later, is given the same channel, which stays open."""
    publishing = opened()
    async with publishing.channel() as one, publishing.channel() as other:
        assert one is other
    async with publishing.channel() as later:
        assert later is one
        assert not later.is_closed


async def test_a_channel_that_did_not_take_a_message_is_not_used_again() -> None:
    """After a refusal others get a new channel; the refused one is closed when all who publish on it are done."""
    publishing = opened()
    async with publishing.channel() as slow:
        with pytest.raises(ConnectionRefusedError):
            async with publishing.channel() as refused:
                raise ConnectionRefusedError
        async with publishing.channel() as new:
            assert (refused is slow, new is slow, slow.is_closed) == (True, False, False)
    assert slow.is_closed
    assert not new.is_closed


async def test_a_channel_that_gives_no_answer_is_not_used_again() -> None:
    """Who stops waiting for a confirmation leaves the channel closed behind."""
    publishing = opened()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), publishing.channel() as mute:
            await asyncio.Event().wait()
    assert mute.is_closed
    async with publishing.channel() as new:
        assert new is not mute


async def test_a_channel_that_was_closed_is_replaced() -> None:
    """What RabbitMQ closed is not given out again."""
    publishing = opened()
    async with publishing.channel() as closed:
        await closed.close()
    async with publishing.channel() as new:
        assert new is not closed
