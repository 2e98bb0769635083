"""A thread that reads from Kafka for the event loop.

The client's calls wait, and give out partitions and records in one order, so one thread makes all of them.
"""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from functools import partial
from typing import Final, Generic, TypeVar

from confluent_kafka import Consumer

from orchestrator.broker.kafka.client import QUEUE, Client, Settings
from orchestrator.engine.ports.queues import BrokerError

_END_SECONDS: Final = 2.0

_Found = TypeVar("_Found")


class ReadingThread(ABC, Generic[_Found]):
    """One thread with one consumer.

    Args:
        client: Settings.
        doing: What it does, for messages, with the topic.
        topic: The topic.
    """

    def __init__(self, client: Client, doing: str, topic: str) -> None:
        self._client = client
        self._doing = doing
        self._topic = topic
        self._arrived: asyncio.Queue[_Found | BrokerError] = asyncio.Queue()  # bounded by who fills it
        self._loop = asyncio.get_running_loop()
        self._ended = threading.Event()

    async def found(self, seconds: float) -> AsyncGenerator[_Found, None]:
        """Yield what the thread found, until closed.

        Args:
            seconds: Bound of one call of the client: for a little longer the thread's end is waited for.

        Raises:
            BrokerError: It can't go on; begin again.
        """
        # A daemon thread: a client that hangs in a call must not keep the process from ending.
        thread = threading.Thread(target=self._run, name=f"kafka-{self._topic}", daemon=True)
        thread.start()
        try:
            while True:
                found = await self._arrived.get()
                if isinstance(found, BrokerError):
                    raise found
                yield found
        finally:
            self._end()
            await asyncio.to_thread(thread.join, seconds + _END_SECONDS)

    def _run(self) -> None:
        try:
            with self._client.explained(self._doing):
                consumer = Consumer(self._settings())
                try:
                    self._begin(consumer)
                    while not self._ended.is_set():
                        self._step(consumer)
                finally:
                    consumer.close()
        except BrokerError as error:
            self._tell(partial(self._arrived.put_nowait, error))
        except Exception as error:  # noqa: BLE001 - a thread that ends without a word would be waited for without an end
            unforeseen = BrokerError(f"{QUEUE}: {self._doing} failed: {error!r}")
            self._tell(partial(self._arrived.put_nowait, unforeseen))

    @abstractmethod
    def _settings(self) -> Settings:
        """Return those of the consumer."""

    @abstractmethod
    def _begin(self, consumer: Consumer) -> None:
        """Say what is to be read."""

    @abstractmethod
    def _step(self, consumer: Consumer) -> None:
        """Read for a short time."""

    def _end(self) -> None:
        """Have the thread end."""
        self._ended.set()

    def _tell(self, what: Callable[[], object]) -> None:
        """Have something called on the event loop."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(what)
