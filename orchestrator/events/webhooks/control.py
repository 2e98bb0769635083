"""What an operator does with webhooks: look how far each is, stop it, let it go on, try it out, and send again.

An operator may talk to another replica than the one that posts, so that what is wanted is written to the store, beside
the endpoint's checkpoint; whoever posts reads it there within seconds.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from orchestrator.engine.ports.clock import Clock
from orchestrator.events.ports import Outbox
from orchestrator.events.webhooks.delivery import Delivery, DeliveryError, Endpoint, delivery_session

TEST_SECONDS: Final = 10.0
NO_POSITION: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an operator wants of a webhook.

    Attributes:
        stopped_since: Since when nothing is to be posted; None for posting.
        position: Go on behind this event, with all failures forgotten; None for where it is.
    """

    stopped_since: datetime | None = None
    position: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookStanding:
    """How far one webhook is.

    Attributes:
        name: Its name in the configuration.
        address: Scheme and host that it posts to; what is behind may hold a secret.
        types: Types of events that it wants; empty for all.
        position: The last event that it took or did not want; None before the first look.
        behind: Events of all types behind that one.
        failures: Failures in a row.
        paused_since: Since when it is tried only now and then, because it failed too often.
        stopped_since: Since when an operator has it stopped.
        detail: What its last failure was.
    """

    name: str
    address: str
    types: tuple[str, ...] = ()
    position: int | None = None
    behind: int = 0
    failures: int = 0
    paused_since: datetime | None = None
    stopped_since: datetime | None = None
    detail: str = ""


def checkpoint_name(endpoint: str) -> str:
    """Return the name of an endpoint's checkpoint."""
    return f"webhook:{endpoint}"


async def wish_for(outbox: Outbox, endpoint: str) -> Wish:
    """Return what an operator wants of a webhook.

    Raises:
        StoreError: The store does not answer.
    """
    stored = await outbox.checkpoint(f"webhook-wish:{endpoint}")
    if stored is None:
        return Wish()
    return Wish(stopped_since=stored.paused_since, position=stored.position if stored.position != NO_POSITION else None)


async def save_wish(outbox: Outbox, endpoint: str, wish: Wish) -> None:
    """Store what an operator wants of a webhook.

    Raises:
        StoreError: The store does not answer.
    """
    position = NO_POSITION if wish.position is None else wish.position
    await outbox.save_checkpoint(f"webhook-wish:{endpoint}", position=position, paused_since=wish.stopped_since)


class WebhookControl:
    """Looks at webhooks and steers them. Every method may raise `StoreError`; with a name that none has, KeyError.

    Args:
        outbox: The durable events, and how far each endpoint is.
        endpoints: Those that are configured.
        clock: Time.
    """

    def __init__(self, outbox: Outbox, endpoints: Sequence[Endpoint], clock: Clock) -> None:
        self._outbox = outbox
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self._clock = clock

    async def webhooks(self) -> tuple[WebhookStanding, ...]:
        """Return all webhooks, in the configuration's order."""
        newest = await self._outbox.last_position()
        return tuple([await self._standing(endpoint, newest) for endpoint in self._endpoints.values()])

    async def webhook(self, name: str) -> WebhookStanding:
        """Return one webhook."""
        return await self._standing(self._endpoints[name], await self._outbox.last_position())

    async def _standing(self, endpoint: Endpoint, newest: int) -> WebhookStanding:
        known = await self._outbox.checkpoint(checkpoint_name(endpoint.name))
        wish = await wish_for(self._outbox, endpoint.name)
        parts = urlsplit(endpoint.url)
        # What an operator wished a moment ago is shown as done; whoever posts does it within seconds.
        position = wish.position if wish.position is not None else None if known is None else known.position
        return WebhookStanding(
            name=endpoint.name,
            address=f"{parts.scheme}://{parts.hostname or ''}",
            types=endpoint.types,
            position=position,
            behind=0 if position is None else max(0, newest - position),
            failures=0 if known is None else known.failures,
            paused_since=None if known is None else known.paused_since,
            stopped_since=wish.stopped_since,
            detail="" if known is None else known.detail,
        )

    async def stop(self, name: str) -> WebhookStanding:
        """Let nothing be posted any more, until it is resumed; what happens meanwhile is kept for it as for all."""
        endpoint = self._endpoints[name]
        wish = await wish_for(self._outbox, name)
        if wish.stopped_since is None:
            stopped = Wish(stopped_since=self._clock.now(), position=wish.position)
            await save_wish(self._outbox, name, stopped)
        return await self._standing(endpoint, await self._outbox.last_position())

    async def resume(self, name: str) -> WebhookStanding:
        """Let it go on at once from where it is, whether an operator stopped it or it failed too often."""
        endpoint = self._endpoints[name]
        wish = await wish_for(self._outbox, name)
        known = await self._outbox.checkpoint(checkpoint_name(name))
        # The position that it has is wished for, too: taken as a new one it lets failures and pause be forgotten.
        position = wish.position if wish.position is not None or known is None else known.position
        await save_wish(self._outbox, name, Wish(position=position))
        return await self._standing(endpoint, await self._outbox.last_position())

    async def send_again(self, name: str, position: int) -> WebhookStanding:
        """Post everything behind an event again, as far as it is kept; receivers know what they have by its id.

        Raises:
            ValueError: There is no event with that position yet.
        """
        endpoint = self._endpoints[name]
        newest = await self._outbox.last_position()
        if not 0 <= position <= newest:
            raise ValueError(f"there is no event {position}; the newest is {newest}")
        wish = await wish_for(self._outbox, name)
        # A webhook that is stopped stays so: from where it goes on and when are two wishes.
        await save_wish(self._outbox, name, Wish(stopped_since=wish.stopped_since, position=position))
        return await self._standing(endpoint, newest)

    async def try_out(self, name: str) -> tuple[bool, str]:
        """Post a test event now, with everything that others are posted with.

        Its type is ``membership.test.v1``; it stands for nothing that happened.

        Returns:
            Whether it was taken, and what was seen.
        """
        endpoint = self._endpoints[name]
        try:
            async with delivery_session(endpoint, TEST_SECONDS) as session:
                await Delivery(endpoint, session, self._clock).try_out(f"test-{uuid.uuid4()}")
        except DeliveryError as error:
            return False, str(error)
        return True, "it took the event"
