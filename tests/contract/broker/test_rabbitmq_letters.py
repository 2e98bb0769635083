"""Looking at RabbitMQ's dead letters does not use them up."""

import asyncio
from collections import Counter
from contextlib import aclosing
from pathlib import Path

import aio_pika

from orchestrator.broker.connection import connect
from orchestrator.broker.rabbitmq.letters import RENEWED_AT
from tests.contract.broker.conftest import NAMES
from tests.patience import patient

LIMIT = 20
"""What RabbitMQ 4 sets where nobody says otherwise."""


async def limited(url: str, letters: int) -> None:
    """Declare the queue of dead letters as somebody else would, with a limit of deliveries, and put letters into it."""
    connection = await aio_pika.connect(url)
    async with connection, connection.channel() as channel:
        arguments: dict[str, aio_pika.abc.FieldValue] = {"x-queue-type": "quorum", "x-delivery-limit": LIMIT}
        await channel.declare_queue(NAMES.dead, durable=True, arguments=arguments)
        for number in range(letters):
            headers: dict[str, aio_pika.abc.FieldValue] = {"orchestrator-reason": f"reason {number}", "kept": "é"}
            message = aio_pika.Message(
                b"%d" % number,
                headers=headers,
                content_type="application/json",
                message_id=f"id-{number}" if number else None,
            )
            await channel.default_exchange.publish(message, NAMES.dead)


async def test_letters_are_there_after_many_looks(rabbitmq_url: str) -> None:
    """However often they are listed, letters stay with their ids, reasons, headers and bodies, and can be replayed."""
    await limited(rabbitmq_url, 3)
    async with connect(rabbitmq_url, directory=Path("/unused"), names=NAMES) as broker:
        first = await broker.dead_letters()
        for _ in range(LIMIT + 2 * RENEWED_AT):
            assert Counter(await _ids(broker.dead_letters())) == Counter(letter.letter_id for letter in first)
        found = {letter.letter_id: letter for letter in await broker.dead_letters()}
        assert found == {letter.letter_id: letter for letter in first}
        assert {letter.headers["kept"] for letter in first} == {"é"}
        for letter in first:
            await broker.replay(letter.letter_id)
        assert await broker.dead_letters() == ()


async def _ids(asking: object) -> list[str]:
    return [letter.letter_id for letter in await asking]  # type: ignore[misc] # a coroutine of letters


async def test_all_who_look_at_once_see_all(rabbitmq_url: str) -> None:
    """Looks at the same time wait for each other, those of one daemon and those of replicas."""
    await limited(rabbitmq_url, 6)
    async with (
        connect(rabbitmq_url, directory=Path("/unused"), names=NAMES) as one,
        connect(rabbitmq_url, directory=Path("/unused"), names=NAMES) as other,
    ):
        seen = await asyncio.gather(*(broker.dead_letters() for broker in (one, other, one, other)))
    assert [len(letters) for letters in seen] == [6, 6, 6, 6]


async def test_a_count_below_zero_is_none(rabbitmq_url: str) -> None:
    """A queue that does not count deliveries hands a sender's own count out; no message comes less often than once."""
    connection = await aio_pika.connect(rabbitmq_url)
    async with connection, connection.channel() as channel:
        await channel.declare_queue(NAMES.requests, durable=True)  # a classic one, which somebody else made
        message = aio_pika.Message(b"{}", headers={"x-delivery-count": -5})
        await channel.default_exchange.publish(message, NAMES.requests)
    async with connect(rabbitmq_url, directory=Path("/unused"), names=NAMES) as broker:
        async with aclosing(broker.triggers()) as source, asyncio.timeout(patient(30)):
            trigger = await anext(source)
        assert trigger.delivery == 1
