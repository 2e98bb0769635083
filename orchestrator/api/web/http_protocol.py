"""HTTP on one connection, with problem documents also for what is no request that a handler could see."""

from http import HTTPStatus
from typing import Any, Final

import structlog
from aiohttp import http_exceptions, web

from orchestrator.api.callers.origins import SECURITY_HEADERS
from orchestrator.api.problems import problem_response

LONGEST_LINE_BYTES: Final = 8190
"""What one header, and the line with the address, may have."""

_log = structlog.get_logger(__name__)


class HttpProtocol(web.RequestHandler):
    """Answers what the parser refuses as everything else is answered; the library would write plain text."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - the library's words, which hold the bytes that were sent
    ) -> web.StreamResponse:
        """Return the answer to bytes that are no request, or to a request that failed outside of all handlers.

        Raises:
            ConnectionError: Nobody is there to be answered.
        """
        if isinstance(exc, ConnectionError):
            raise exc
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already; there can't be another")
        found, slug, detail = _explained(HTTPStatus(status), exc)
        if found >= HTTPStatus.INTERNAL_SERVER_ERROR and found != HTTPStatus.NOT_IMPLEMENTED:
            _log.error("request failed outside of its handler", exc_info=exc)
        response = problem_response(found, slug, detail)
        # No application has the request yet, and its signal that adds them to all other answers is not sent.
        response.headers.update({**SECURITY_HEADERS, "Cache-Control": "no-store"})
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Write what the library could not foresee into the log; a body that it could not read to its end is a line.

        What the body of an answered request still holds is read and thrown away, and unpacked on the way.
        """
        error = kw.get("exc_info")
        if isinstance(error, web.RequestPayloadError):
            _log.info("the rest of a body could not be read", reason=str(error))
            return
        super().log_exception(*args, **kw)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write an answer; what the library refuses before any handler (an ``Expect``) is a problem document, too."""
        if isinstance(resp, web.HTTPException) and resp.status >= HTTPStatus.BAD_REQUEST:
            status = HTTPStatus(resp.status)
            resp = problem_response(status, status.phrase.lower().replace(" ", "-"), f"{status.description}.")
            resp.headers.update({**SECURITY_HEADERS, "Cache-Control": "no-store"})
        return await super().finish_response(request, resp, start_time)


def _explained(status: HTTPStatus, error: BaseException | None) -> tuple[HTTPStatus, str, str]:
    match error:
        case http_exceptions.BadHttpMethod():
            return HTTPStatus.NOT_IMPLEMENTED, "unknown-method", "This is no method of HTTP that is known here."
        case http_exceptions.LineTooLong():
            detail = f"A header, or the address, has more than {LONGEST_LINE_BYTES} bytes."
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "header-too-large", detail
        case http_exceptions.ContentEncodingError():
            detail = "The body's Content-Encoding is not read here; send it as it is."
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unknown-encoding", detail
        case http_exceptions.HttpProcessingError():
            return HTTPStatus.BAD_REQUEST, "no-http", "This is no HTTP/1.1 request: see RFC 9112."
        case _ if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return status, status.phrase.lower().replace(" ", "-"), "The request could not be read."
        case _:
            return status, "defect", "This is a defect of the daemon; its log has the details."
