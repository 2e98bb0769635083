"""``/v1/names``: what people call nodes and groups, so that clients can take and show names for keys and ids."""

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from aiohttp import web

from orchestrator.access.audit import Action, entry_by
from orchestrator.access.callers import ForbiddenError
from orchestrator.api.callers.authentication import caller_of_request
from orchestrator.api.documents.names import (
    GroupNameDocument,
    NamedGroup,
    NamesDocument,
    NodeNameDocument,
    is_name,
)
from orchestrator.api.inputs import check_parameters, group_id, json_body
from orchestrator.api.problems import ProblemError
from orchestrator.api.resources.changes import SERVICES, json_response
from orchestrator.engine.intake.requests import InvalidRequestError
from orchestrator.instants import micros

MOST_OF_GROUP: Final = 32
MOST_NAMES: Final = 5_000


async def list_names(request: web.Request) -> web.Response:
    """List the names of nodes and groups."""
    check_parameters(request, ())
    services = request.app[SERVICES]
    scope = caller_of_request(request).scope
    groups = {name: group for name, group in (await services.names.names()).items() if scope.sees(group)}
    return json_response(
        NamesDocument(
            nodes=[NodeNameDocument(name=name, enclave_keys=list(keys)) for name, keys in services.nodes.items()],
            groups=[GroupNameDocument(name=name, privacy_group_id=group) for name, group in groups.items()],
        )
    )


async def put_name(request: web.Request) -> web.Response:
    """Let a name stand for a group, for good."""
    check_parameters(request, ())
    name = request.match_info["name"]
    if not is_name(name):
        detail = "name: must be 1 to 40 letters, digits, '.', '_' and '-', the first of them a letter or digit"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", detail, "name")
    services = request.app[SERVICES]
    wanted = _wanted(await json_body(request))
    scope = caller_of_request(request).scope
    if not scope.sees(wanted):
        raise ForbiddenError(f"the group {wanted} is not among those of this caller")
    given = await services.names.names()
    stands_for = "" if name in services.nodes else given.get(name)
    if stands_for is None:
        _check_room(given, wanted)
        entry = entry_by(caller_of_request(request), Action.NAME, micros(services.now()), about=name)
        # Noted first: what can't be noted is not done.
        await services.audit.record(replace(entry, privacy_group_id=wanted))
        stands_for = await services.names.give(name, wanted)
    if stands_for != wanted:
        of = "a node" if not stands_for else f"the group {stands_for}" if scope.sees(stands_for) else "another group"
        raise ProblemError(
            HTTPStatus.CONFLICT, "name-taken", f"The name {name} stands for {of} already; choose another one.", "name"
        )
    return json_response(GroupNameDocument(name=name, privacy_group_id=wanted))


def _check_room(given: Mapping[str, str], privacy_group_id: str) -> None:
    """Refuse one name more where there are many: each is for good, and who has one group could hide all others'.

    Raises:
        ProblemError: The group, or all groups together, have as many as may be.
    """
    of_group = sum(group == privacy_group_id for group in given.values())
    if of_group >= MOST_OF_GROUP:
        whose = f"The group {privacy_group_id} has {of_group} names"
    elif len(given) >= MOST_NAMES:
        whose = f"Groups have {len(given)} names"
    else:
        return
    raise ProblemError(
        HTTPStatus.CONFLICT, "too-many-names", f"{whose}, no more are given; use one that there is.", "name"
    )


def _wanted(body: object) -> str:
    if not isinstance(body, dict):
        raise InvalidRequestError("body", "must be an object")
    for name in body:
        if name not in NamedGroup.model_fields:
            raise InvalidRequestError(str(name)[:80], f"is not a known field: {', '.join(NamedGroup.model_fields)}")
    given = body.get("privacy_group_id")
    if not isinstance(given, str):
        raise InvalidRequestError("privacy_group_id", "is required: base64 of 32 bytes")
    return group_id(given, "privacy_group_id")
