"""What is Kafka's own: partitions that move, progress out of order, rights, limits and topics of others."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AclOperation, ResourceType

from orchestrator.broker.connection import connect
from orchestrator.broker.names import MOST_BODY_BYTES, Access, Limits, Names
from orchestrator.broker.port import Broker
from orchestrator.engine.ports.queues import BrokerError, Trigger, UnfitMessageError
from tests.patience import patient
from tests.servers.kafka_server import KafkaServer

SECONDS = 30
TYPE = "membership.change.accepted.v1"


@pytest.fixture
def names(kafka_prefix: str) -> Names:
    return Names(
        requests=f"{kafka_prefix}.requests",
        dead=f"{kafka_prefix}.dead",
        events=f"{kafka_prefix}.events",
        consumer=f"{kafka_prefix}.group",
    )


@asynccontextmanager
async def opened(url: str, names: Names, access: Access | None = None, in_flight: int = 64) -> AsyncIterator[Broker]:
    limits = Limits(in_flight=in_flight, reconnect_seconds=0.2)
    async with connect(url, directory=Path("/unused"), names=names, limits=limits, access=access) as broker:
        yield broker


async def take(triggers: AsyncGenerator[Trigger, None]) -> Trigger:
    async with asyncio.timeout(patient(SECONDS)):
        return await anext(triggers)


def of_group(group: int, number: int) -> bytes:
    return b'{"data": {"privacy_group_id": "group %d"}, "number": %d}' % (group, number)


async def test_a_group_keeps_its_order_while_replicas_come_and_go(kafka_server: KafkaServer, names: Names) -> None:
    """A second replica takes some partitions over while requests are at work: all come, and each group's in order."""
    total, groups = 120, 10
    seen: list[bytes] = []
    all_seen = asyncio.Event()
    async with opened(kafka_server.url, names) as one, opened(kafka_server.url, names) as other:
        for number in range(total):
            await one.request(of_group(number % groups, number))

        async def work(broker: Broker, most: int) -> None:
            async with aclosing(broker.triggers()) as triggers:
                for _ in range(most):
                    trigger = await anext(triggers)
                    seen.append(trigger.body)
                    if len(set(seen)) == total:
                        all_seen.set()
                    await trigger.acknowledge()

        async with asyncio.timeout(patient(2 * SECONDS)), asyncio.TaskGroup() as tasks:
            first = tasks.create_task(work(one, total // 3))
            second = tasks.create_task(work(other, total))
            await all_seen.wait()
            for working in (first, second):  # the first is not done where the second was given all partitions
                working.cancel()
    assert set(seen) == {of_group(number % groups, number) for number in range(total)}
    for group in range(groups):
        first_seen = [body for body in dict.fromkeys(seen) if b'"group %d"' % group in body]
        assert first_seen == [of_group(group, number) for number in range(group, total, groups)]


async def test_only_what_is_not_settled_comes_again(kafka_server: KafkaServer, names: Names) -> None:
    """What was settled behind one that was not does not come to the next replica; that one does, as its second time."""
    bodies = [of_group(1, number) for number in range(6)]
    async with opened(kafka_server.url, names) as broker:
        for body in bodies:
            await broker.request(body)
        async with aclosing(broker.triggers()) as triggers:
            taken = {trigger.body: trigger for trigger in [await take(triggers) for _ in bodies]}
            assert {trigger.delivery for trigger in taken.values()} == {1}
            for body in bodies[:1] + bodies[2:4] + bodies[5:]:
                await taken[body].acknowledge()
    async with opened(kafka_server.url, names) as broker, aclosing(broker.triggers()) as triggers:
        again = [await take(triggers) for _ in range(2)]
        assert [trigger.body for trigger in again] == [bodies[1], bodies[4]]
        assert [trigger.delivery for trigger in again] == [2, 2]
        await broker.request(of_group(1, 6))
        behind = await take(triggers)
        assert (behind.body, behind.delivery) == (of_group(1, 6), 1)
        for trigger in (*again, behind):
            await trigger.acknowledge()


async def test_a_message_that_waits_does_not_hold_its_partition_up(kafka_server: KafkaServer, names: Names) -> None:
    """One message of a group is given back again and again while all behind it are settled; each time is counted."""
    async with opened(kafka_server.url, names, in_flight=4) as broker, aclosing(broker.triggers()) as triggers:
        for number in range(20):
            await broker.request(of_group(1, number))
        deliveries: list[int] = []
        settled: Counter[bytes] = Counter()
        while len(settled) < 19 or len(deliveries) < 3:
            trigger = await take(triggers)
            if trigger.body == of_group(1, 0):
                deliveries.append(trigger.delivery)
                await trigger.postpone(0.05)
            else:
                await trigger.acknowledge()
                settled[trigger.body] += 1
        assert deliveries[:3] == [1, 2, 3]
        assert set(settled.values()) == {1}


async def test_requests_of_others_come_without_key_and_compressed(kafka_server: KafkaServer, names: Names) -> None:
    """A sender who knows nothing of keys may compress as it likes, and put attributes into headers."""
    async with opened(kafka_server.url, names) as broker, aclosing(broker.triggers()) as triggers:
        await broker.check()
        for compression in ("gzip", "snappy", "lz4", "zstd"):
            settings = {"bootstrap.servers": kafka_server.url.removeprefix("kafka://"), "log_level": 2}
            producer = Producer({**settings, "compression.type": compression})
            producer.produce(names.requests, b"x" * 5000, headers=[("ce_id", compression), ("other", None)])
            assert await asyncio.to_thread(producer.flush, SECONDS) == 0
            trigger = await take(triggers)
            assert (trigger.headers, len(trigger.body)) == ({"ce_id": compression, "other": ""}, 5000)
            await trigger.acknowledge()
        # The server counts what is compressed: of what it unpacks to a part is kept in memory.
        producer = Producer({**settings, "compression.type": "gzip", "message.max.bytes": 16 * MOST_BODY_BYTES})
        producer.produce(names.requests, b"x" * 15 * MOST_BODY_BYTES, headers=[("ce_id", "large")])
        assert await asyncio.to_thread(producer.flush, SECONDS) == 0
        trigger = await take(triggers)
        assert (trigger.headers, len(trigger.body)) == ({"ce_id": "large"}, MOST_BODY_BYTES)
        await trigger.acknowledge()


async def test_what_is_missing_is_named_with_the_right_that_is_missing(
    kafka_server: KafkaServer, kafka_prefix: str, names: Names
) -> None:
    """A user learns which topic or group it may not use, one by one, until nothing is missing."""

    def allow(kind: ResourceType, name: str, *operations: AclOperation) -> None:
        kafka_server.allow(user, kind, name, *operations)

    user = await asyncio.to_thread(kafka_server.create_user, "hush")
    access = Access(user=user, password="hush")
    async with opened(kafka_server.scram_url, names, access) as broker, asyncio.timeout(patient(60)):
        with pytest.raises(BrokerError, match=rf"topic {names.requests} .*Describe"):
            await broker.check()
        await asyncio.to_thread(allow, ResourceType.TOPIC, names.requests, AclOperation.READ)
        with pytest.raises(BrokerError, match=rf"{names.requests} is not there, and this user may not make it"):
            await broker.check()
        async with opened(kafka_server.url, names) as administrator:
            await administrator.check()
            await administrator.check_events()
        for topic in (names.dead, names.events):
            await asyncio.to_thread(allow, ResourceType.TOPIC, topic, AclOperation.DESCRIBE)
        await broker.check()
        with pytest.raises(BrokerError, match=rf"topic {names.dead} may not be used: grant Read and Write on it"):
            await broker.check_rights()
        with pytest.raises(BrokerError, match=rf"topic {names.events} may not be used: grant Write on it"):
            await broker.check_events()
        await asyncio.to_thread(allow, ResourceType.TOPIC, names.dead, AclOperation.READ, AclOperation.WRITE)
        with pytest.raises(BrokerError, match=rf"group {names.consumer} may not be used: grant Read on it"):
            await broker.check_rights()
        async with aclosing(broker.triggers()) as triggers:
            waiting = asyncio.ensure_future(anext(triggers))
            with pytest.raises(BrokerError, match=r"(?i)group"):
                await until_it_says(broker, "roup")
            await asyncio.to_thread(allow, ResourceType.GROUP, names.consumer, AclOperation.READ)
            async with opened(kafka_server.url, names) as administrator:
                await administrator.request(b"{}")
            await (await waiting).acknowledge()
        await broker.check_rights()


async def until_it_says(broker: Broker, word: str) -> None:
    """Check until it fails so: what the intake meets is known a moment later."""
    while True:
        try:
            await broker.check()
        except BrokerError as error:
            if word in str(error):
                raise
        await asyncio.sleep(0.05)


async def test_topics_of_others_are_used_as_they_are(kafka_server: KafkaServer, names: Names) -> None:
    """A message that a topic does not take is told as such for ever; requests that would be compacted are refused."""

    await asyncio.to_thread(kafka_server.create_topic, names.events, max_message_bytes="5000")
    await asyncio.to_thread(kafka_server.create_topic, names.dead, max_message_bytes="70000")
    await asyncio.to_thread(kafka_server.create_topic, names.requests, cleanup_policy="compact,delete")
    async with opened(kafka_server.url, names) as broker, asyncio.timeout(patient(60)):
        assert await broker.largest_message() == 5000
        with pytest.raises(UnfitMessageError, match="larger than the server takes"):
            await broker.publish(TYPE, "1", b"x" * 6000)
        await broker.publish(TYPE, "2", b"{}")
        with pytest.raises(BrokerError, match="is compacted"):
            await broker.check_rights()
        async with opened(kafka_server.url, replace(names, requests=f"{names.requests}.more")) as other:
            await other.request(b"y" * 100_000)
            async with aclosing(other.triggers()) as triggers:
                await (await take(triggers)).bury("too large for the dead letters as they are")
            (letter,) = await other.dead_letters()
            assert (set(letter.body), 50_000 < len(letter.body) < 70_000) == ({ord("y")}, True)
