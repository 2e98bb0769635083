"""Reading the configuration: the TOML file, the environment over it, then every mistake at once."""

import codecs
import os
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.config.environment import overlay
from orchestrator.config.relations import relation_problems, secret_problems
from orchestrator.config.sections import Config

MAX_FILE_BYTES: Final = 1 << 20


class ConfigError(Exception):
    """The configuration can't be used.

    Attributes:
        problems: One message for each mistake: the key's path, what is wrong, what to do.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def load_config(path: Path, environment: Mapping[str, str] | None = None) -> Config:
    """Read and check the configuration.

    Relative paths in it, the SQLite file included, start at the folder of the configuration file.

    Args:
        path: The TOML file.
        environment: Variables that override it (``ORCHESTRATOR_STORE__URL``, ``ORCHESTRATOR_NODES__0__HTTP``); None for
            the process's own.

    Raises:
        ConfigError: With every mistake that was found.
    """
    in_file = _read(path)
    # Of the file alone: the environment is where a secret may stand.
    problems = secret_problems(in_file)
    merged, origins, overlay_problems = overlay(in_file, os.environ if environment is None else environment, Config)
    problems += overlay_problems
    config: Config | None = None
    try:
        config = Config.model_validate(merged, context={"folder": path.resolve().parent})
    except ValidationError as error:
        found = error.errors(include_url=False)
        problems += [_problem(details, origins) for details in found if not _follows_from(details, found)]
    # Also when single values are wrong: on the raw values, since no model was made of them then.
    problems += relation_problems(merged)
    if problems or config is None:
        raise ConfigError(list(dict.fromkeys(problems)))
    return config


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"{path}: can't be read: {error.strerror}; name the file with --config"]) from error
    if len(text) > MAX_FILE_BYTES:
        raise ConfigError([f"{path}: is larger than {MAX_FILE_BYTES} bytes; that is no configuration"])
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ConfigError([f"{path}: is written in UTF-16: write it again as UTF-8"])
    try:
        return tomllib.loads(text.decode("utf-8-sig"))  # some editors put a mark in front
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: is not valid TOML: {error}"]) from error


def _follows_from(details: ErrorDetails, found: Sequence[ErrorDetails]) -> bool:
    """A list whose elements are all mistaken also counts as too short: that is told by the elements."""
    location = details["loc"]
    return details["type"] == "too_short" and any(
        other["loc"][: len(location)] == location and len(other["loc"]) > len(location) for other in found
    )


def _problem(details: ErrorDetails, origins: Mapping[str, str]) -> str:
    # Pydantic puts the names of its own steps among the keys that led to a value.
    location = [part for part in details["loc"] if part != "function-after"]
    key = ".".join(str(part) for part in location)
    origin = f" (from {origins[key]})" if key in origins else ""
    return f"{key}{origin}: {_what_is_wrong(details, location)}"


def _what_is_wrong(details: ErrorDetails, location: Sequence[int | str]) -> str:
    match details["type"]:
        case "missing":
            return f"is missing. {_description(location)}".rstrip()
        case "extra_forbidden":
            known = sorted(_fields_at(location[:-1]))
            near = get_close_matches(str(location[-1]), known, n=1)
            hint = f"did you mean {near[0]}?" if near else "known here: " + ", ".join(known)
            return f"is not known; {hint}"
        case "value_error":
            return str(details["ctx"]["error"])
        case "too_short":
            return f"must not be empty. {_description(location)}".rstrip()
        case "string_pattern_mismatch":
            return "must consist of letters, digits, '.', '_' and '-'"
        case _:
            message = details["msg"].removeprefix("Input ")
            return message[:1].lower() + message[1:]


def _model_at(location: Sequence[int | str]) -> type[BaseModel] | None:
    model: type[BaseModel] | None = Config
    for part in location:
        # The same model for each element of a list.
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part) if model is not None else None
        model = _section_in(field.annotation) if field is not None else None
    return model


def _section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _section_in(arg)) is not None), None)


def _fields_at(location: Sequence[int | str]) -> list[str]:
    model = _model_at(location)
    return list(model.model_fields) if model is not None else []


def _description(location: Sequence[int | str]) -> str:
    model = _model_at(location[:-1])
    field = model.model_fields.get(str(location[-1])) if model is not None else None
    return (field.description or "") if field is not None else ""
