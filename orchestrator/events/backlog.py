"""How long the oldest status event has waited to be published: what a relay that does not get on shows by."""

from datetime import datetime
from typing import Final

from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.runtime.isolation import repeated
from orchestrator.events.ports import Outbox

LOOK_SECONDS: Final = 2.0


class Backlog:
    """Looks at the outbox now and then, on each replica, whichever of them publishes.

    Args:
        outbox: The durable events.
        clock: Time.
    """

    def __init__(self, outbox: Outbox, clock: Clock) -> None:
        self._outbox = outbox
        self._clock = clock
        self._oldest: datetime | None = None

    @property
    def seconds(self) -> float:
        """For how long the oldest unpublished event has waited; 0 when all are published."""
        return 0.0 if self._oldest is None else max((self._clock.now() - self._oldest).total_seconds(), 0.0)

    async def run(self) -> None:
        """Look until cancelled; while the store is away, what was seen last goes on ageing."""
        await repeated("backlog", self.look, self._clock, LOOK_SECONDS)

    async def look(self) -> None:
        """Look once."""
        try:
            self._oldest = await self._outbox.oldest_unpublished()
        except StoreError:
            return
