"""Taking messages of one topic as a member of a consumer group, in a thread of its own.

What is settled is told to it from the event loop, and it commits how far each partition is worked through.
"""

import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from orchestrator.broker.kafka.client import Client, Settings
from orchestrator.broker.kafka.letters import headers_of
from orchestrator.broker.kafka.offsets import Progress
from orchestrator.broker.kafka.reader import shortened
from orchestrator.broker.kafka.threads import ReadingThread
from orchestrator.broker.names import Limits
from orchestrator.outside_text import presentable

_IDLE_SECONDS: Final = 0.2
_FULL_SECONDS: Final = 0.02
_COMMIT_SECONDS: Final = 0.05
_ROOM_SECONDS: Final = 1.0
"""Not longer is waited with everything in flight: then there is a pause, and what was fetched comes anew."""
_STRIKE_SECONDS: Final = 1.0
"""After a message could not be settled it is given out again so much later."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A message that was given out.

    Attributes:
        message: The message.
        headers: Its headers, names in lower case.
        delivery: How often it was given out, this time included, as far as it is known.
        settle: Counts it as settled: it does not come again.
        again: Gives it out again after some seconds, unless its partition went to another member meanwhile.
    """

    message: Message
    headers: dict[str, str]
    delivery: int
    settle: Callable[[], None]
    again: Callable[[float], None]

    def strike(self) -> None:
        """Give it out again, since it could not be settled."""
        self.again(_STRIKE_SECONDS)


def take(client: Client, topic: str, limits: Limits, hears: Callable[[], None]) -> AsyncGenerator[Taken, None]:
    """Yield messages until closed; those that are not settled then go to another member, or come again.

    Args:
        client: Settings.
        topic: The topic.
        limits: Bounds; at most ``in_flight`` are unsettled.
        hears: Called when partitions were given to us.

    Raises:
        BrokerError: The membership can't go on; begin again.
    """
    return _Member(client, topic, limits, hears).found(limits.call_seconds)


class _Member(ReadingThread[Taken]):
    """The thread's side; what has arrived is bounded by what is given out."""

    def __init__(self, client: Client, topic: str, limits: Limits, hears: Callable[[], None]) -> None:
        super().__init__(client, f"taking requests from {topic}", topic)
        self._limits = limits
        self._hears = hears
        self._freed = threading.Event()
        self._lock = threading.Lock()  # of all that is known of partitions
        self._partitions: dict[int, Progress] = {}
        self._waiting: deque[Message] = deque()
        self._paused: set[int] = set()
        self._committed_at = 0.0

    def _end(self) -> None:
        super()._end()
        self._freed.set()

    def _settings(self) -> Settings:
        return self._client.member() | {"on_commit": self._on_commit}

    def _begin(self, consumer: Consumer) -> None:
        # Closed, it commits by `_on_revoke`, and leaves the group.
        consumer.subscribe([self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)

    def _step(self, consumer: Consumer) -> None:
        # Polled even without room: a member that does not poll is put out of the group, and its partitions are given to
        # others.
        room = self._room_in_time(consumer)
        self._regulate(consumer, room)
        found = consumer.poll(_FULL_SECONDS if self._waiting or room <= 0 else _IDLE_SECONDS)
        while found is not None:
            error = found.error()
            if error is not None:
                raise self._client.error_of(error, self._doing)
            self._waiting.append(shortened(found))
            # More would only wait here, while another member could have them after a change of the group.
            if len(self._waiting) >= room:
                break
            found = consumer.poll(0)
        self._give(consumer, self._room())
        self._commit(consumer)

    def _room_in_time(self, consumer: Consumer) -> int:
        """Return how many may be given out; without room it is waited for, but not long: others may want partitions."""
        deadline = time.monotonic() + _ROOM_SECONDS
        while True:
            self._freed.clear()
            room = self._room()
            if room > 0 or self._ended.is_set() or time.monotonic() >= deadline:
                return room
            self._commit(consumer)
            self._freed.wait(_FULL_SECONDS)

    def _room(self) -> int:
        with self._lock:
            return self._free()

    def _free(self) -> int:
        return self._limits.in_flight - sum(progress.unsettled for progress in self._partitions.values())

    def _regulate(self, consumer: Consumer, room: int) -> None:
        """Have nothing fetched while nothing may be given out, and again when a good part of the room is free."""
        if room <= 0 or len(self._waiting) >= room:
            self._pause(consumer, set(self._partitions) - self._paused)
        # Each pause throws away what was fetched ahead: not for every free place.
        elif self._paused and room >= max(1, self._limits.in_flight // 4):
            resumed, self._paused = self._paused & set(self._partitions), set()
            consumer.resume([TopicPartition(self._topic, partition) for partition in resumed])

    def _pause(self, consumer: Consumer, partitions: set[int]) -> None:
        if partitions:
            self._paused |= partitions
            consumer.pause([TopicPartition(self._topic, partition) for partition in partitions])

    def _give(self, consumer: Consumer, room: int) -> None:
        given: list[tuple[Message, Progress]] = []
        counted = False
        with self._lock:
            while self._waiting and len(given) < room:
                message = self._waiting.popleft()
                progress = self._partitions.get(message.partition() or 0)
                offset = message.offset() or 0
                # What was settled before the partition came to us comes again, since Kafka remembers one number only.
                if progress is not None and progress.wants(offset):
                    counted = progress.begins(offset) or counted
                    given.append((message, progress))
        if counted:
            # What ends this process while it is looked at must not come for ever: it is counted before it is given out.
            self._store(consumer, self._partitions)
        with self._lock:
            taken = [
                self._taken(message, headers_of(message), progress, progress.give(message.offset() or 0))
                for message, progress in given
            ]
        if taken:
            self._tell(partial(self._arrive, taken))

    def _arrive(self, taken: Iterable[Taken]) -> None:
        for each in taken:
            self._arrived.put_nowait(each)

    def _taken(self, message: Message, headers: dict[str, str], progress: Progress, delivery: int) -> Taken:
        partition, offset = message.partition() or 0, message.offset() or 0

        def is_ours() -> bool:
            # A partition that went and came back has a new progress: what was given out before is another member's, or
            # comes anew.
            return self._partitions.get(partition) is progress

        def settle() -> None:
            with self._lock:
                progress.settle(offset)
                if self._free() >= self._limits.in_flight // 4:
                    self._freed.set()

        def once_more() -> None:
            if is_ours():
                self._arrived.put_nowait(self._taken(message, headers, progress, delivery + 1))

        def again(seconds: float) -> None:
            if is_ours():
                self._loop.call_later(seconds, once_more)

        return Taken(message=message, headers=headers, delivery=delivery, settle=settle, again=again)

    def _commit(self, consumer: Consumer) -> None:
        now = time.monotonic()
        if now - self._committed_at >= _COMMIT_SECONDS and (marks := self._marks(self._partitions)):
            self._committed_at = now
            # Not waited for: what is not stored when this process dies comes again, and is known by its id.
            consumer.commit(offsets=marks, asynchronous=True)

    def _store(self, consumer: Consumer, partitions: Iterable[int]) -> None:
        """Commit and wait for it; without success what is not settled comes again, which is all."""
        marks = self._marks(partitions)
        if not marks:
            return
        try:
            consumer.commit(offsets=marks, asynchronous=False)
        except KafkaException as error:
            _log.debug("progress of a topic could not be stored", topic=self._topic, reason=presentable(str(error)))
            self._unstored(marks)

    def _marks(self, partitions: Iterable[int]) -> list[TopicPartition]:
        marks = []
        with self._lock:
            for partition in partitions:
                progress = self._partitions.get(partition)
                if progress is not None and progress.dirty and (mark := progress.mark()) is not None:
                    offset, text = mark
                    marks.append(TopicPartition(self._topic, partition, offset, text))
        return marks

    def _unstored(self, marks: Iterable[TopicPartition]) -> None:
        with self._lock:
            for mark in marks:
                if (progress := self._partitions.get(mark.partition)) is not None:
                    progress.dirty = True

    def _on_commit(self, error: KafkaError | None, marks: list[TopicPartition]) -> None:
        if error is not None:
            self._unstored(marks)
            return
        with self._lock:
            for mark in marks:
                if (progress := self._partitions.get(mark.partition)) is not None:
                    progress.stored()

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if partitions:
            # Asked for by us, not by the client: the text beside the number says what behind it is settled already.
            known = consumer.committed(partitions, timeout=max(1.0, self._limits.call_seconds))
            resumed = {found.partition: self._resumed(consumer, found) for found in known}
            with self._lock:
                self._partitions |= resumed
            # The client keeps a partition paused that it was when it went away, and says so to nobody.
            self._paused |= resumed.keys()
        self._tell(self._hears)

    def _resumed(self, consumer: Consumer, found: TopicPartition) -> Progress:
        if found.error is not None:
            raise KafkaException(found.error)
        progress = Progress(found.offset if found.offset >= 0 else None, found.metadata or "")
        if progress.ahead is not None:
            _, end = consumer.get_watermark_offsets(found, timeout=max(1.0, self._limits.call_seconds))
            if end < progress.ahead:
                progress.forget()  # messages were lost there, and others will have their numbers
        return progress

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # The last moment at which we may commit: the next member begins from what is stored.
        self._store(consumer, [gone.partition for gone in partitions])
        self._on_lost(consumer, partitions)

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        gone = {partition.partition for partition in partitions}
        with self._lock:
            for partition in gone:
                self._partitions.pop(partition, None)
            self._waiting = deque(message for message in self._waiting if message.partition() not in gone)
        self._paused -= gone
