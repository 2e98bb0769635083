"""What every message queue does for the daemon; `orchestrator.broker.connection` chooses the one that a URL names."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Protocol

from orchestrator.engine.ports.queues import Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that could not be accepted.

    Attributes:
        letter_id: By which it is replayed.
        reason: Why it could not be accepted.
        body: The original bytes.
        headers: The original headers, names in lower case.
    """

    letter_id: str
    reason: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Inlet:
    """One subject, queue or topic where triggers come in.

    Attributes:
        broker: The message queue.
        name: One of `Names.inlets`.
    """

    broker: "Broker"
    name: str

    def triggers(self) -> AsyncGenerator[Trigger, None]:
        """Yield triggers until closed."""
        return self.broker.triggers(self.name)


class Broker(Protocol):
    """A message queue: triggers in, status events out.

    It connects when it is first needed and again whenever the connection is lost. Every coroutine is bounded in time
    and raises `orchestrator.engine.ports.queues.BrokerError` when the queue did not answer: try again.
    """

    async def check(self) -> None:
        """Connect if necessary and make sure that the queue answers and has what is needed for triggers.

        Raises:
            BrokerError: It does not; the message says why.
        """

    async def check_events(self) -> None:
        """Make sure that the queue has what is needed for all types of status events. Trouble there stops no trigger.

        Raises:
            BrokerError: It does not; the message says why.
        """

    async def check_rights(self) -> None:
        """Make sure of what only trying tells, once and not while working: take a request and give it back.

        Raises:
            BrokerError: It can't be done; the message says why.
        """

    async def largest_message(self) -> int | None:
        """Return how many bytes a status event may have, as far as the queue tells; None when it does not."""

    def triggers(self, inlet: str | None = None) -> AsyncGenerator[Trigger, None]:
        """Yield triggers until closed, over any number of reconnections.

        At most ``Limits.in_flight`` are unsettled at a time: the next is only taken when one of them was acknowledged,
        postponed or buried. What is not settled when the connection is lost is delivered again.

        Args:
            inlet: One of `Names.inlets`; None for the first, `Names.requests`.
        """

    async def publish(self, event_type: str, event_id: str, body: bytes) -> None:
        """Publish a status event (a CloudEvents JSON document); returns when the queue has stored it."""

    async def newest_event(self) -> bytes | None:
        """Return the newest status event under our subjects, whoever published it; None when there is none.

        RabbitMQ keeps none: there it is the newest since the last call, and nothing at the first.
        """

    async def request(self, body: bytes) -> None:
        """Publish a trigger (a CloudEvents JSON document); returns when the queue has stored it."""

    async def publish_verdict(self, body: bytes) -> None:
        """Publish a verdict (a CloudEvents JSON document) to the daemons of other organisations."""

    def verdicts(self) -> AsyncGenerator[bytes, None]:
        """Yield the bodies of verdicts until closed, over any number of reconnections, some of them again.

        Every reader gets all of them. NATS and Kafka keep them for an hour, and those come first; RabbitMQ gives only
        what is published while a reader is connected.
        """

    async def dead_letters(self, limit: int = 100) -> tuple[DeadLetter, ...]:
        """Return dead letters, oldest first as far as the queue keeps an order."""

    async def replay(self, letter_id: str) -> None:
        """Put a dead letter back where it came in, as it came: elsewhere it would be taken for another sender's.

        Raises:
            KeyError: There is no such dead letter.
            UnfitMessageError: Triggers come in no longer where it did.
        """
