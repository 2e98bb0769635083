"""Noticing another store's events where ours go: two daemons on one subject space take each other's requests.

Replicas share a store and with it the source of their events. Another source under the same subjects means that
somebody gave two daemons the same names, or two replicas different configurations; neither can be told from inside.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog

from orchestrator.engine.intake.requests import OWN_SOURCE
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.queues import BrokerError
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.runtime.isolation import contained
from orchestrator.outside_text import presentable

EVERY_SECONDS: Final = 20.0
REFUSED_SECONDS: Final = 600.0
MOST_REMEMBERED: Final = 16
_LONGEST_SOURCE: Final = 256

_log = structlog.get_logger(__name__)


class EventReader(Protocol):
    """Where published events can be looked at."""

    async def newest_event(self) -> bytes | None:
        """Return the newest status event under our subjects, whoever published it; None when there is none.

        Raises:
            BrokerError: It can't be told now.
        """


class Neighbours:
    """Looks now and then who else publishes under our subjects.

    Args:
        reader: The message queue.
        own_source: Returns the source of our own events.
        clock: Time.
    """

    def __init__(self, reader: EventReader, own_source: Callable[[], Awaitable[str]], clock: Clock) -> None:
        self._reader = reader
        self._own_source = own_source
        self._clock = clock
        self._found: dict[str, None] = {}

    @property
    def sources(self) -> tuple[str, ...]:
        """Other sources that were seen since the start, the first one first."""
        return tuple(self._found)

    async def run(self) -> None:
        """Look until cancelled."""
        after_failure = EVERY_SECONDS
        while True:
            seconds = EVERY_SECONDS
            with contained("neighbours"):
                try:
                    await self.look()
                    after_failure = EVERY_SECONDS
                except (StoreError, BrokerError) as error:
                    # Whoever runs the queue may not let us look; asking again all the time would fill its log. A queue
                    # that is only slow to answer at the start tells as little, and is asked again soon.
                    _log.debug("not known who else publishes events here", reason=str(error))
                    seconds, after_failure = after_failure, min(2 * after_failure, REFUSED_SECONDS)
            await self._clock.sleep(seconds)

    async def look(self) -> None:
        """Look once.

        Raises:
            BrokerError: The queue does not answer, or does not let us read.
            StoreError: The store does not answer.
        """
        own = await self._own_source()
        source = await foreign_source(self._reader, own)
        if source is None or source in self._found or len(self._found) >= MOST_REMEMBERED:
            return
        self._found[source] = None
        _log.error(
            "another daemon publishes its events where ours go, and takes requests that are meant for us: "
            "give each its own broker.names, or one store",
            other_source=source,
            own_source=own,
        )


async def foreign_source(reader: EventReader, own: str) -> str | None:
    """Return the source of the newest event under our subjects; None when it is ours, or there is none.

    Args:
        reader: The message queue.
        own: The source of our own events.

    Raises:
        BrokerError: The queue does not answer, or does not let us read.
    """
    body = await reader.newest_event()
    source = None if body is None else _source_of(body)
    # Events from before stores had names are not another's; they go out with the old source until they are gone.
    return None if source in (own, OWN_SOURCE) else source


def _source_of(body: bytes) -> str | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    source = document.get("source") if isinstance(document, dict) else None
    return presentable(source, _LONGEST_SOURCE) if isinstance(source, str) and source else None
