"""``/v1/changes``: asking for changes, following them, and an operator's retry and cancel."""

from http import HTTPStatus

from aiohttp import web
from pydantic import BaseModel

from orchestrator.access.audit import Action, entry_by
from orchestrator.api.callers.authentication import caller_of_request
from orchestrator.api.change_texts import CHANGE_TEXTS, ChangeText
from orchestrator.api.documents.changes import (
    CancelDocument,
    ChangeBatch,
    ChangePage,
    change_document,
)
from orchestrator.api.inputs import (
    change_id,
    check_parameters,
    choices,
    flag,
    id_of_group,
    id_parameter,
    json_body,
    page_size,
    request_parameter,
)
from orchestrator.api.ports.changes import ApiServices
from orchestrator.api.problems import ProblemError
from orchestrator.api.resources.requests import asked_changes
from orchestrator.api.web.conditional import has_the_same, news_of
from orchestrator.engine.intake.requests import InvalidRequestError
from orchestrator.engine.lanes.records import record_of
from orchestrator.engine.messages.cloud_events import BATCH_TYPE, media
from orchestrator.engine.ports.records import ChangeFilter
from orchestrator.engine.ports.store import Acceptance, Record
from orchestrator.instants import micros
from orchestrator.membership.facts import CancelRequested, RetryRequested
from orchestrator.membership.machine import step
from orchestrator.membership.model import ENDED, Change, State
from orchestrator.outside_text import LONGEST_TEXT, presentable

SERVICES = web.AppKey("services", ApiServices)


def json_response(document: BaseModel, status: int = HTTPStatus.OK) -> web.Response:
    """Return a document as an answer."""
    return web.Response(text=document.model_dump_json(), status=status, content_type="application/json")


def accepted(acceptance: Acceptance) -> web.Response:
    """Return the answer to a request: 202 for a new change, 200 for one that was asked for before."""
    change = acceptance.change
    status = HTTPStatus.OK if acceptance.duplicate else HTTPStatus.ACCEPTED
    response = json_response(change_document(change), status)
    response.headers["Location"] = f"/v1/changes/{change.change_id}"
    return response


async def post_change(request: web.Request) -> web.Response:
    """Ask for a change."""
    check_parameters(request, ())
    wanted = await asked_changes(request)
    caller = caller_of_request(request)
    for one in wanted:
        caller.scope.require(one.kind, one.privacy_group_id, one.account)  # of a batch nothing is taken if one may not
    # One after the other: a batch that is interrupted can be sent again, and what was accepted is recognised.
    found = [await request.app[SERVICES].intake.submit(one, caller) for one in wanted]
    if media(request.headers.get("Content-Type", "")) != BATCH_TYPE:
        return accepted(found[0])
    status = HTTPStatus.OK if all(acceptance.duplicate for acceptance in found) else HTTPStatus.ACCEPTED
    return json_response(ChangeBatch(changes=[change_document(acceptance.change) for acceptance in found]), status)


async def list_changes(request: web.Request) -> web.Response:
    """List changes, newest first."""
    check_parameters(request, ("group", "state", "id", "request", "limit", "before", "count"))
    limit = page_size(request)
    record = request.app[SERVICES].changes
    wanted = ChangeFilter(
        privacy_group_id=id_of_group(request),
        within=caller_of_request(request).scope.groups,
        states=choices(request, "state", State),
        prefix=id_parameter(request, "id") or "",
        request_id=request_parameter(request),
    )
    # One more than is shown tells whether there is a next page; a count would read them all.
    found = await record.changes(wanted, limit=limit + 1, before=id_parameter(request, "before") or "")
    page, more = found[:limit], len(found) > limit
    following = page[-1].change_id if more and page else None
    total = await record.count(wanted) if flag(request, "count") else None
    response = json_response(
        ChangePage(changes=[change_document(change) for change in page], next=following, total=total)
    )
    if following is not None:
        response.headers["Link"] = f'<{request.rel_url.update_query(before=following)}>; rel="next"'
    return response


async def get_change(request: web.Request) -> web.Response:
    """Show a change with its history and attempts; with ``Prefer: wait=n``, as soon as there is news of it."""
    check_parameters(request, ())
    async with news_of(request, request.app[SERVICES].feed, change_id(request)) as news:
        text = await _text(request)
        if news is not None and not text.ended and has_the_same(request, text.tag):
            await news()
            text = await _text(request)
    response = web.Response(
        body=text.body, headers={"ETag": text.tag}, content_type="application/json", charset="utf-8"
    )
    if news is not None:
        response.headers["Preference-Applied"] = "wait"
    return response


async def _text(request: web.Request) -> ChangeText:
    text = await request.app[CHANGE_TEXTS].text(change_id(request), caller_of_request(request).scope)
    if text is None:
        raise _unknown(request)
    return text


async def retry_change(request: web.Request) -> web.Response:
    """Try a parked change again."""
    reason = await _reason(request)
    impossible = "only a parked one can be retried"
    return await _amend(request, RetryRequested(), Action.RETRY, reason, impossible, frozenset({State.PARKED}))


async def cancel_change(request: web.Request) -> web.Response:
    """Cancel a change before its first transaction, or give up one that is at work."""
    reason = await _reason(request)
    impossible = "one that has ended can't be cancelled"
    return await _amend(
        request, CancelRequested(detail=reason), Action.CANCEL, reason, impossible, frozenset(State) - ENDED
    )


async def _reason(request: web.Request) -> str:
    """Return the reason in the body; empty without a body.

    Raises:
        InvalidRequestError: The body is something else.
    """
    if not request.body_exists:
        return ""
    body = await json_body(request)
    reason = body.get("reason", "") if isinstance(body, dict) else None
    if not isinstance(reason, str) or not isinstance(body, dict) or set(body) - set(CancelDocument.model_fields):
        raise InvalidRequestError("reason", f"must be text of at most {LONGEST_TEXT} characters, and alone")
    return presentable(reason)


async def _amend(
    request: web.Request,
    fact: RetryRequested | CancelRequested,
    action: Action,
    reason: str,
    impossible: str,
    possible: frozenset[State],
) -> web.Response:
    check_parameters(request, ())
    services = request.app[SERVICES]
    now = services.now()
    scope = caller_of_request(request).scope

    # Made under the lane's lock, on the change as it is then: what is checked here still holds when it is written.
    def amendment(change: Change) -> Record:
        if not scope.sees(change.privacy_group_id):
            raise _unknown(request)  # as if there were none
        scope.require(change.kind, change.privacy_group_id, change.account)
        if change.state not in possible:
            raise ProblemError(
                HTTPStatus.CONFLICT,
                "impossible-now",
                f"The change is {change.state}; {impossible}.",
            )
        after = step(change, fact, now)
        return record_of([(change, after)], fact, now)

    try:
        entry = entry_by(caller_of_request(request), action, micros(now), reason=reason)
        change = await services.changes.amend(change_id(request), amendment, entry)
    except KeyError:
        raise _unknown(request) from None
    return json_response(change_document(change))


def _unknown(request: web.Request) -> ProblemError:
    return ProblemError(
        HTTPStatus.NOT_FOUND, "unknown-change", f"There is no change {change_id(request)}.", "change_id"
    )
