"""``/v1/groups``: the groups as the nodes show them, and the desired set of members."""

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import TypeVar

from aiohttp import web

from orchestrator.access.callers import ForbiddenError
from orchestrator.api.callers.authentication import caller_of_request
from orchestrator.api.documents.forecasts import forecast_document, removal_document
from orchestrator.api.documents.groups import DesiredMembers, GroupPage, group_document
from orchestrator.api.documents.shared import Document, path_id
from orchestrator.api.inputs import (
    check_parameters,
    group_id,
    group_prefix,
    id_of_group,
    json_body,
    member_keys,
    page_size,
)
from orchestrator.api.ports.forecasts import UnforeseenError
from orchestrator.api.problems import ProblemError
from orchestrator.api.resources.changes import SERVICES, accepted, json_response
from orchestrator.api.resources.requests import idempotency_key
from orchestrator.engine.intake.requests import InvalidRequestError, parse_request
from orchestrator.membership.model import Kind

T = TypeVar("T")


async def list_groups(request: web.Request) -> web.Response:
    """List the known groups."""
    check_parameters(request, ("id", "limit", "after"))
    after = id_of_group(request, "after") or ""
    try:
        found = await request.app[SERVICES].groups.groups(
            limit=page_size(request),
            after=after,
            prefix=group_prefix(request, "id"),
            within=caller_of_request(request).scope.groups,
        )
    except KeyError:
        detail = f"after: there is no group {after}; give the `next` of the page before"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", detail, "after") from None
    return json_response(
        GroupPage(
            groups=[group_document(group, path_id(group.privacy_group_id)) for group in found.groups],
            next=found.following,
            total=found.total,
        )
    )


async def get_group(request: web.Request) -> web.Response:
    """Show a group and how each member stands."""
    check_parameters(request, ())
    privacy_group_id = _seen_group(request)
    group = await request.app[SERVICES].groups.group(privacy_group_id)
    if group is None:
        detail = f"No configured node shows the group {privacy_group_id}, and no change is about it."
        raise ProblemError(HTTPStatus.NOT_FOUND, "unknown-group", detail, "group_id")
    return json_response(group_document(group, path_id(privacy_group_id)))


async def get_forecast(request: web.Request) -> web.Response:
    """Forecast the addition of members: would every node be able to replay the group's history?"""
    return await _foreseen(request, request.app[SERVICES].forecasts.forecast, forecast_document)


async def get_removal_forecast(request: web.Request) -> web.Response:
    """Tell before a removal whether the members could be added again after it."""
    return await _foreseen(request, request.app[SERVICES].forecasts.removal, removal_document)


async def _foreseen(
    request: web.Request, look: Callable[[str, Sequence[str]], Awaitable[T | None]], shown: Callable[[T], Document]
) -> web.Response:
    check_parameters(request, ("members",))
    privacy_group_id = _seen_group(request)
    members = member_keys(request, privacy_group_id)
    try:
        found = await look(privacy_group_id, members)
    except UnforeseenError as error:
        if error.passing:
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "not-forecast", str(error)) from error
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", str(error), "members") from error
    if found is None:
        detail = f"No configured node shows the group {privacy_group_id}."
        raise ProblemError(HTTPStatus.NOT_FOUND, "unknown-group", detail, "group_id")
    return json_response(shown(found))


async def put_members(request: web.Request) -> web.Response:
    """Ask for exactly these members."""
    check_parameters(request, ())
    key = idempotency_key(request)
    privacy_group_id = group_id(request.match_info["group_id"], "group_id")
    body = await json_body(request)
    if not isinstance(body, dict):
        raise InvalidRequestError("body", "must be an object")
    for name in body:
        if name not in DesiredMembers.model_fields:
            raise InvalidRequestError(str(name)[:80], f"is not a known field: {', '.join(DesiredMembers.model_fields)}")
    # The body was held to its own fields above: it can override neither kind nor group.
    wanted = parse_request(key, {"kind": Kind.SET_MEMBERS.value, "privacy_group_id": privacy_group_id, **body})
    return accepted(await request.app[SERVICES].intake.submit(wanted, caller_of_request(request)))


def _seen_group(request: web.Request) -> str:
    privacy_group_id = group_id(request.match_info["group_id"], "group_id")
    # Told before it is looked up, and alike for groups that there are and that there are not.
    if not caller_of_request(request).scope.sees(privacy_group_id):
        raise ForbiddenError(f"the group {privacy_group_id} is not among those of this caller")
    return privacy_group_id
