"""The OpenAPI document describes what the API really does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from orchestrator.access.table import ROUTES
from orchestrator.api.openapi import openapi_document
from orchestrator.api.operation import EVENT_STREAM
from orchestrator.api.operations import OPERATIONS
from orchestrator.api.ports.changes import GroupStanding
from tests.fakes.forecasts import a_closed_way, a_removal, an_unsafe_forecast
from tests.fakes.http_api import GROUP, FakeParts, Letter, make_change, make_parked_change, serving
from tests.fakes.json_references import references

schema = schemathesis.openapi.from_dict(openapi_document())
finite = [op.handler.__name__ for op in OPERATIONS if all(a.media_type != EVENT_STREAM for a in op.answers.values())]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The API in a thread of its own, with something of everything in it."""
    parts = FakeParts()
    for change in (make_change("change-1"), make_parked_change("change-2")):
        parts.record.stored[change.change_id] = change
    parts.groups.known[GROUP] = GroupStanding(privacy_group_id=GROUP)
    parts.forecasts.found, parts.forecasts.returns = an_unsafe_forecast(), a_closed_way()
    parts.forecasts.leaving = a_removal(closed=True)
    parts.dead_letters.letters["7"] = Letter(letter_id="7", reason="why", body=b"{}")
    with serving(parts) as url:
        yield url


@schema.include(operation_id=finite).parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_described(case: schemathesis.Case[Any], address: str) -> None:
    """Whatever is sent, the status, the headers and the document of the answer are those that are described."""
    case.call_and_validate(base_url=address, excluded_checks=[positive_data_acceptance])


def test_the_document_is_valid() -> None:
    """The document follows OpenAPI 3.1's rules that tools rely on: unique operations, resolvable references."""
    document = openapi_document()
    operations = [entry for path in document["paths"].values() for entry in path.values()]
    names = [entry["operationId"] for entry in operations]
    assert len(set(names)) == len(names)
    assert all(entry["summary"] for entry in operations)
    assert {tag for entry in operations for tag in entry["tags"]} == {tag["name"] for tag in document["tags"]}
    for model in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(model)
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


def test_security_is_told_as_it_is() -> None:
    """Where callers prove who they are, each operation but the open ones says so; elsewhere none does."""
    assert openapi_document()["security"] == []
    document = openapi_document(access_control=True)
    assert document["security"] == [{"token": []}, {"session": []}]
    assert set(document["components"]["securitySchemes"]) == {"token", "session"}
    for op in OPERATIONS:
        described = document["paths"][op.path][op.method.lower()]
        is_open = ROUTES[op.method, op.path].least is None
        assert described.get("security") == ([] if is_open else None), (op.method, op.path)
        assert ("401" in described["responses"]) is (not is_open or op.path == "/v1/session")


def test_answers_may_get_further_fields() -> None:
    """Clients made from the document today read the answers of later versions; only requests are closed."""
    schemas = openapi_document()["components"]["schemas"]
    closed = {name for name, schema in schemas.items() if schema.get("additionalProperties") is False}
    assert closed == {op.body.__name__ for op in OPERATIONS if op.body is not None}
    # Who says nothing is taken at less than his word: some generators close what is not said to be open.
    objects = {name for name, schema in schemas.items() if schema.get("type") == "object"}
    assert {name for name in objects - closed if schemas[name].get("additionalProperties") is not True} == set()


def test_no_field_has_a_default() -> None:
    """Generators take a field with a default for one that is always there, and null for one that has to be sent."""
    schemas = openapi_document()["components"]["schemas"]
    fields = [field for schema in schemas.values() for field in schema.get("properties", {}).values()]
    assert fields
    assert not [field for field in fields if "default" in field]


def test_words_have_names_of_their_own() -> None:
    """Where a language has one scope for all constants, a word that two lists share is no clash."""
    schemas = openapi_document()["components"]["schemas"]
    words = [schema["enum"] for schema in schemas.values() if "enum" in schema]
    names = [name for schema in schemas.values() for name in schema.get("x-enum-varnames", [])]
    assert len(set(names)) == len(names) == sum(map(len, words))
    assert len({word for listed in words for word in listed}) < len(names)


def test_ids_in_answers_lead_on() -> None:
    """Each link names an operation that there is and a parameter that it takes, and each path's id is led to."""
    document = openapi_document()
    operations = {entry["operationId"]: entry for path in document["paths"].values() for entry in path.values()}
    linked: set[str] = set()
    for operation in operations.values():
        for answer in operation["responses"].values():
            for link in answer.get("links", {}).values():
                taken = {p["name"] for p in operations[link["operationId"]]["parameters"] if p["in"] == "path"}
                assert set(link["parameters"]) == taken
                linked.add(link["operationId"])
    by_id = {name for name, operation in operations.items() if any(p["in"] == "path" for p in operation["parameters"])}
    assert by_id - linked == {"put_name"}


def test_every_operation_is_documented() -> None:
    """The documentation names each operation."""
    document = (Path(__file__).parents[3] / "docs" / "http.md").read_text()
    for operation in OPERATIONS:
        assert f"`{operation.method} {operation.path}`" in document
