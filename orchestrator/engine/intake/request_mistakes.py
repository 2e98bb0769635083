"""What is wrong with a request, in words for who sent it. Pure."""

from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from orchestrator.membership.model import Kind
from orchestrator.outside_text import LONGEST_TEXT

MAX_MEMBERS: Final = 64
MAX_DEADLINE_SECONDS: Final = 7 * 24 * 3600
_MOST_MISTAKES: Final = 5

PHRASES: Final = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "string_type": "must be text",
    "string_too_long": f"has more than {LONGEST_TEXT} characters",
    "tuple_type": "must be a list",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "too_long": f"must name at most {MAX_MEMBERS} enclave keys",
    "greater_than_equal": f"must be 1 to {MAX_DEADLINE_SECONDS} seconds",
    "less_than_equal": f"must be 1 to {MAX_DEADLINE_SECONDS} seconds",
    "enum": f"must be one of {', '.join(Kind)}",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
}


def mistakes_of(error: ValidationError, path: str) -> tuple[str, str]:
    """Return the first wrong field, and what is wrong with it and then with others: a sender mends them in one go."""
    found = [_mistake(details, path) for details in error.errors(include_url=False)[: _MOST_MISTAKES + 1]]
    (field, message), *others = found
    others_named = [f"{name} {what}" for name, what in others[: _MOST_MISTAKES - 1]]
    more = ["…"] if len(found) > _MOST_MISTAKES else []
    return field, "; ".join((message, *others_named, *more))


def _mistake(details: ErrorDetails, path: str) -> tuple[str, str]:
    inner = str(details.get("ctx", {}).get("field", ""))
    field = ".".join(part for part in (path, *map(str, details["loc"]), inner) if part)
    return field or "body", PHRASES.get(details["type"], details["msg"])
