"""RabbitMQ as administrators of others run it: few rights, things declared beforehand, limits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aio_pika
import pytest
from aio_pika.abc import ExchangeType

from orchestrator.broker.connection import connect
from orchestrator.broker.names import Limits, Names
from orchestrator.broker.port import Broker
from orchestrator.engine.ports.queues import BrokerError, UnfitMessageError
from tests.contract.broker.trying import TYPE, until_it_fails, works
from tests.patience import patient
from tests.servers.rabbitmq_server import RabbitMQServer

NAMES = Names()
USING = {"configure": "^$", "write": r"^(amq\.default|membership\.events)$", "read": r"^membership\.requests.*$"}


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Broker]:
    limits = Limits(call_seconds=5.0, reconnect_seconds=0.2)
    async with connect(url, directory=Path("/unused"), limits=limits) as broker:
        yield broker


async def declared(url: str, kind: ExchangeType = ExchangeType.TOPIC, *, queues: bool = True) -> None:
    connection = await aio_pika.connect(url)
    async with connection, connection.channel() as channel:
        await channel.declare_exchange(NAMES.events, kind, durable=True)
        for name in (NAMES.requests, NAMES.dead) if queues else ():
            await channel.declare_queue(name, durable=True)


def as_user(server: RabbitMQServer, url: str, virtual_host: str, rights: dict[str, str]) -> str:
    name = server.create_user(virtual_host, **rights)
    return url.replace("guest:guest", f"{name}:{name}")


async def test_a_user_who_may_declare_nothing_uses_what_is_there(
    rabbitmq_server: RabbitMQServer, rabbitmq_url: str, rabbitmq_virtual_host: str
) -> None:
    """With the queues and the exchange declared by an administrator, no right to configure is needed."""
    await declared(rabbitmq_url)
    url = await asyncio.to_thread(as_user, rabbitmq_server, rabbitmq_url, rabbitmq_virtual_host, USING)
    async with opened(url) as broker, asyncio.timeout(patient(20)):
        await works(broker)


async def test_what_is_missing_is_named_with_the_right_that_is_missing(
    rabbitmq_server: RabbitMQServer, rabbitmq_url: str, rabbitmq_virtual_host: str
) -> None:
    """A queue that is not there and may not be declared is told by name; it is used as soon as somebody declares it."""
    url = await asyncio.to_thread(as_user, rabbitmq_server, rabbitmq_url, rabbitmq_virtual_host, USING)
    async with opened(url) as broker, asyncio.timeout(patient(20)):
        with pytest.raises(
            BrokerError, match=r"queue membership\.requests\.dead is not there.*grant the right to conf"
        ):
            await broker.check()
        await declared(rabbitmq_url)
        await broker.check()


async def test_an_exchange_of_another_type_stops_no_request(rabbitmq_url: str) -> None:
    """The events' exchange with another type is told where events go out; triggers come in all the same."""
    await declared(rabbitmq_url, ExchangeType.HEADERS, queues=False)
    async with opened(rabbitmq_url) as broker, asyncio.timeout(patient(20)):
        await broker.request(b"{}")
        async for trigger in broker.triggers():
            await trigger.acknowledge()
            break
        await broker.check()
        with pytest.raises(BrokerError, match=r"membership\.events is not of the type topic"):
            await broker.publish(TYPE, "1", b"{}")
        with pytest.raises(BrokerError, match=r"membership\.events is not of the type topic"):
            await broker.check_events()
        connection = await aio_pika.connect(rabbitmq_url)
        async with connection, connection.channel() as channel:
            await channel.exchange_delete(NAMES.events)
        await broker.publish(TYPE, "1", b"{}")
        await broker.check_events()


async def test_a_message_that_is_too_large_is_told_from_a_queue_that_is_away(
    rabbitmq_server: RabbitMQServer, rabbitmq_url: str
) -> None:
    """What is larger than the server's limit is unfit; the next message goes through."""
    await asyncio.to_thread(rabbitmq_server.limit_messages, 20_000)
    try:
        async with opened(rabbitmq_url) as broker, asyncio.timeout(patient(20)):
            with pytest.raises(UnfitMessageError, match="larger than configured max size"):
                await broker.publish(TYPE, "1", b"x" * 30_000)
            await broker.publish(TYPE, "2", b"x" * 10_000)
    finally:
        await asyncio.to_thread(rabbitmq_server.limit_messages, 128 << 20)


async def test_a_wrong_virtual_host_is_told_in_the_servers_words(rabbitmq_url: str) -> None:
    """A virtual host that is not there, and a wrong password, are told as such."""
    wrong = rabbitmq_url.rpartition("/")[0] + "/nowhere"
    async with opened(wrong) as broker, asyncio.timeout(patient(20)):
        with pytest.raises(BrokerError, match=r"vhost nowhere not found"):
            await broker.check()
    async with opened(rabbitmq_url.replace("guest:guest", "guest:wrong")) as broker, asyncio.timeout(patient(20)):
        with pytest.raises(BrokerError, match=r"(?i)refused|password"):
            await broker.check()


@pytest.mark.parametrize(
    ("lacking", "said"), [("read", "queue 'membership.requests'"), ("write", "exchange 'amq.default'")]
)
async def test_a_right_that_lacks_is_told_before_anything_is_taken_and_while_working(
    rabbitmq_server: RabbitMQServer, rabbitmq_url: str, rabbitmq_virtual_host: str, lacking: str, said: str
) -> None:
    """Who may not read the queue, or not publish dead letters, is told so by a try; refused intake is not well."""
    await declared(rabbitmq_url)
    rights = USING | {lacking: "^$"}
    url = await asyncio.to_thread(as_user, rabbitmq_server, rabbitmq_url, rabbitmq_virtual_host, rights)
    async with opened(url) as broker, asyncio.timeout(patient(20)):
        await broker.check()
        with pytest.raises(BrokerError, match=said):
            await broker.check_rights()
        if lacking == "read":
            taking = asyncio.ensure_future(anext(broker.triggers()))
            with pytest.raises(BrokerError, match=said):
                await until_it_fails(broker)
            taking.cancel()
            await asyncio.wait({taking})
