"""``/v1/events``: status events as server-sent events, resumable by ``Last-Event-ID``."""

import asyncio
import json
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp_sse import EventSourceResponse

from orchestrator.api.callers.authentication import AUTHENTICATION, UnauthenticatedError, caller_of_request
from orchestrator.api.inputs import check_parameters, choices, id_of_group, id_parameter
from orchestrator.api.ports.changes import ApiServices
from orchestrator.api.problems import ProblemError
from orchestrator.api.resources.changes import SERVICES
from orchestrator.engine.ports.queues import FeedClosedError
from orchestrator.engine.ports.store import StoreError
from orchestrator.membership.news.status import EventType

MAX_STREAMS: Final = 256
SEND_TIMEOUT_SECONDS: Final = 10.0
PING_SECONDS: Final = 15.0
LOOK_AGAIN_SECONDS: Final = 5.0
"""Between two looks whether who reads still may: so long a token that expired or was revoked keeps a stream."""
RECONNECT_MS: Final = 1000
_NEVER_SECONDS: Final = 10.0**9
_COMMENT: Final = b": still here\r\n"
MAX_ID_DIGITS: Final = 18
"""A position in the outbox is a number of 64 bits."""


class Streams(set[EventSourceResponse]):
    """The subscribers that are connected."""


STREAMS = web.AppKey("streams", Streams)


async def stream_events(request: web.Request) -> web.StreamResponse:
    """Send status events until the client goes; one that does not read for a while is disconnected and may resume."""
    check_parameters(request, ("group", "change", "type", "last_event_id"))
    streams = request.app[STREAMS]
    if len(streams) >= MAX_STREAMS:
        detail = f"{MAX_STREAMS} subscribers are connected, more are not served; close one or use the message queue."
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "too-many-subscribers", detail)
    subscription = _Subscription(request)
    # Behind the subscription's checks: it is refused as the GET would be.
    if request.method == "HEAD":
        return web.Response(headers={"Content-Type": "text/event-stream"})
    response = EventSourceResponse(send_timeout=SEND_TIMEOUT_SECONDS, ping_interval=_NEVER_SECONDS)
    await response.prepare(request)
    streams.add(response)
    try:
        async with response, asyncio.TaskGroup() as tasks:
            await response.write(_COMMENT)  # what was only prepared is not on its way yet
            pinging = tasks.create_task(_ping(response))
            pump = tasks.create_task(subscription.pump(request.app[SERVICES], response))
            looking = tasks.create_task(_until_refused(request, response))
            # The feed may end it as well: shutdown, a reader that is too slow, events that were deleted.
            pump.add_done_callback(lambda _: response.stop_streaming())
            await response.wait()
            pump.cancel()
            pinging.cancel()
            looking.cancel()
    except (ConnectionError, TimeoutError):
        pass  # the client went
    finally:
        streams.discard(response)
    return response


async def _ping(response: EventSourceResponse) -> None:
    """Send a comment now and then, so that whoever is between knows that the connection lives.

    The library's own ends with an empty line, which some readers take for an event without data.
    """
    with suppress(ConnectionError, TimeoutError, RuntimeError):  # the client went, or the stream ended
        while True:
            await asyncio.sleep(PING_SECONDS)
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                await response.write(_COMMENT)
    response.stop_streaming()


async def _until_refused(request: web.Request, response: EventSourceResponse) -> None:
    """End a stream whose reader may read no more: its token expired, or was revoked."""
    authentication = request.app[AUTHENTICATION]
    if not authentication.rules.required:
        return
    while True:
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
        try:
            await authentication.caller(request)
        except UnauthenticatedError as error:
            with suppress(ConnectionError, TimeoutError, RuntimeError):  # the client went, or the stream ended
                async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                    await response.send(json.dumps({"detail": error.detail}), event="closed")
            response.stop_streaming()
            return
        except (ProblemError, StoreError):
            continue  # it can't be told now, and then no events come either


async def end_streams(app: web.Application) -> None:
    """Let all subscribers go, so that the daemon can stop; they resume when it is back."""
    streams = app[STREAMS]
    for response in tuple(streams):
        response.stop_streaming()


class _Subscription:
    """What one subscriber asked for."""

    def __init__(self, request: web.Request) -> None:
        self._resume_id = request.headers.get("Last-Event-ID") or id_parameter(request, "last_event_id")
        if self._resume_id is not None and not (
            len(self._resume_id) <= MAX_ID_DIGITS and self._resume_id.isascii() and self._resume_id.isdigit()
        ):
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "invalid-request",
                "Last-Event-ID: must be the id of an event that was received before, or 0 for the oldest kept.",
                "Last-Event-ID",
            )
        self._privacy_group_id = id_of_group(request)
        self._within = caller_of_request(request).scope.groups
        self._change_id = id_parameter(request, "change")
        self._types = choices(request, "type", EventType)

    async def pump(self, services: ApiServices, response: EventSourceResponse) -> None:
        """Send events until the client goes or the feed ends."""
        events = services.feed.subscribe(
            resume_id=self._resume_id,
            privacy_group_id=self._privacy_group_id,
            within=self._within,
            change_id=self._change_id,
            types=self._types,
        )
        reconnect: int | None = RECONNECT_MS  # said once, with an event: alone it would look like an empty one
        try:
            try:
                async for event in events:
                    await response.send(event.text, id=event.resume_id, event=event.event_type, retry=reconnect)
                    reconnect = None
            except (FeedClosedError, StoreError) as error:
                # Readers come back with the last id that they saw, for ever, if no other one is given to them.
                resume_id = error.resume_id if isinstance(error, FeedClosedError) else None
                await response.send(json.dumps({"detail": str(error)}), id=resume_id, event="closed")
        except (ConnectionError, TimeoutError):
            pass  # the client went
