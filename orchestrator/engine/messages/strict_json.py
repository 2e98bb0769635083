"""JSON as it is read from outside: UTF-8, no name twice in one object, no numbers that JSON does not have. Pure."""

import json
from collections.abc import Iterable
from typing import Final, NoReturn

_LONGEST_SHOWN: Final = 64


class StrictJsonError(ValueError):
    """What came in is no such document; the message goes behind the document's name."""


def load(document: bytes) -> object:
    """Parse a document, in time in proportion to its length. A byte order mark before it is passed over.

    Raises:
        StrictJsonError: It is none.
    """
    try:
        return json.loads(document.decode("utf-8-sig"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except StrictJsonError:
        raise
    except (ValueError, RecursionError) as error:
        raise StrictJsonError(f"is no JSON document: {str(error)[:_LONGEST_SHOWN]}") from None


def shown(value: object) -> str:
    """Return a value as it may be told; of one that has parts only what it is."""
    match value:
        case str():
            return repr(value) if len(value) <= _LONGEST_SHOWN else repr(value[:_LONGEST_SHOWN]) + "…"
        case dict():
            return "an object"
        case list():
            return "a list"
        case _:
            return repr(value)[:_LONGEST_SHOWN]


def first_repeated(names: Iterable[str]) -> str | None:
    """Return the first name that was there before; None when there is none."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        repeated = first_repeated(name for name, _ in pairs)
        raise StrictJsonError(f"says {shown(repeated)} twice in one object")
    return found


def _no_constant(text: str) -> NoReturn:
    raise StrictJsonError(f"holds {text}, which is no JSON")
