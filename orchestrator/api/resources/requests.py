"""What a request for changes may look like: JSON under an Idempotency-Key, or CloudEvents as their SDKs send them.

The key is read as its Internet draft writes it, a text in quotes, and without them, as most clients send it.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web

from orchestrator.api.inputs import body_of, json_body
from orchestrator.api.problems import ProblemError
from orchestrator.engine.intake.requests import (
    ChangeRequest,
    InvalidRequestError,
    checked_request_id,
    parse_batch,
    parse_request,
    parse_trigger,
)
from orchestrator.engine.messages.cloud_events import BATCH_TYPE, HTTP, STRUCTURED_TYPE, is_event, media
from orchestrator.membership.tracing import carried_trace

KEY: Final = "Idempotency-Key"
_QUOTED: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"[ \t]*(?:;.*)?', re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)")


def idempotency_key(request: web.Request) -> str:
    """Return the request's id.

    Raises:
        ProblemError: There is none or more than one, or it can't be one.
    """
    given = request.headers.getall(KEY, [])
    if len(given) > 1:
        raise _no_key(f"{KEY} is there {len(given)} times: which one is meant?")
    text = given[0].strip() if given else None
    if text is not None and text.startswith('"'):
        quoted = _QUOTED.fullmatch(text)
        if quoted is None:
            raise _no_key(f"{KEY} begins with a quote and is no quoted text.")
        text = _ESCAPED.sub(r"\1", quoted[1])
    try:
        return checked_request_id(text, field=KEY)
    except InvalidRequestError as error:
        raise _no_key(
            f"{KEY} {error.message}; choose a new one for each request and keep it when sending again."
        ) from None


async def asked_changes(request: web.Request) -> tuple[ChangeRequest, ...]:
    """Return the requests for changes that a message holds: one, or those of a batch of events.

    Raises:
        ProblemError: Its media type, key or headers can't be read.
        InvalidRequestError: What it asks for is not valid.
        web.HTTPRequestEntityTooLarge: It is too large.
        TimeoutError: It did not come in time.
    """
    headers = {name.lower(): value for name, value in request.headers.items()}
    if not is_event(headers, HTTP):
        wanted = parse_request(idempotency_key(request), await json_body(request))
        return _in_trace((wanted,), headers)
    repeated = [name for name in headers if name.startswith("ce-") and len(request.headers.getall(name)) > 1]
    if repeated:
        detail = f"The header {repeated[0]} is there more than once: which one is meant?"
        raise ProblemError(HTTPStatus.BAD_REQUEST, "repeated-header", detail, repeated[0])
    kind = media(headers.get("content-type", ""))
    if kind.startswith("application/cloudevents") and kind not in (STRUCTURED_TYPE, BATCH_TYPE):
        detail = f"Send events as {STRUCTURED_TYPE}, {BATCH_TYPE}, or with their attributes in ce- headers."
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not-json", detail, "Content-Type")
    body = await body_of(request)
    found = parse_batch(body) if kind == BATCH_TYPE else (parse_trigger(body, headers, HTTP),)
    if KEY in request.headers and [idempotency_key(request)] != [wanted.request_id for wanted in found]:
        # A client that keeps the key and makes the event's id anew would get two changes for what it means as one.
        detail = f"An event is recognised by its source and id: leave {KEY} out, or give the event's id."
        raise ProblemError(HTTPStatus.BAD_REQUEST, "key-and-event", detail, KEY)
    return _in_trace(found, headers)


def _in_trace(found: tuple[ChangeRequest, ...], headers: Mapping[str, str]) -> tuple[ChangeRequest, ...]:
    """Return requests in the trace of what carried them, unless they say themselves in which they are."""
    trace = carried_trace(headers)
    return tuple(wanted if wanted.trace else wanted.model_copy(update={"trace": trace}) for wanted in found)


def _no_key(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, "no-idempotency-key", detail, KEY)
