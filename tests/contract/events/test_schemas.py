"""The promise to subscribers: frozen schemas of version 1, and what really goes out."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from orchestrator.events.documents.examples import example
from orchestrator.events.documents.schema import DATA, DOCUMENTS, json_schema
from orchestrator.membership.news.status import EventType

FROZEN = Path(__file__).parent / "schemas"
KINDS = frozenset({"document.data.kind"})


def incompatibilities(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What a subscriber that was written for the old schema could stumble over in documents of the new one."""
    return list(_compare(_resolved(old), _resolved(new), "document"))


def _compare(old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[str]:
    for name in old.get("required", ()):
        if name not in new.get("required", ()):
            yield f"{path}.{name} may be missing now"
    for name, was in old.get("properties", {}).items():
        now = new.get("properties", {}).get(name)
        if now is None:
            yield f"{path}.{name} is gone"
        else:
            yield from _compare(was, now, f"{path}.{name}")
    if "items" in old:
        yield from _compare(old["items"], new.get("items", {}), f"{path}[]")
    for word in ("type", "const", "format", "enum", "minimum"):
        # A further kind of change comes only to those who asked for one: docs/events.md says so.
        further = word == "enum" and path in KINDS and set(old["enum"]) < set(new.get("enum", ()))
        if old.get(word) != new.get(word) and not further:
            yield f"{path}: {word} was {old.get(word)!r}, is {new.get(word)!r}"
    was_any, now_any = old.get("anyOf", []), new.get("anyOf", [])
    if len(was_any) != len(now_any):
        yield f"{path}: has other alternatives"
    for number, (was, now) in enumerate(zip(was_any, now_any, strict=False)):
        yield from _compare(was, now, f"{path}|{number}")


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    definitions = schema.get("$defs", {})

    def resolve(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                return resolve(definitions[part["$ref"].rpartition("/")[2]])
            return {name: resolve(value) for name, value in part.items() if name != "$defs"}
        return [resolve(value) for value in part] if isinstance(part, list) else part

    found = resolve(schema)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("event_type", EventType, ids=str)
def test_version_1_stays_compatible(event_type: EventType) -> None:
    """No field that was promised is gone, may be missing or means something else.

    A field that was added on purpose: write ``json_schema(event_type)`` to the file, after this test passed.
    """
    frozen = json.loads((FROZEN / f"{event_type.value}.json").read_text())
    assert incompatibilities(frozen, json_schema(event_type)) == []


def test_every_frozen_schema_still_has_its_type() -> None:
    """A type of event that was promised is not dropped."""
    assert {path.stem for path in FROZEN.glob("*.json")} == {event_type.value for event_type in EventType}


def test_a_breaking_change_would_be_noticed() -> None:
    """Removing or retyping any field of the data, at any depth, is told; adding an optional one is not."""
    schema = json_schema(EventType.CHANGE_PROGRESSED)
    added = deepcopy(schema)
    added["$defs"]["ChangeProgressedData"]["properties"]["extra"] = {"type": "string"}
    assert incompatibilities(schema, added) == []
    for definition, properties in ((d, p["properties"]) for d, p in schema["$defs"].items() if "properties" in p):
        for name in properties:
            removed = deepcopy(schema)
            del removed["$defs"][definition]["properties"][name]
            assert incompatibilities(schema, removed), (definition, name)
            retyped = deepcopy(schema)
            retyped["$defs"][definition]["properties"][name] = {"type": "array"}
            assert incompatibilities(schema, retyped), (definition, name)
    renamed = deepcopy(schema)
    renamed["$defs"]["State"]["enum"][0] = "waiting"
    assert incompatibilities(schema, renamed)


@pytest.mark.parametrize("event_type", EventType, ids=str)
def test_the_examples_are_such_events(event_type: EventType) -> None:
    """Each example fits the schema and has no field that the models do not describe."""
    document = example(event_type)
    checker = jsonschema.Draft202012Validator(
        json_schema(event_type), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    checker.validate(document)
    assert_described(event_type, document)


def assert_described(event_type: EventType, document: dict[str, Any]) -> None:
    parsed = DOCUMENTS[event_type].model_validate_json(json.dumps(document), strict=True)
    again = json.loads(parsed.model_dump_json(exclude_unset=True))
    assert _without_times(again) == _without_times(document)


def _without_times(document: dict[str, Any]) -> dict[str, Any]:
    data = {name: value for name, value in document["data"].items() if name not in {"not_before", "since"}}
    return {name: value for name, value in document.items() if name != "time"} | {"data": data}


def test_examples_do_not_pass_by_chance() -> None:
    """A document of one type, or without a promised field, does not fit the schema of another."""
    validator = jsonschema.Draft202012Validator(json_schema(EventType.CHANGE_SUCCEEDED))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(example(EventType.CHANGE_FAILED))
    broken = deepcopy(example(EventType.CHANGE_SUCCEEDED))
    data = broken["data"]
    assert isinstance(data, dict)
    del data["members"]
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(broken)


def test_every_type_has_its_own_description() -> None:
    """The models say what each type means, each in its own words."""
    sentences = [" ".join((model.__doc__ or "").split()) for model in DATA.values()]
    assert all(sentences)
    assert len(set(sentences)) == len(EventType)
