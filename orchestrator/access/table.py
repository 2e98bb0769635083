"""What each role may do with each route and each kind of message: the one table that everything asks.

A route that has no row here can't be served (`orchestrator.api.application` refuses to start), and a test compares the
rows with the routes and the message kinds that there are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestrator.access.callers import Caller, ForbiddenError, Role


class Reach(StrEnum):
    """What of a caller's scope counts.

    `NONE`: it is about no group. `GROUP`: one group is named, and must lie in the scope. `LIST`: only what lies in the
    scope is shown. `ASKED`: kind, group and account of what is asked for must. `WHOLE`: it is about everything at once,
    so that it is only for callers without limits.
    """

    NONE = "none"
    GROUP = "group"
    LIST = "list"
    ASKED = "asked"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Rule:
    """One row.

    Attributes:
        least: The least role that may; None when no credential is asked for.
        reach: What of the scope counts.
        noted: Whether each use goes into the audit log right before it is done: the handler itself enters nothing.
    """

    least: Role | None
    reach: Reach = Reach.NONE
    noted: bool = False


_STATIC: Final = "/static/"
_OPEN: Final = Rule(None)
_LOOK: Final = Rule(Role.VIEWER)

ROUTES: Final[Mapping[tuple[str, str], Rule]] = {
    ("GET", "/livez"): _OPEN,
    ("GET", "/readyz"): _OPEN,
    ("GET", "/metrics"): _LOOK,
    ("GET", "/openapi.json"): _LOOK,
    ("GET", "/asyncapi.json"): _LOOK,
    ("GET", "/"): _LOOK,
    ("GET", "/docs"): _LOOK,
    ("GET", "/static/{name}"): _LOOK,
    ("POST", "/v1/changes"): Rule(Role.OPERATOR, Reach.ASKED),
    ("GET", "/v1/changes"): Rule(Role.VIEWER, Reach.LIST),
    ("GET", "/v1/changes/{change_id}"): Rule(Role.VIEWER, Reach.GROUP),
    ("POST", "/v1/changes/{change_id}/retry"): Rule(Role.OPERATOR, Reach.ASKED),
    ("POST", "/v1/changes/{change_id}/cancel"): Rule(Role.OPERATOR, Reach.ASKED),
    ("GET", "/v1/groups"): Rule(Role.VIEWER, Reach.LIST),
    ("GET", "/v1/groups/{group_id}"): Rule(Role.VIEWER, Reach.GROUP),
    ("GET", "/v1/groups/{group_id}/forecast"): Rule(Role.VIEWER, Reach.GROUP),
    ("GET", "/v1/groups/{group_id}/forecast/removal"): Rule(Role.VIEWER, Reach.GROUP),
    ("PUT", "/v1/groups/{group_id}/members"): Rule(Role.OPERATOR, Reach.ASKED),
    ("GET", "/v1/attention"): Rule(Role.VIEWER, Reach.LIST),
    ("GET", "/v1/nodes"): _LOOK,
    ("GET", "/v1/names"): Rule(Role.VIEWER, Reach.LIST),
    ("PUT", "/v1/names/{name}"): Rule(Role.OPERATOR, Reach.GROUP),
    ("GET", "/v1/events"): Rule(Role.VIEWER, Reach.LIST),
    # A dead letter may be anybody's message about any group, and one that is replayed is taken as its sender's.
    ("GET", "/v1/dead-letters"): Rule(Role.OPERATOR, Reach.WHOLE),
    ("POST", "/v1/dead-letters/{letter_id}/replay"): Rule(Role.OPERATOR, Reach.WHOLE, noted=True),
    # Where events are posted is the business of whoever runs the daemon, for all groups at once.
    ("GET", "/v1/webhooks"): Rule(Role.VIEWER, Reach.WHOLE),
    ("POST", "/v1/webhooks/{name}/pause"): Rule(Role.OPERATOR, Reach.WHOLE, noted=True),
    ("POST", "/v1/webhooks/{name}/resume"): Rule(Role.OPERATOR, Reach.WHOLE, noted=True),
    ("POST", "/v1/webhooks/{name}/redrive"): Rule(Role.OPERATOR, Reach.WHOLE, noted=True),
    ("POST", "/v1/webhooks/{name}/test"): Rule(Role.OPERATOR, Reach.WHOLE, noted=True),
    # Whoever makes tokens could make one without the limits of their own.
    ("GET", "/v1/tokens"): Rule(Role.ADMIN, Reach.WHOLE),
    ("POST", "/v1/tokens"): Rule(Role.ADMIN, Reach.WHOLE),
    ("POST", "/v1/tokens/{token_id}/revoke"): Rule(Role.ADMIN, Reach.WHOLE),
    ("GET", "/v1/audit-log"): Rule(Role.ADMIN, Reach.WHOLE),
    ("GET", "/v1/session"): _LOOK,
    ("POST", "/v1/session"): _OPEN,  # the token is in the body
    ("DELETE", "/v1/session"): _LOOK,
}
"""By method and path; what answers GET answers HEAD, by the same rule."""

MESSAGES: Final[Mapping[str, Rule]] = {
    "membership.change.requested.v1": Rule(Role.OPERATOR, Reach.ASKED),
    # Signed by a configured peer's account, which is all that counts: whoever may publish may carry them.
    "membership.member.verdict.v1": _OPEN,
    "membership.addition.inquired.v1": _OPEN,
    "membership.addition.attested.v1": _OPEN,
}
"""By the type of a CloudEvent that comes in by the message queue."""


def route_rule(method: str, path: str) -> Rule:
    """Return the rule of a route.

    Raises:
        KeyError: It has none, which is a defect.
    """
    if path.startswith(_STATIC):
        path = f"{_STATIC}{{name}}"  # scripts and styles of the pages have routes of their own, all alike
    return ROUTES["GET" if method == "HEAD" else method, path]


def require(rule: Rule, caller: Caller) -> None:
    """Make sure of all that can be told before it is known which group, account or kind is meant.

    Raises:
        ForbiddenError: The caller's role or scope is not enough.
    """
    if rule.least is None:
        return
    if not caller.role.includes(rule.least):
        raise ForbiddenError(f"this needs the role {rule.least.value}; this caller is {caller.role.value}")
    if rule.reach is Reach.WHOLE and not caller.scope.whole:
        raise ForbiddenError("this is about all groups, and this caller is limited to some groups, accounts or kinds")
