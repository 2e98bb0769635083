"""Posting one event to one endpoint: signed, with its permission where that is asked for, and what its answer means.

The handshake is that of CloudEvents' web hooks for event delivery (1.0.2, sections 3 and 4).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from yarl import URL

from orchestrator.engine.ports.clock import Clock
from orchestrator.events.documents.envelope import text_of
from orchestrator.events.ports import StoredEvent
from orchestrator.events.webhooks.addresses import PublicResolver, check_literal
from orchestrator.events.webhooks.signatures import SIGNATURE_HEADER, signature, standard_headers
from orchestrator.outside_text import presentable

CONTENT_TYPE: Final = "application/cloudevents+json"
LONGEST_RETRY_AFTER_SECONDS: Final = 3600.0
MOST_PER_MINUTE: Final = 6_000
GONE: Final = 410
TEST_TYPE: Final = "membership.test.v1"
TEST_SOURCE: Final = "/besu-membership-orchestrator/test"
_SECONDS: Final = 60.0
_LONGEST_NUMBER: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where events are posted to.

    Attributes:
        name: Name of its checkpoint; unique.
        url: An ``http`` or ``https`` address.
        secret: Shared with the receiver, for the signatures; none when None.
        authorization: Returns the value of the ``Authorization`` header, read anew for each post; None for none. May
            raise OSError or ValueError.
        origin: The name that is said when the endpoint is asked whether it wants events; None for not asking.
        types: Types of events to post; empty for all.
        allow_private: Whether the address may be a private or loopback one.
    """

    name: str
    url: str
    secret: bytes | None = field(default=None, repr=False)
    authorization: Callable[[], str] | None = field(default=None, repr=False)
    origin: str | None = None
    types: tuple[str, ...] = ()
    allow_private: bool = False


class DeliveryError(Exception):
    """An endpoint did not take an event.

    Attributes:
        gone: It says that it will never take one again (410).
        again_in_seconds: When it wants to be asked again (``Retry-After``); 0 when it does not say.
    """

    def __init__(self, message: str, *, gone: bool = False, again_in_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.gone = gone
        self.again_in_seconds = again_in_seconds


class Delivery:
    """Posts to one endpoint.

    Args:
        endpoint: Where to.
        session: With the endpoint's limits; see `delivery_session`.
        clock: Time.
    """

    def __init__(self, endpoint: Endpoint, session: aiohttp.ClientSession, clock: Clock) -> None:
        self._endpoint = endpoint
        self._session = session
        self._clock = clock
        self._permitted = endpoint.origin is None
        self.spacing_seconds = 0.0
        """How long the endpoint wants between two posts."""

    async def post(self, stored: StoredEvent) -> None:
        """Post an event; the first time, and after each failure, only with the endpoint's permission.

        Raises:
            DeliveryError: The endpoint did not take it.
        """
        try:
            if not self._permitted:
                await self._ask()
            await self._post(stored)
        except DeliveryError:
            # Asked anew after a failure: who moved or was replaced may not want events any more.
            self._permitted = self._endpoint.origin is None
            raise

    async def _ask(self) -> None:
        origin = self._endpoint.origin or ""
        status, headers = await self._send("OPTIONS", {"WebHook-Request-Origin": origin}, None)
        allowed = headers.get("WebHook-Allowed-Origin", "")
        # Not sent without a permission, even if the address would take it: it may belong to somebody who never asked
        # for it.
        if not 200 <= status < 300 or allowed not in (origin, "*"):
            raise DeliveryError(
                f"it did not allow {origin} to send events: it answered OPTIONS with {status} and "
                f"WebHook-Allowed-Origin {presentable(allowed, 100)!r}",
                again_in_seconds=self._again_in(headers),
            )
        rate = headers.get("WebHook-Allowed-Rate", "*").strip()
        # What is no rate is no limit; a rate of 0 would mean never, and whoever wants that withdraws the permission.
        known = rate.isascii() and rate.isdigit() and len(rate) <= _LONGEST_NUMBER and int(rate) > 0
        self.spacing_seconds = _SECONDS / min(int(rate), MOST_PER_MINUTE) if known else 0.0
        self._permitted = True

    async def try_out(self, event_id: str) -> None:
        """Post an event that stands for nothing, as others are posted.

        Args:
            event_id: Its id.

        Raises:
            DeliveryError: The endpoint did not take it.
        """
        if not self._permitted:
            await self._ask()
        document = {
            "specversion": "1.0",
            "id": event_id,
            "source": TEST_SOURCE,
            "type": TEST_TYPE,
            "time": self._clock.now().isoformat().replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "data": {},
        }
        await self._post_text(event_id, json.dumps(document))

    async def _post(self, stored: StoredEvent) -> None:
        await self._post_text(stored.event_id, text_of(stored))

    async def _post_text(self, event_id: str, text: str) -> None:
        content = text.encode()
        headers = {"Content-Type": CONTENT_TYPE}
        if self._endpoint.secret is not None:
            headers[SIGNATURE_HEADER] = signature(self._endpoint.secret, content)
            headers |= standard_headers(self._endpoint.secret, event_id, self._clock.now(), content)
        status, answered = await self._send("POST", headers, content)
        if not 200 <= status < 300:
            raise DeliveryError(f"it answered {status}", gone=status == GONE, again_in_seconds=self._again_in(answered))

    async def _send(self, method: str, headers: dict[str, str], content: bytes | None) -> tuple[int, dict[str, str]]:
        try:
            if self._endpoint.authorization is not None:
                # Read from a file, which may be on a slow disk, while others are posted to.
                headers["Authorization"] = await asyncio.to_thread(self._endpoint.authorization)
            if not self._endpoint.allow_private:
                check_literal(URL(self._endpoint.url).raw_host or "")  # as the library connects to it
            # Redirected, a signed event would go to an address that nobody checked.
            async with self._session.request(
                method, self._endpoint.url, data=content, headers=headers, allow_redirects=False
            ) as answer:
                known = ("Retry-After", "WebHook-Allowed-Origin", "WebHook-Allowed-Rate")
                return answer.status, {name: answer.headers[name] for name in known if name in answer.headers}
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            # A host name that no resolver takes (a label of more than 63 characters) is a ValueError, UnicodeError.
            raise DeliveryError(f"{type(error).__name__}: {presentable(str(error))}".rstrip(": ")) from error

    def _again_in(self, headers: dict[str, str]) -> float:
        return retry_after_seconds(headers.get("Retry-After", ""), self._clock.now())


def retry_after_seconds(text: str, now: datetime) -> float:
    """Return how long a ``Retry-After`` wants us to wait, at most `LONGEST_RETRY_AFTER_SECONDS`.

    Args:
        text: A number of seconds, or a date (RFC 9110, 10.2.3); anything else is no wish.
        now: The present time.
    """
    plain = text.strip()
    if plain.isascii() and plain.isdigit():
        # Cut off before it is a number: thousands of digits take long to read.
        seconds = float(plain[:_LONGEST_NUMBER])
    else:
        try:
            at = parsedate_to_datetime(plain)
            seconds = ((at if at.tzinfo is not None else at.replace(tzinfo=UTC)) - now).total_seconds()
        except (ValueError, OverflowError):
            seconds = 0.0
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


@asynccontextmanager
async def delivery_session(endpoint: Endpoint, timeout_seconds: float) -> AsyncIterator[aiohttp.ClientSession]:
    """Give a session that connects to nothing but the endpoint's checked addresses, and remembers nothing."""
    resolver = None if endpoint.allow_private else PublicResolver()
    # Resolved for each connection: a cached name would outlive an endpoint that moved.
    connector = aiohttp.TCPConnector(limit=2, resolver=resolver, use_dns_cache=False)
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield session
