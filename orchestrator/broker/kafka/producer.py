"""Publishing to Kafka: one idempotent producer, whose answers come to the event loop from a thread."""

import asyncio
import threading
from contextlib import suppress
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from orchestrator.broker.kafka.client import Client
from orchestrator.broker.kafka.records import Headers
from orchestrator.broker.names import Limits

_POLL_SECONDS: Final = 0.2
_CLOSE_SECONDS: Final = 2.0
_LATE_SECONDS: Final = 1.0
"""How much longer than its own bound the producer's answer is waited for."""


class Sender:
    """Publishes; makes its producer when it is first needed, and another one when it can't be used any more."""

    def __init__(self, client: Client, limits: Limits) -> None:
        self._client = client
        self._limits = limits
        self._producer: _Polled | None = None

    async def send(
        self, topic: str, value: bytes | None, *, key: bytes | None, headers: Headers, partition: int = -1
    ) -> None:
        """Publish a record; returns when all replicas in sync have stored it.

        Args:
            topic: The topic, which has to be there.
            value: The body; None strikes out what has the same key.
            key: By which records keep their order; None for any partition.
            headers: The headers.
            partition: Where to; -1 for where the key leads.

        Raises:
            UnfitMessageError: It is larger than the topic takes.
            BrokerError: It is not known to be stored.
        """
        with self._client.explained(f"publishing to {topic}"):
            if self._producer is None:
                self._producer = _Polled(Producer(self._client.producer()))
            sending = self._producer
            loop = asyncio.get_running_loop()
            stored: asyncio.Future[None] = loop.create_future()

            def delivered(error: KafkaError | None, _: Message) -> None:
                with suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(_resolve, stored, error)

            sending.producer.produce(topic, value, key, partition, on_delivery=delivered, headers=headers)
            try:
                # Longer than the client's own bound: after that it says what became of the message, before it nobody
                # knows.
                async with asyncio.timeout(self._limits.call_seconds + _LATE_SECONDS):
                    await stored
            except KafkaException as error:
                # An idempotent producer that lost count refuses everything from then on; only a new one helps.
                if error.args[0].fatal() and self._producer is sending:
                    self._producer = None
                    sending.end()
                raise

    async def close(self) -> None:
        """Let the connection go; what is not answered yet is not waited for."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.end()
            await asyncio.to_thread(producer.thread.join, _CLOSE_SECONDS)


class _Polled:
    """A producer and the thread that its answers come from."""

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        self._ended = threading.Event()
        self.thread = threading.Thread(target=self._poll, name="kafka-producer", daemon=True)
        self.thread.start()

    def end(self) -> None:
        """Have the thread end."""
        self._ended.set()

    def _poll(self) -> None:
        while not self._ended.is_set():
            self.producer.poll(_POLL_SECONDS)
        # What is left has nobody who waits for it, and would be sent after the daemon said that it was not.
        self.producer.purge()


def _resolve(stored: "asyncio.Future[None]", error: KafkaError | None) -> None:
    if stored.done():
        return
    if error is None:
        stored.set_result(None)
    else:
        stored.set_exception(KafkaException(error))
