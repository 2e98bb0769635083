"""The field names of private transactions as other clients spell them, read into arguments. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from orchestrator.besu.codec.identifiers import InvalidIdentifierError, hex_to_bytes

MAX_DATA_BYTES: Final = 1 << 20

_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]{1,64}")
_INTEGERS: Final = {
    "nonce": "private_nonce",
    "gasPrice": "gas_price",
    "gasLimit": "gas_limit",
    "value": "value",
    "chainId": "chain_id",
}
_TEXTS: Final = {
    "to": "to",
    "privateFrom": "private_from",
    "privacyGroupId": "privacy_group_id",
    "restriction": "restriction",
}
_FIELDS: Final = frozenset({*_INTEGERS, *_TEXTS, "data", "privateFor"})
_REQUIRED: Final = ("nonce", "privateFrom")


class InvalidFieldError(ValueError):
    """A field is missing, unknown or of the wrong type; the message names it."""


def read_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``PrivateTransaction`` that a mapping of fields means; None counts as not given.

    Raises:
        InvalidFieldError: a field is missing, unknown or of the wrong type.
    """
    unknown = sorted(set(fields) - _FIELDS)
    if unknown:
        raise InvalidFieldError(f"unknown field {unknown[0]!r}; the fields are {', '.join(sorted(_FIELDS))}")
    given = {field: value for field, value in fields.items() if value is not None}
    for field in _REQUIRED:
        if field not in given:
            raise InvalidFieldError(f"{field} is missing")
    arguments: dict[str, Any] = {"to": None}
    for field, name in _INTEGERS.items():
        if field in given:
            arguments[name] = _integer(field, given[field])
    for field, name in _TEXTS.items():
        if field in given:
            arguments[name] = _text(field, given[field])
    if "data" in given:
        arguments["data"] = _data(given["data"])
    if "privateFor" in given:
        arguments["private_for"] = _texts("privateFor", given["privateFor"])
    return arguments


def _integer(field: str, value: object) -> int:
    if isinstance(value, str) and _HEXADECIMAL.fullmatch(value):
        return int(value, 16)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise InvalidFieldError(f"{field} must be an integer or 0x… text")


def _text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidFieldError(f"{field} must be text, not {type(value).__name__}")
    return value


def _texts(field: str, values: object) -> tuple[str, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InvalidFieldError(f"{field} must be a list of enclave keys")
    return tuple(_text(field, value) for value in values)


def _data(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise InvalidFieldError("data must be bytes or hexadecimal text")
    try:
        return hex_to_bytes(value, max_bytes=MAX_DATA_BYTES)
    except InvalidIdentifierError as error:
        raise InvalidFieldError(f"data is unreadable: {error}") from error
