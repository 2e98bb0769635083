"""The message queue of a simulation: what was published is kept until it is acknowledged, and comes too often."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from orchestrator.engine.ports.queues import BrokerError, Trigger
from tests.simulation.world import Life, World

ACK_SECONDS = 30.0
"""A message that is not acknowledged for so long is delivered again."""


@dataclass(slots=True)
class Message:
    """One message that is kept.

    Attributes:
        request_id: The trigger's id.
        body: Its bytes.
        settled: Whether it was acknowledged or buried.
        buried: Why it was buried.
        deliveries: How often it was delivered.
        expected: Whether it is a request that may not be buried.
    """

    request_id: str
    body: bytes
    expected: bool = True
    settled: bool = False
    buried: str | None = None
    deliveries: int = 0


class MessageQueue:
    """A work queue that several replicas take from."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.messages: list[Message] = []
        self.published: dict[str, list[int]] = {}
        self._ready: deque[Message] = deque()
        self._arrived = asyncio.Event()

    def publish(self, request_id: str, data: dict[str, Any], *, expected: bool = True) -> None:
        """Keep a request, and deliver it when it is its turn."""
        event = {"specversion": "1.0", "type": "membership.change.requested.v1", "source": "/simulation"}
        body = json.dumps({**event, "id": request_id, "data": data}).encode()
        message = Message(request_id, body, expected)
        self.messages.append(message)
        late = self._world.happens(self._world.profile.late_message)
        self._world.loop.call_later(self._world.chance.uniform(0.0, 20.0) if late else 0.0, self._offer, message)
        if self._world.happens(self._world.profile.duplicate):
            self._world.loop.call_later(self._world.chance.uniform(0.0, 40.0), self._offer, message)

    async def keep_event(self, life: Life, event_type: str, body: bytes) -> None:
        """Keep a status event; the answer may be lost, or the event before it was kept.

        Raises:
            BrokerError: No answer came.
        """
        await life.moment(f"publishes {event_type}")
        event = json.loads(body)
        if self._world.happens(self._world.profile.lost_event):
            raise BrokerError("the event was lost")
        await asyncio.sleep(self._world.latency())
        self.published.setdefault(event.get("subject", "requests"), []).append(int(event["data"]["sequence"]))
        await life.moment(f"published {event_type}")
        if self._world.happens(self._world.profile.lost_event):
            raise BrokerError("the answer was lost")

    @property
    def unsettled(self) -> list[Message]:
        """What was neither acknowledged nor buried."""
        return [message for message in self.messages if not message.settled]

    def _offer(self, message: Message) -> None:
        self._ready.append(message)
        self._arrived.set()

    async def triggers(self, life: Life) -> AsyncIterator[Trigger]:
        """`orchestrator.engine.ports.queues.TriggerSource.triggers` for one life."""
        while True:
            while not self._ready:
                self._arrived.clear()
                await self._arrived.wait()
            await life.moment("takes a message")
            if not self._ready:
                continue
            message = self._ready.popleft()
            message.deliveries += 1
            self._world.say(f"{life.name}: message {message.request_id} for the {message.deliveries}. time")
            again = self._world.loop.call_later(ACK_SECONDS, self._again, message)
            yield Trigger(
                body=message.body,
                headers={},
                delivery=message.deliveries,
                acknowledge=partial(self._acknowledge, life, message, again),
                postpone=partial(self._postpone, life, message, again),
                bury=partial(self._bury, life, message, again),
            )

    def _again(self, message: Message) -> None:
        if not message.settled:
            self._offer(message)

    async def _acknowledge(self, life: Life, message: Message, again: asyncio.TimerHandle) -> None:
        await life.moment(f"acknowledges {message.request_id}")
        self._world.checks.acknowledged(message)
        if self._world.happens(self._world.profile.lost_ack):
            self._world.say(f"the acknowledgement of {message.request_id} is lost")
            return
        again.cancel()
        message.settled = True

    async def _postpone(self, life: Life, message: Message, again: asyncio.TimerHandle, seconds: float) -> None:
        await life.moment(f"postpones {message.request_id}")
        again.cancel()
        self._world.loop.call_later(seconds, self._again, message)

    async def _bury(self, life: Life, message: Message, again: asyncio.TimerHandle, reason: str) -> None:
        await life.moment(f"buries {message.request_id}: {reason}")
        again.cancel()
        message.buried, message.settled = reason, True


@dataclass(frozen=True, slots=True)
class LifeQueue:
    """The queue as one life has it: `engine.ports.queues.TriggerSource` and `events.ports.Publisher`."""

    queue: MessageQueue
    life: Life

    async def publish(self, event_type: str, event_id: str, body: bytes) -> None:  # noqa: ARG002 - it is in the body
        await self.queue.keep_event(self.life, event_type, body)

    def triggers(self) -> AsyncIterator[Trigger]:
        return self.queue.triggers(self.life)
