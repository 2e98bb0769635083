"""``/v1/webhooks``: how far each webhook is, and what an operator does with it."""

from collections.abc import Awaitable
from http import HTTPStatus

from aiohttp import web

from orchestrator.api.documents.webhooks import MOST_POSITION, TriedDocument, WebhookDocument, WebhooksDocument
from orchestrator.api.inputs import check_parameters, json_body
from orchestrator.api.ports.webhooks import WebhookStanding
from orchestrator.api.problems import ProblemError
from orchestrator.api.resources.changes import SERVICES, json_response
from orchestrator.engine.intake.requests import InvalidRequestError


async def list_webhooks(request: web.Request) -> web.Response:
    """List the webhooks, and how far each is."""
    check_parameters(request, ())
    found = await request.app[SERVICES].webhooks.webhooks()
    return json_response(WebhooksDocument(webhooks=[_document(standing) for standing in found]))


async def pause_webhook(request: web.Request) -> web.Response:
    """Stop posting to a webhook until it is resumed; what happens meanwhile is kept."""
    check_parameters(request, ())
    return await _answer(request, request.app[SERVICES].webhooks.stop(_name(request)))


async def resume_webhook(request: web.Request) -> web.Response:
    """Let a webhook go on at once from where it is."""
    check_parameters(request, ())
    return await _answer(request, request.app[SERVICES].webhooks.resume(_name(request)))


async def redrive_webhook(request: web.Request) -> web.Response:
    """Post again what a webhook was posted before."""
    check_parameters(request, ())
    body = await json_body(request)
    after = body.get("after") if isinstance(body, dict) and set(body) == {"after"} else None
    if isinstance(after, float) and after.is_integer():
        after = int(after)  # 7.0 is the same number to JSON, and what some clients write
    if not isinstance(after, int) or isinstance(after, bool) or not 0 <= after <= MOST_POSITION:
        raise InvalidRequestError("after", "is required, alone: the number of an event, 0 for all that is kept")
    try:
        return await _answer(request, request.app[SERVICES].webhooks.send_again(_name(request), after))
    except ValueError as error:
        raise InvalidRequestError("after", str(error)) from error


async def try_webhook(request: web.Request) -> web.Response:
    """Post a test event to a webhook now, and tell what became of it."""
    check_parameters(request, ())
    try:
        taken, detail = await request.app[SERVICES].webhooks.try_out(_name(request))
    except KeyError:
        raise _unknown(request) from None
    return json_response(TriedDocument(taken=taken, detail=detail))


def _name(request: web.Request) -> str:
    return request.match_info["name"][:128]


async def _answer(request: web.Request, work: Awaitable[WebhookStanding]) -> web.Response:
    try:
        return json_response(_document(await work))
    except KeyError:
        raise _unknown(request) from None


def _unknown(request: web.Request) -> ProblemError:
    detail = f"No webhook {_name(request)} is configured."
    return ProblemError(HTTPStatus.NOT_FOUND, "unknown-webhook", detail, "name")


def _document(standing: WebhookStanding) -> WebhookDocument:
    fields = {name: getattr(standing, name) for name in WebhookDocument.model_fields}
    return WebhookDocument.model_validate(fields | {"types": list(standing.types)})
