"""The environment over the file: ``ORCHESTRATOR_SECTION__KEY`` and, in lists, ``ORCHESTRATOR_NODES__0__HTTP``."""

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from pydantic import BaseModel

PREFIX: Final = "ORCHESTRATOR_"
SEPARATOR: Final = "__"


def overlay(
    in_file: Mapping[str, Any], environment: Mapping[str, str], model: type[BaseModel]
) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Put the environment's values over the file's.

    A variable without ``__`` whose name is no section belongs to something else (such as ``ORCHESTRATOR_URL``) and is
    left alone. Lists and whole sections may be given as JSON.

    Args:
        in_file: The parsed file; not changed.
        environment: All variables.
        model: Its fields are the known sections.

    Returns:
        The merged values, the variable that each overridden key came from, and what is wrong with variables.
    """
    # Not only its outermost table: values are put into tables and lists deep inside.
    merged: dict[str, Any] = deepcopy(dict(in_file))
    origins: dict[str, str] = {}
    problems: list[str] = []
    # A list grows one by one: its tenth element comes before the eleventh, and a whole list before its elements.
    for variable in sorted(environment, key=_place):
        if not variable.upper().startswith(PREFIX):
            continue
        path = variable[len(PREFIX) :].lower().split(SEPARATOR)
        if path[0] not in model.model_fields:
            if len(path) > 1:
                known = ", ".join(sorted(model.model_fields))
                problems.append(f"{variable}: there is no section {path[0]}; known are: {known}")
            continue
        try:
            _put(merged, path, _value(environment[variable]))
        except ValueError as error:
            problems.append(f"{variable}: {error}")
        else:
            origins[".".join(path)] = variable
    return merged, origins, problems


def _place(variable: str) -> tuple[tuple[int, str], ...]:
    """Return a key by which the numbers in variables' names stand in their order: of two the longer one is larger."""
    return tuple((len(part) if part.isdigit() else 0, part) for part in variable.split(SEPARATOR))


def _value(text: str) -> Any:
    if not text.lstrip().startswith(("[", "{")):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        # The value is not shown: it may hold a secret.
        raise ValueError("looks like JSON but is not valid JSON") from error


def _put(target: dict[str, Any], path: list[str], value: Any) -> None:
    place: Any = target
    for part, following in zip(path, [*path[1:], None], strict=True):
        if isinstance(place, list):
            key: int | str = _index(part, place)
        elif isinstance(place, dict):
            key = part
        else:
            raise ValueError(f"{part} is inside of something that is no table")  # noqa: TRY004 - a mistake in a value
        if following is None:
            if isinstance(place, list) and key == len(place):
                place.append(value)
            else:
                place[key] = value
            return
        if isinstance(place, list):
            if key == len(place):
                place.append({})
        else:
            # What the file does not have yet is a list where an index follows, and a table where a name does.
            place.setdefault(key, [] if following.isdigit() else {})
        place = place[key]


def _index(part: str, place: list[Any]) -> int:
    if not part.isdigit() or int(part) > len(place):
        raise ValueError(f"{part} is no index of the list; it has {len(place)} entries, counted from 0")
    return int(part)
