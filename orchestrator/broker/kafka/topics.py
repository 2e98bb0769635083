"""The topics that the daemon uses: looked for, made where they are missing, and what may be done with them."""

import asyncio
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, Final, cast

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AclOperation,
    AdminClient,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicDescription,
)

from orchestrator.broker.kafka.client import QUEUE, Client
from orchestrator.broker.names import Limits, Names
from orchestrator.engine.ports.queues import BrokerError

_PARTITIONS: Final = 6
"""Of topics in which only a group's messages have an order; so many replicas can take requests of one topic at once."""
_REQUESTS_KEPT_DAYS: Final = 30
_DAY_MILLISECONDS: Final = 86_400_000
_VERDICTS_KEPT_MILLISECONDS: Final = 3_600_000
_DEAD_BYTES: Final = 2 * 1024 * 1024
_POLL_SECONDS: Final = 0.05
_REFUSED: Final = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})
_MISSING: Final = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID, KafkaError.TOPIC_EXCEPTION})

Config = dict[str, str]


class Topics:
    """What is known of the topics of one daemon.

    What is there is used as it is: whoever runs the servers may have made it with other settings.
    """

    def __init__(self, client: Client, names: Names, limits: Limits) -> None:
        self._client = client
        self._names = names
        self._limits = limits
        self._admin: AdminClient | None = None
        self._seen: dict[str, tuple[int, ...]] = {}
        self._lock = asyncio.Lock()

    async def partitions(self, topic: str) -> tuple[int, ...]:
        """Return the partitions of a topic; it is looked for the first time, and made when it is missing.

        Raises:
            BrokerError: Kafka does not answer, or it is missing and may not be made.
        """
        async with self._lock:
            if topic not in self._seen:
                try:
                    found = await self._described(topic)
                except _MissingTopicError:
                    await self._make(topic)
                    found = await self._until_led(topic)
                self._seen[topic] = _led(found)
            return self._seen[topic]

    def forget(self, topic: str) -> None:
        """Have a topic looked for again before its next use."""
        self._seen.pop(topic, None)

    async def look(self, topics: Iterable[str]) -> None:
        """Make sure that topics are there now, whatever was seen before.

        Raises:
            BrokerError: One is not, or Kafka does not answer.
        """
        for topic in topics:
            self.forget(topic)
            await self.partitions(topic)

    async def check_rights(self) -> None:
        """Make sure that we may do what is needed, and that no topic loses messages by how it is kept.

        Raises:
            BrokerError: We may not, or one does; the message names what is missing.
        """
        names = self._names
        for topic in names.inlets:
            await self._may(topic, AclOperation.READ)
            await self._keeps_all(topic)
        await self._may(names.dead, AclOperation.READ, AclOperation.WRITE)
        with self._client.explained(f"asking for the consumer group {names.consumer}"):
            try:
                asked = [ConsumerGroupTopicPartitions(names.consumer)]
                [future] = self._connected().list_consumer_group_offsets(asked, request_timeout=self._seconds).values()
                await self._answer(future)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
                    raise
                raise BrokerError(
                    f"{QUEUE}: the consumer group {names.consumer} may not be used: grant Read on it (docs/servers.md)"
                ) from error

    async def check_events(self) -> None:
        """Make sure that status events can be published.

        Raises:
            BrokerError: They can't.
        """
        await self.look([self._names.events])
        await self._may(self._names.events, AclOperation.WRITE)

    async def largest_message(self, topic: str) -> int | None:
        """Return how many bytes a message of a topic may have; None where we have no right to ask."""
        try:
            return int((await self._config(topic))["max.message.bytes"])
        except (BrokerError, KeyError, ValueError):
            return None

    def close(self) -> None:
        """Let the connection go."""
        self._admin = None

    @property
    def _seconds(self) -> float:
        return max(1.0, self._limits.call_seconds)

    def _connected(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient(self._client.admin())
        return self._admin

    async def _answer(self, future: "Future[Any]") -> Any:
        try:
            async with asyncio.timeout(self._limits.call_seconds):
                return await asyncio.wrap_future(future)
        finally:
            # Why it can't connect, it tells only to who asks; and keeps it until then.
            self._connected().poll(0)

    async def _described(self, topic: str, *, rights: bool = False) -> TopicDescription:
        with self._client.explained(f"asking for the topic {topic}"):
            try:
                asked = self._connected().describe_topics(
                    TopicCollection([topic]), include_authorized_operations=rights, request_timeout=self._seconds
                )
                found: TopicDescription = await self._answer(asked[topic])
            except KafkaException as error:
                code = error.args[0].code()
                if code in _MISSING:
                    raise _MissingTopicError(topic) from error
                if code in _REFUSED:
                    raise BrokerError(
                        f"{QUEUE}: the topic {topic} may not be used: grant Describe and what is done with it "
                        "(docs/servers.md)"
                    ) from error
                raise
        return found

    async def _make(self, topic: str) -> None:
        partitions, config = self._wanted(topic)
        # The server's own number of copies: one of ours would fail on clusters with fewer servers.
        new = NewTopic(topic, num_partitions=partitions, replication_factor=-1, config=config)
        with self._client.explained(f"making the topic {topic}"):
            try:
                made = self._connected().create_topics(
                    [new], operation_timeout=self._seconds, request_timeout=self._seconds
                )
                await self._answer(made[topic])
            except KafkaException as error:
                code = error.args[0].code()
                if code in _REFUSED:
                    raise BrokerError(
                        f"{QUEUE}: the topic {topic} is not there, and this user may not make it: grant Create on it, "
                        "or have it made (docs/servers.md)"
                    ) from error
                # Another replica made it at the same moment.
                if code != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise

    async def _until_led(self, topic: str) -> TopicDescription:
        """Return a new topic once its partitions have leaders; the last look, with its error, is at the end."""
        try:
            async with asyncio.timeout(self._limits.call_seconds):
                while True:
                    try:
                        found = await self._described(topic)
                        _led(found)
                    except BrokerError:
                        await asyncio.sleep(_POLL_SECONDS)
                    else:
                        return found
        except TimeoutError:
            return await self._described(topic)

    async def _may(self, topic: str, *needed: AclOperation) -> None:
        await self.partitions(topic)
        described = await self._described(topic, rights=True)
        allowed = cast("list[AclOperation] | None", described.authorized_operations)
        # None where the server does not tell: then it is found out while working.
        lacking = [operation.name.title() for operation in needed if allowed is not None and operation not in allowed]
        if lacking:
            raise BrokerError(
                f"{QUEUE}: the topic {topic} may not be used: grant {' and '.join(lacking)} on it (docs/servers.md)"
            )

    async def _keeps_all(self, topic: str) -> None:
        try:
            policy = (await self._config(topic)).get("cleanup.policy", "")
        except BrokerError:
            return  # no right to ask
        if "compact" in policy:
            raise BrokerError(
                f"{QUEUE}: the topic {topic} is compacted (cleanup.policy={policy}), so that only the last of several "
                "requests of one group would be kept: set cleanup.policy=delete"
            )

    async def _config(self, topic: str) -> Config:
        resource = ConfigResource(ResourceType.TOPIC, topic)
        with self._client.explained(f"asking for the settings of the topic {topic}"):
            asked = self._connected().describe_configs([resource], request_timeout=self._seconds)
            found: dict[str, ConfigEntry] = await self._answer(asked[resource])
        return {name: str(entry.value) for name, entry in found.items()}

    def _wanted(self, topic: str) -> tuple[int, Config]:
        names = self._names
        if topic == names.dead:
            # A letter is the message and its headers; one that was replayed is struck out by a record of its key.
            return 1, {"cleanup.policy": "compact", "max.message.bytes": str(_DEAD_BYTES)}
        if topic == names.verdicts:
            kept = _VERDICTS_KEPT_MILLISECONDS
            return 1, {"retention.ms": str(kept), "segment.ms": str(kept // 6)}
        if topic == names.events:
            kept = int(self._limits.keep_events.total_seconds() * 1000)
            return _PARTITIONS, {"cleanup.policy": "delete", "retention.ms": str(kept)}
        return _PARTITIONS, {
            "cleanup.policy": "delete",
            "retention.ms": str(_REQUESTS_KEPT_DAYS * _DAY_MILLISECONDS),
        }


class _MissingTopicError(BrokerError):
    """There is no such topic."""


def _led(found: TopicDescription) -> tuple[int, ...]:
    """Return the partitions of a topic.

    Raises:
        BrokerError: One of them has no leader now.
    """
    leaders: list[tuple[int, object]] = [(partition.id, partition.leader) for partition in found.partitions]
    idle = [number for number, leader in leaders if leader is None]
    if idle or not found.partitions:
        raise BrokerError(f"{QUEUE}: the topic {found.name} has partitions without a leader: {idle or 'all'}")
    return tuple(partition.id for partition in found.partitions)
