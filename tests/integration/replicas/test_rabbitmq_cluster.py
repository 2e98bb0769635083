"""A real daemon on three RabbitMQ servers: one is lost while it works, and nothing of the changes is."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

import aio_pika
import pytest

from orchestrator.store import migrate
from tests.servers.rabbitmq_server import RabbitMQCluster
from tests.soak.checks import Published
from tests.soak.rolling import harness

SUBSCRIBER = "subscriber"
QUORUM: dict[str, aio_pika.abc.FieldValue] = {"x-queue-type": "quorum"}


@pytest.fixture
def cluster(postgresql_url: str) -> Iterator[RabbitMQCluster]:
    """Three servers of this test's own; the fixture before sees to it that none is left behind."""
    with RabbitMQCluster() as servers:
        yield servers


async def subscribe(url: str) -> None:
    """Have every event kept in a queue, as a subscriber would."""
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        exchange = await channel.declare_exchange("membership.events", aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue(SUBSCRIBER, durable=True, arguments=QUORUM)
        await queue.bind(exchange, "#")


async def received(url: str) -> Published:
    """Read what the subscriber's queue got."""
    found: dict[str, list[int]] = defaultdict(list)
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        queue = await channel.get_queue(SUBSCRIBER)
        while (message := await queue.get(no_ack=True, fail=False)) is not None:
            event = json.loads(message.body)
            found[event.get("subject", "")].append(int(event["data"]["sequence"]))
        dead = (await channel.get_queue("membership.requests.dead")).declaration_result.message_count
    return found, int(dead or 0)


@pytest.mark.timeout(300)
async def test_a_cluster_of_rabbitmq_may_lose_the_server_that_leads(
    tmp_path: Path, cluster: RabbitMQCluster, postgresql_url: str
) -> None:
    """The leader of the requests' queue is killed and comes back: every request and event is there, and done once."""
    await asyncio.to_thread(migrate, postgresql_url)
    entrance = cluster.servers[0].url
    await subscribe(entrance)
    chance = Random(7)  # noqa: S311 - a plan that can be repeated
    async with harness(
        tmp_path, chance, store_url=postgresql_url, queue_url=cluster.url, replicas=1, groups=1
    ) as running:
        await running.until_changes_go_on()
        leader = await asyncio.to_thread(cluster.leader_of, "membership.requests")
        await asyncio.to_thread(leader.write_tables)
        await asyncio.to_thread(leader.kill)
        await running.until_changes_go_on()
        await asyncio.to_thread(leader.start)
        await running.quiet()
        assert await running.problems(partial(received, entrance)) == []
