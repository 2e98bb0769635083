"""Errors as RFC 9457 problem documents: every answer that is no success is one."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

import structlog
from aiohttp import web

from orchestrator.access.callers import ForbiddenError
from orchestrator.api.documents.shared import Problem
from orchestrator.engine.intake.admission import TooManyUnfinishedError
from orchestrator.engine.intake.requests import MAX_BODY_BYTES, InvalidRequestError
from orchestrator.engine.ports.queues import BrokerError
from orchestrator.engine.ports.store import LeaseLostError, StoreError
from orchestrator.membership.errors import ConflictingRequestError, ImpossibleStepError, RefusedRequestError
from orchestrator.outside_text import presentable, redacted

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CONTENT_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 2
_LONGEST_DETAIL: Final = 4_000

log = structlog.get_logger()


class ProblemError(Exception):
    """A request that is answered with a problem document.

    Attributes:
        status: HTTP status.
        slug: Stable name of the problem.
        detail: What happened, why, and what to do.
        field: The field that is wrong, if one is.
        headers: What else the answer has to say.
    """

    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, status: HTTPStatus, slug: str, detail: str, field: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.slug = slug
        self.detail = detail
        self.field = field


@dataclass(frozen=True, slots=True)
class _Answer:
    status: HTTPStatus
    slug: str
    detail: str
    field: str | None = None
    again: bool = False
    headers: Mapping[str, str] | None = None


@web.middleware
async def problem_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into a problem document; never tells more than the error's own message."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        answer = _of_http(request, error)
        response = _document(answer)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except ConnectionError as error:
        # Not every such error is of this connection: it may be of what the handler asked.
        if request.transport is None or request.transport.is_closing():
            raise  # the client went, and there is nobody to be answered
        return _document(_of(error, request))
    except Exception as error:  # noqa: BLE001 - the edge of the process: everything becomes an answer
        return _document(_of(error, request))


def _of(error: Exception, request: web.Request) -> _Answer:
    match error:
        case ProblemError():
            return _Answer(error.status, error.slug, error.detail, error.field, headers=error.headers)
        case ForbiddenError():
            return _Answer(HTTPStatus.FORBIDDEN, "forbidden", f"Not allowed: {error}.")
        case InvalidRequestError():
            field = error.field.removeprefix("data.")
            return _Answer(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", f"{field}: {error.message}", field)
        case ConflictingRequestError():
            # 422 is what the Idempotency-Key draft wants for a key that comes again with another body.
            detail = f"{error} Another request needs another id."
            field = "Idempotency-Key" if "Idempotency-Key" in request.headers else "id"
            return _Answer(HTTPStatus.UNPROCESSABLE_ENTITY, "conflicting-request", detail, field)
        case LeaseLostError():
            detail = "The change is being worked on at this moment; ask again when it rests."
            return _Answer(HTTPStatus.CONFLICT, "being-worked-on", detail, again=True)
        case ImpossibleStepError() | RefusedRequestError():
            return _Answer(HTTPStatus.CONFLICT, "impossible-now", str(error))
        case TooManyUnfinishedError():
            return _Answer(HTTPStatus.TOO_MANY_REQUESTS, "too-many-unfinished", str(error), again=True)
        case web.RequestPayloadError():
            log.info("a body could not be read", method=request.method, path=request.path, reason=str(error))
            detail = "The body could not be read to its end, or unpacked as its Content-Encoding says."
            return _Answer(HTTPStatus.BAD_REQUEST, "unreadable-body", detail, "body")
        case TimeoutError():
            detail = "The body did not come in time; send it again, at once."
            return _Answer(HTTPStatus.REQUEST_TIMEOUT, "body-late", detail, "body")
        case StoreError():
            detail = "The store does not answer; nothing was changed. Ask again."
            return _Answer(HTTPStatus.SERVICE_UNAVAILABLE, "store-unavailable", detail, again=True)
        case BrokerError():
            detail = "The message queue does not answer. Ask again."
            return _Answer(HTTPStatus.SERVICE_UNAVAILABLE, "broker-unavailable", detail, again=True)
        case _:
            log.error("request failed", method=request.method, path=request.path, exc_info=error)
            detail = "This is a defect of the daemon; its log has the details."
            return _Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "defect", detail)


def _of_http(request: web.Request, error: web.HTTPException) -> _Answer:
    status = HTTPStatus(error.status)
    match status:
        case HTTPStatus.NOT_FOUND:
            return _Answer(
                status,
                "not-found",
                f"There is nothing at {presentable(request.path)}; /openapi.json lists what there is.",
            )
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return _Answer(status, "method-not-allowed", f"{request.method} can't be used at {request.path}.")
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return _Answer(status, "too-large", f"The body is larger than {MAX_BODY_BYTES} bytes.", "body")
        case _:
            return _Answer(status, status.phrase.lower().replace(" ", "-"), error.text or status.phrase)


def problem_response(status: HTTPStatus, slug: str, detail: str, field: str | None = None) -> web.Response:
    """Return an answer that is a problem document; see `ProblemError` for what its parts are."""
    document = Problem(
        type=f"urn:orchestrator:problem:{slug}",
        title=slug.replace("-", " ").capitalize(),
        status=status,
        # What was sent is told back as little as anything else from outside: it may be a token in the wrong place.
        detail=redacted(detail, _LONGEST_DETAIL),
        field=None if field is None else redacted(field, _LONGEST_DETAIL),
    )
    return web.Response(text=document.model_dump_json(exclude_none=True), status=status, content_type=CONTENT_TYPE)


def _document(answer: _Answer) -> web.Response:
    response = problem_response(answer.status, answer.slug, answer.detail, answer.field)
    response.headers.update(answer.headers or {})
    if answer.again:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        # The rest of the body is not read: the connection can't be used again.
        response.force_close()
    return response
