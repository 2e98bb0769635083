"""What one operation of the API is: its method and path, what it takes and what it answers."""

from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from orchestrator.api.problems import Handler

Schema = dict[str, Any]

JSON: Final = "application/json"
TEXT: Final = "text/plain"
EVENT_STREAM: Final = "text/event-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of an operation.

    Attributes:
        name: Its name.
        place: ``path``, ``query`` or ``header``.
        description: What it means.
        schema: JSON Schema of its value.
        required: Whether it must be given.
    """

    name: str
    place: str
    description: str
    schema: Schema
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer of an operation that is no problem document.

    Attributes:
        description: When it is given.
        model: Its document; None for another media type or no body.
        media_type: Of its body; None for no body.
    """

    description: str
    model: type[BaseModel] | None = None
    media_type: str | None = JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path.

    Attributes:
        method: HTTP method.
        path: With its parameters in braces.
        handler: What does it; its docstring is the summary.
        answers: By status.
        problems: Statuses that answer with a problem document.
        parameters: What it takes.
        body: Document that it takes.
        body_required: Whether there must be one.
        description: What the summary does not say.
    """

    method: str
    path: str
    handler: Handler
    answers: dict[int, Answer]
    problems: tuple[int, ...]
    parameters: tuple[Parameter, ...] = ()
    body: type[BaseModel] | None = None
    body_required: bool = True
    description: str = ""
