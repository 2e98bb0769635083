"""References within a JSON document."""

from collections.abc import Iterator
from typing import Any


def references(value: Any) -> Iterator[str]:
    """Yield the target of each ``$ref`` of a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)
