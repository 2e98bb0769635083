"""Who watches a run from outside: when each block arrived, and when each status event reached a subscriber."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import nats

from orchestrator.besu.codec.results import Head
from orchestrator.besu.transport.websocket_client import NodeSocket
from orchestrator.membership.news.status import EventType
from tests.benchmarks.harness import Daemon, Devnet

ENDED: Final = frozenset(
    {
        EventType.CHANGE_SUCCEEDED.value,
        EventType.CHANGE_FAILED.value,
        EventType.CHANGE_PARKED.value,
        EventType.CHANGE_CANCELLED.value,
        EventType.REQUEST_REJECTED.value,
    }
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One status event as a subscriber of the message queue got it.

    Attributes:
        at: When, by the monotonic clock.
        head: The newest block that any node had announced by then.
        document: The CloudEvents document.
    """

    at: float
    head: int
    document: dict[str, Any]

    @property
    def type(self) -> str:
        return str(self.document["type"])

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = self.document["data"]
        return found


@dataclass(slots=True)
class Watch:
    """What was seen so far.

    Attributes:
        events: Status events in the order in which they came.
        arrivals: By block, when the first and the last node announced it.
    """

    events: list[Seen] = field(default_factory=list)
    arrivals: dict[int, tuple[float, float]] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def head(self) -> int:
        return max(self.arrivals, default=0)

    def block_arrived(self, number: int) -> None:
        now = time.monotonic()
        first, _ = self.arrivals.get(number, (now, now))
        self.arrivals[number] = (first, now)
        self._tell()

    def event_arrived(self, body: bytes) -> None:
        self.events.append(Seen(time.monotonic(), self.head, json.loads(body)))
        self._tell()

    def ends(self, requests: Collection[str]) -> dict[str, Seen]:
        """Return by request id the event that ended it."""
        found = {seen.data["request_id"]: seen for seen in self.events if seen.type in ENDED}
        return {request: found[request] for request in requests if request in found}

    async def wait_for(self, what: Callable[[], bool], seconds: float) -> None:
        """Wait until something holds.

        Raises:
            TimeoutError: It does not within so long.
        """
        async with asyncio.timeout(seconds):
            while not what():
                self._changed.clear()
                await self._changed.wait()

    async def wait_for_ends(self, requests: Collection[str], seconds: float) -> dict[str, Seen]:
        """Wait until every request's change ended and return the events that say so.

        Raises:
            RuntimeError: One did not succeed.
        """
        left = set(requests)
        checked = 0

        def over() -> bool:
            nonlocal checked
            for seen in self.events[checked:]:
                if seen.type in ENDED:
                    left.discard(seen.data["request_id"])
            checked = len(self.events)
            return not left

        await self.wait_for(over, seconds)
        ends = self.ends(requests)
        for request, seen in ends.items():
            if seen.type != EventType.CHANGE_SUCCEEDED.value:
                raise RuntimeError(f"{request} did not succeed: {seen.data}")
        return ends

    async def wait_for_block(self, seconds: float = 10.0) -> int:
        """Wait for the next block and return its number."""
        before = self.head
        await self.wait_for(lambda: self.head > before, seconds)
        return self.head

    def _tell(self) -> None:
        self._changed.set()


@asynccontextmanager
async def watching(devnet: Devnet, daemon: Daemon) -> AsyncIterator[Watch]:
    """Watch the nodes' heads and the status events on the message queue while the context lasts."""
    watch = Watch()
    client = await nats.connect(daemon.queue_url)
    try:

        async def on_message(message: Any) -> None:
            watch.event_arrived(message.data)

        await client.subscribe("membership.events.>", cb=on_message)
        async with asyncio.TaskGroup() as tasks:
            following = [
                tasks.create_task(_follow(devnet.ws(number), watch)) for number in range(1, min(devnet.nodes, 3) + 1)
            ]
            await watch.wait_for_block(30.0)
            try:
                yield watch
            finally:
                for task in following:
                    task.cancel()
    finally:
        await client.close()


async def _follow(url: str, watch: Watch) -> None:
    async with NodeSocket(url, random=Random(0)) as link:  # noqa: S311 - it spreads reconnections
        async for item in link.subscribe_heads():
            if isinstance(item, Head):
                watch.block_arrived(item.number)
