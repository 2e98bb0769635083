"""The table of who may do what: every cell, and that it is whole."""

import importlib
import pkgutil
import re

import pytest

import orchestrator.engine
from orchestrator.access.callers import EVERYTHING, Caller, Door, ForbiddenError, Role, Scope
from orchestrator.access.table import MESSAGES, ROUTES, Reach, Rule, require, route_rule
from orchestrator.membership.model import Kind
from tests.fakes.http_api import FakeParts

GROUP = "DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w="

EXPECTED = """
GET    /                                      viewer    none
GET    /asyncapi.json                         viewer    none
GET    /docs                                  viewer    none
GET    /livez                                 -         none
GET    /metrics                               viewer    none
GET    /openapi.json                          viewer    none
GET    /readyz                                -         none
GET    /static/{name}                         viewer    none
GET    /v1/attention                          viewer    list
GET    /v1/audit-log                          admin     whole
GET    /v1/changes                            viewer    list
GET    /v1/changes/{change_id}                viewer    group
GET    /v1/dead-letters                       operator  whole
GET    /v1/events                             viewer    list
GET    /v1/groups                             viewer    list
GET    /v1/groups/{group_id}                  viewer    group
GET    /v1/groups/{group_id}/forecast         viewer    group
GET    /v1/groups/{group_id}/forecast/removal viewer    group
GET    /v1/names                              viewer    list
GET    /v1/nodes                              viewer    none
GET    /v1/session                            viewer    none
GET    /v1/tokens                             admin     whole
GET    /v1/webhooks                           viewer    whole
DELETE /v1/session                            viewer    none
POST   /v1/changes                            operator  asked
POST   /v1/changes/{change_id}/cancel         operator  asked
POST   /v1/changes/{change_id}/retry          operator  asked
POST   /v1/dead-letters/{letter_id}/replay    operator  whole
POST   /v1/session                            -         none
POST   /v1/webhooks/{name}/pause              operator  whole
POST   /v1/webhooks/{name}/redrive            operator  whole
POST   /v1/webhooks/{name}/resume             operator  whole
POST   /v1/webhooks/{name}/test               operator  whole
POST   /v1/tokens                             admin     whole
POST   /v1/tokens/{token_id}/revoke           admin     whole
PUT    /v1/groups/{group_id}/members          operator  asked
PUT    /v1/names/{name}                       operator  group
"""
"""The table as it is meant, written a second time: who changes one has to mean it."""

MEANT = {
    (method, path): (None if least == "-" else Role(least), Reach(reach))
    for method, path, least, reach in map(str.split, EXPECTED.strip().splitlines())
}
SCOPES = {
    "whole": EVERYTHING,
    "groups": Scope(groups=frozenset({GROUP})),
    "accounts": Scope(accounts=frozenset({"0x" + "a" * 40})),
    "kinds": Scope(kinds=frozenset({Kind.ADD_MEMBERS})),
}
RANK = {Role.VIEWER: 1, Role.OPERATOR: 2, Role.ADMIN: 3}


def a_caller(role: Role, scope: Scope = EVERYTHING) -> Caller:
    return Caller(name="token:somebody", role=role, scope=scope, door=Door.HTTP)


def test_the_table_has_a_row_for_each_route_and_none_besides() -> None:
    """A route that was forgotten in the table, or a row without a route, fails the build."""
    served = {
        (route.method, re.sub(r"^/static/.*", "/static/{name}", route.resource.canonical))
        for route in FakeParts().application().router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert served | {("GET", "/asyncapi.json")} == set(ROUTES)


def test_the_table_has_a_row_for_each_kind_of_message() -> None:
    """A type of message that the engine takes and the table does not have fails the build."""
    modules = [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(orchestrator.engine.__path__, "orchestrator.engine.")
    ]
    types = {
        value
        for module in modules
        for name, value in vars(module).items()
        if name.endswith("_TYPE") and isinstance(value, str) and value.startswith("membership.")
    }
    assert types == set(MESSAGES)


def test_a_route_without_a_row_is_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """The application refuses to be made with a route that nobody said a word about."""
    monkeypatch.delitem(ROUTES, ("GET", "/v1/names"))
    with pytest.raises(KeyError):
        FakeParts().application()


@pytest.mark.parametrize("row", sorted(MEANT), ids=" ".join)
def test_each_row_is_as_it_is_meant(row: tuple[str, str]) -> None:
    """Role and reach of each route are those of the list here."""
    assert (ROUTES[row].least, ROUTES[row].reach) == MEANT[row]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("row", [*sorted(ROUTES), *sorted(MESSAGES)], ids=str)
def test_each_cell_decides_as_it_is_meant(row: tuple[str, str] | str, role: Role, scope: str) -> None:
    """A caller passes a row if its role is at least the row's, and it is without limits where everything is meant."""
    rule = MESSAGES[row] if isinstance(row, str) else ROUTES[row]
    enough = rule.least is None or RANK[role] >= RANK[rule.least]
    may = enough and (rule.reach is not Reach.WHOLE or scope == "whole")
    if may:
        require(rule, a_caller(role, SCOPES[scope]))
    else:
        with pytest.raises(ForbiddenError):
            require(rule, a_caller(role, SCOPES[scope]))


def test_head_is_ruled_as_get_is() -> None:
    """HEAD of a path needs what GET of it needs; a method that the path does not have has no rule."""
    assert route_rule("HEAD", "/v1/groups") is route_rule("GET", "/v1/groups")
    with pytest.raises(KeyError):
        route_rule("DELETE", "/v1/groups")


def test_a_refusal_says_what_is_missing() -> None:
    """The role that is needed, and the one that there is."""
    with pytest.raises(ForbiddenError, match=r"role operator; this caller is viewer"):
        require(Rule(Role.OPERATOR), a_caller(Role.VIEWER))
