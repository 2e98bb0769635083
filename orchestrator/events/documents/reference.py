"""The reference of all status events as Markdown, made from the models and the examples. Pure.

``docs/events.md`` holds it between two marks; a test keeps both the same.
"""

import json
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from orchestrator.events.documents.examples import example
from orchestrator.events.documents.schema import DATA, ChangeData, EventData, StatusDocument
from orchestrator.events.documents.schema_parts import Affected as AffectedPart
from orchestrator.events.documents.schema_parts import Differing as DifferingPart
from orchestrator.events.documents.schema_parts import Effect as EffectPart
from orchestrator.events.documents.schema_parts import Progress, Reason
from orchestrator.events.documents.schema_parts import Unreplayable as UnreplayablePart
from orchestrator.membership.news.status import EventType

BEGIN: Final = "<!-- reference: begin (made by orchestrator.events.documents.reference) -->"
END: Final = "<!-- reference: end -->"

_PARTS: Final = (EffectPart, Progress, Reason, DifferingPart, UnreplayablePart, AffectedPart)


def reference() -> str:
    """Return the reference."""
    sections = [
        "## Every event",
        "Around every `data` stand the same attributes:",
        _table(StatusDocument, skip=set()),
        "Every `data` has these fields:",
        _table(EventData, skip=set()),
        "The `data` of every `membership.change.*` also has these:",
        _table(ChangeData, skip=set(EventData.model_fields)),
        *(_event(event_type) for event_type in EventType),
        "## Parts",
        *(f"### {part.__name__}\n{_sentence(part)}\n\n{_table(part, skip=set())}" for part in _PARTS),
    ]
    return "\n\n".join(sections) + "\n"


def with_reference(document: str) -> str:
    """Return a document with what stands between the two marks replaced by the reference.

    Raises:
        ValueError: The document does not have both marks.
    """
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document needs the marks {BEGIN} and {END}")
    return f"{head}{BEGIN}\n{reference()}{END}{tail}"


def _event(event_type: EventType) -> str:
    model = DATA[event_type]
    known = set(ChangeData.model_fields) if issubclass(model, ChangeData) else set(EventData.model_fields)
    own = _table(model, skip=known) if set(model.model_fields) - known else "No further fields."
    shown = json.dumps(example(event_type), indent=2)
    return f"### `{event_type.value}`\n{_sentence(model)}\n\n{own}\n\n```json\n{shown}\n```"


def _sentence(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _table(model: type[BaseModel], skip: set[str]) -> str:
    rows = ["| field | type | |", "|---|---|---|"]
    for name, info in model.model_fields.items():
        if name not in skip:
            rows.append(f"| `{name}` | {_type(info)} | {info.description or _FURTHER.get(name, '')} |")
    return "\n".join(rows)


_FURTHER: Final = {
    "specversion": "",
    "type": "One of the types below.",
    "datacontenttype": "",
    "data": "See below.",
}


def _type(info: FieldInfo) -> str:
    optional = "" if info.is_required() else ", may be missing"
    parts = [_name(part) for part in _alternatives(info.annotation)]
    if not info.is_required():
        parts = [part for part in parts if part != "null"]
    return " or ".join(parts) + optional


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _name(annotation: Any) -> str:
    if get_origin(annotation) is list:
        return f"list of {_name(get_args(annotation)[0])}"
    if get_origin(annotation) is Literal:
        return f"`{get_args(annotation)[0]}`"
    if annotation is NoneType:
        return "null"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " / ".join(f"`{member.value}`" for member in annotation)
    names = {str: "text", int: "whole number"}
    return names.get(annotation, "time" if getattr(annotation, "__name__", "") == "datetime" else "object")
