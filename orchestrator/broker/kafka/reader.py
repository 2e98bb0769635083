"""Reading topics of Kafka beside the consumer group: what is there now, or all that comes."""

import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from functools import partial
from typing import Final

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from orchestrator.broker.kafka.client import Client, Settings
from orchestrator.broker.kafka.threads import ReadingThread
from orchestrator.broker.names import MOST_BODY_BYTES, Limits

_WAITING: Final = 64
_POLL_SECONDS: Final = 0.2
_PAUSE_SECONDS: Final = 0.05
_SETTLING: Final = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.OFFSET_NOT_AVAILABLE,
    }
)
"""What a server says of a partition that it was just given."""

_log = structlog.get_logger(__name__)


class Reader:
    """Looks into topics; its methods wait, and are to be called in a thread, one at a time.

    Args:
        client: Settings.
        seconds: Bound of each question, and of one reading.
    """

    def __init__(self, client: Client, seconds: float) -> None:
        self._consumer = Consumer(client.reader())
        self._seconds = max(1.0, seconds)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the offsets of the oldest record of a partition and of the next one that will be.

        Raises:
            KafkaException: Kafka does not answer, or refuses it.
        """
        deadline = time.monotonic() + self._seconds
        while True:
            try:
                left = max(0.1, deadline - time.monotonic())
                low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=left)
            except KafkaException as error:
                if error.args[0].code() not in _SETTLING or time.monotonic() >= deadline:
                    raise
                time.sleep(_PAUSE_SECONDS)
            else:
                return low, high

    def records(self, topic: str, starts: Mapping[int, int]) -> Iterator[Message]:
        """Yield what is there now.

        Args:
            topic: The topic.
            starts: Where to begin in each partition.

        Raises:
            KafkaException: Kafka does not answer, or refuses it.
            TimeoutError: It took too long.
        """
        deadline = time.monotonic() + self._seconds
        unread = set(starts)
        # Assigned, not subscribed: as a member of the group it would take partitions from those who take requests.
        self._consumer.assign([TopicPartition(topic, partition, offset) for partition, offset in starts.items()])
        try:
            while unread:
                left = deadline - time.monotonic()
                message = self._consumer.poll(left) if left > 0 else None
                if message is None:
                    # An end is told for each partition; silence before that is not the end of it.
                    raise TimeoutError
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == END:
                    unread.discard(message.partition() or 0)
                else:
                    raise KafkaException(error)
        finally:
            self._consumer.unassign()

    def close(self) -> None:
        """Let the connection go."""
        self._consumer.close()


def shortened(message: Message) -> Message:
    """Return a record with no more of its body than is read: a fetch of a megabyte may unpack to a thousand."""
    if len(message) > MOST_BODY_BYTES:
        _log.warning("a message is too large, the rest is left", bytes=len(message), most=MOST_BODY_BYTES)
        message.set_value((message.value() or b"")[:MOST_BODY_BYTES])
    return message


END: Final = -191
"""The client's own number for the end of a partition."""


async def follow(
    client: Client, topic: str, partitions: Callable[[], Awaitable[tuple[int, ...]]], limits: Limits
) -> AsyncGenerator[bytes, None]:
    """Yield the bodies of all records that a topic keeps and that come, until closed.

    Args:
        client: Connects.
        topic: The topic.
        partitions: Returns the numbers of its partitions.
        limits: Bounds of what is waited for.

    Raises:
        BrokerError: Kafka refuses it.
    """
    follower = _Follower(client, topic, await partitions())
    async with aclosing(follower.found(limits.call_seconds)) as bodies:
        async for body in bodies:
            follower.places.release()
            yield body


class _Follower(ReadingThread[bytes]):
    """The thread's side; what has arrived is bounded by the places."""

    def __init__(self, client: Client, topic: str, partitions: tuple[int, ...]) -> None:
        super().__init__(client, f"reading {topic}", topic)
        self.places = threading.Semaphore(_WAITING)
        self._partitions = partitions

    def _settings(self) -> Settings:
        return self._client.reader()

    def _begin(self, consumer: Consumer) -> None:
        consumer.assign([TopicPartition(self._topic, partition, OFFSET_BEGINNING) for partition in self._partitions])

    def _step(self, consumer: Consumer) -> None:
        message = consumer.poll(_POLL_SECONDS)
        if message is None:
            return
        error: KafkaError | None = message.error()
        if error is not None:
            if error.code() == END:
                return
            raise KafkaException(error)
        while not self._ended.is_set():
            if self.places.acquire(timeout=_POLL_SECONDS):
                self._tell(partial(self._arrived.put_nowait, shortened(message).value() or b""))
                return
