"""Reading again for little: entity tags, and waiting for news of a change (RFC 9110 and RFC 7240)."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from aiohttp import web

from orchestrator.api.ports.changes import EventFeed, FeedEvent
from orchestrator.api.problems import Handler

News = Callable[[], Awaitable[None]]

LONGEST_WAIT_SECONDS: Final = 60
MOST_WAITING: Final = 128
"""Requests that wait at a time; those beyond are answered at once."""

_WAIT: Final = re.compile(r"(?:^|[,;\s])wait=(\d{1,4})(?:$|[,;\s])")
_ENTITY_TAG: Final = re.compile(r'(?:W/)?("[^"]*")')
_TAGGED: Final = ("/v1/changes", "/v1/groups", "/v1/nodes", "/v1/names", "/v1/attention")


class Waiting(set[asyncio.Future[FeedEvent]]):
    """The requests that wait now."""


WAITING = web.AppKey("waiting", Waiting)


@web.middleware
async def conditional_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give documents an entity tag, and answer 304 to whoever has the same one already."""
    response = await handler(request)
    if request.method not in ("GET", "HEAD") or not request.path.startswith(_TAGGED):
        return response
    if response.status != HTTPStatus.OK or not isinstance(response, web.Response) or response.body is None:
        return response
    tag = response.headers.get("ETag") or tag_of(_bytes_of(response))
    if _knows(request, tag):
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return response


def _wait_seconds(request: web.Request) -> int:
    found = _WAIT.search(",".join(request.headers.getall("Prefer", [])))
    return min(int(found[1]), LONGEST_WAIT_SECONDS) if found else 0


def _knows(request: web.Request, tag: str) -> bool:
    asked = request.headers.get("If-None-Match", "")
    # Tags are compared weakly (RFC 9110, 13.1.2): a proxy that packs an answer makes its tag a weak one. The substring
    # is looked for first, since a header may hold thousands of tags.
    return asked.strip() == "*" or (tag in asked and tag in _ENTITY_TAG.findall(asked))


def _bytes_of(response: web.Response) -> bytes:
    return response.body if isinstance(response.body, bytes) else (response.text or "").encode()


def has_the_same(request: web.Request, tag: str) -> bool:
    """Return whether the client says that it has the document of this tag, or says nothing of what it has."""
    asked = request.headers.get("If-None-Match")
    return asked is None or tag in _ENTITY_TAG.findall(asked)


def tag_of(body: bytes) -> str:
    """Return the entity tag of a document."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


@asynccontextmanager
async def news_of(request: web.Request, feed: EventFeed, change_id: str) -> AsyncIterator[News | None]:
    """Listen for what happens to a change from now on, where the client would wait for that (``Prefer: wait=n``).

    Args:
        request: Which client.
        feed: Status events.
        change_id: The change.

    Yields:
        What waits for the next event, at most as long as the client would; None when the client would not wait, or when
        too many wait already.
    """
    seconds = _wait_seconds(request)
    waiting = request.app[WAITING]
    if seconds == 0 or len(waiting) >= MOST_WAITING:
        yield None
        return
    events = feed.subscribe(resume_id=None, change_id=change_id)
    # It listens before the change is read: what happens in between is news.
    next_event = asyncio.ensure_future(anext(events))
    waiting.add(next_event)
    # A generator does nothing before it is first run: here it comes to where it listens.
    await asyncio.sleep(0)

    async def news() -> None:
        await asyncio.wait({next_event}, timeout=seconds)

    try:
        yield news
    finally:
        waiting.discard(next_event)
        next_event.cancel()
        # Nothing happened, the daemon stops, or the store is away: what is known was answered.
        await asyncio.gather(next_event, return_exceptions=True)
