"""The AsyncAPI document."""

import json
from typing import Any

import jsonschema

from orchestrator.engine.intake.requests import REQUEST_TYPE
from orchestrator.events.documents.asyncapi import asyncapi_document
from orchestrator.membership.news.status import EventType
from tests.fakes.json_references import references

DOCUMENT = asyncapi_document(version="1.2.3", requests="in", dead="in.dead", events="out", verdicts="words")


def at(reference: str) -> Any:
    part: Any = DOCUMENT
    for name in reference.removeprefix("#/").split("/"):
        part = part[name]
    return part


def test_all_references_lead_somewhere() -> None:
    """Nothing is referred to that is not there."""
    found = set(references(DOCUMENT))
    assert len(found) > 40
    for reference in found:
        assert at(reference)


def test_it_tells_every_channel() -> None:
    """Requests, dead letters and each type of event have their address, under the configured names."""
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()}
    assert addresses == {"in", "in.dead", "words"} | {f"out.{event_type.value}" for event_type in EventType}
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"]["version"] == "1.2.3"
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT


def test_the_examples_fit_their_payloads() -> None:
    """What the document shows is what its own schemas say."""
    for message in DOCUMENT["components"]["messages"].values():
        for shown in message.get("examples", ()):
            schema = {**DOCUMENT, "$ref": message["payload"]["$ref"]}
            jsonschema.Draft202012Validator(schema).validate(shown["payload"])


def test_requests_are_described() -> None:
    """A request that the schema allows is what the parser takes."""
    schema = {**DOCUMENT, "$ref": "#/components/schemas/ChangeRequest"}
    request = {
        "specversion": "1.0",
        "id": "1",
        "source": "/a",
        "type": REQUEST_TYPE,
        "data": {"kind": "create_group", "members": ["x"]},
    }
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(request)
    assert not validator.is_valid(request | {"type": "other"})
    assert not validator.is_valid(request | {"data": {"kind": "create_group", "surprise": 1}})


def test_what_organisations_tell_each_other_is_there() -> None:
    """The channel of signed words has its three messages, each with the shape that is read."""
    channel = DOCUMENT["channels"]["verdicts"]
    assert set(channel["messages"]) == {"signedVerdict", "signedInquiry", "signedAttestation"}
    verdict = at(at(channel["messages"]["signedVerdict"]["$ref"])["payload"]["$ref"])
    data = at(verdict["properties"]["data"]["$ref"])
    assert {"member", "roots", "account", "signature"} <= set(data["required"])
