"""Message queues, as the engine needs them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from orchestrator.engine.messages.cloud_events import NATS, Binding


class BrokerError(Exception):
    """The message queue did not do what was asked in time; it reconnects by itself, and it may be tried again.

    Attributes:
        passing: Whether trying again may help.
    """

    passing = True


class UnfitMessageError(BrokerError):
    """The message queue takes everything but this very message, now and later: it is larger than its limit."""

    passing = False


class FeedClosedError(Exception):
    """A subscription was ended from our side.

    Attributes:
        resume_id: What to resume from when the id that was asked for is none any more; None for the last one received.
    """

    def __init__(self, why: str | None, resume_id: str | None = None) -> None:
        super().__init__(why)
        self.resume_id = resume_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """One message that came in.

    Attributes:
        body: The message's bytes (bounded by the broker adapter).
        headers: Headers, lower-case names (CloudEvents' binary mode has its attributes here).
        binding: How the protocol that it came by carries CloudEvents.
        inlet: The subject or queue that it came in by, as the queue itself says.
        acknowledge: To be awaited after the change is committed.
        postpone: Gives the message back, to be delivered again after some seconds.
        bury: Puts the message and a reason on the dead-letter subject, then acknowledges it.
        delivery: How often it was delivered, this time included, as far as the queue tells.
    """

    body: bytes
    headers: dict[str, str]
    acknowledge: Callable[[], Awaitable[None]]
    postpone: Callable[[float], Awaitable[None]]
    bury: Callable[[str], Awaitable[None]]
    delivery: int = 1
    binding: Binding = NATS
    inlet: str = ""


class TriggerSource(Protocol):
    """Where triggers come from."""

    def triggers(self) -> AsyncIterator[Trigger]:
        """Yield triggers until cancelled; reconnects by itself; holds at most a bounded number unacknowledged."""
