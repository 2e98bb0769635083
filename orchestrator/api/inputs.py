"""Reading requests: bodies, headers, query parameters and path ids, each bounded and with an error that names it."""

import asyncio
import base64
import binascii
import re
from collections.abc import Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Final, TypeVar

from aiohttp import web

from orchestrator.api.problems import ProblemError
from orchestrator.engine.intake.requests import checked_request_id, parse_json, parse_request
from orchestrator.membership.model import Kind

ID_BYTES: Final = 32
MAX_PAGE: Final = 500
DEFAULT_PAGE: Final = 100
MAX_TYPES: Final = 32
MOST_FORECAST: Final = 16
"""Members that one forecast is asked for: the longest keys, all of them percent-encoded, still make a line of HTTP."""
ID_PATTERN: Final = "^[A-Za-z0-9_-]{1,64}$"
# Python's `$` also stands before a line's end at the very end; the pattern is ECMAScript's, for the description.
_ID: Final = re.compile(ID_PATTERN.removesuffix("$") + r"\Z")
# The last of 43 characters carries four bits of the 32 bytes: with any other one there the text is not canonical.
GROUP_PATTERN: Final = "^[A-Za-z0-9+/_-]{42}[AEIMQUYcgkosw048]=?$"
GROUP_PREFIX_PATTERN: Final = "^[A-Za-z0-9+/_-]{0,43}=?$"
_GROUP_PREFIX: Final = re.compile(GROUP_PREFIX_PATTERN.removesuffix("$") + r"\Z")
_LONGEST_ID: Final = 128
_LONGEST_KEY: Final = 256
_TO_BASE64: Final = str.maketrans("-_ ", "+/+")
_LONGEST_NUMBER: Final = 9
_ENCODINGS: Final = frozenset({"", "identity", "gzip", "deflate", "br", "zstd"})
BODY_SECONDS: Final = 10.0
"""What sending a body may take: it has 256 KiB at most."""

Choice = TypeVar("Choice", bound=StrEnum)


def group_id(text: str, field: str) -> str:
    """Return a privacy group id in base64 from base64url or base64, with or without padding.

    Raises:
        ProblemError: It is not 32 bytes.
    """
    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        decoded = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True) if len(plain) <= _LONGEST_ID else b""
    except (binascii.Error, ValueError):
        decoded = b""
    canonical = base64.b64encode(decoded).decode()
    # The decoder passes over the last character's spare bits, and one group must not go by several ids.
    if len(decoded) != ID_BYTES or canonical.rstrip("=") != plain:
        detail = f"{field}: must be the base64 of 32 bytes (base64url in an address)"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", detail, field)
    return canonical


def change_id(request: web.Request) -> str:
    """Return the change id of the path."""
    return request.match_info["change_id"][:_LONGEST_ID]


async def json_body(request: web.Request) -> object:
    """Return the body as parsed JSON.

    Raises:
        ProblemError: Its media type is not JSON.
        InvalidRequestError: It is no JSON document.
        web.HTTPRequestEntityTooLarge: It is too large.
        TimeoutError: It did not come in time.
    """
    if request.content_type != "application/json":
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not-json", "Send Content-Type: application/json.", "Content-Type"
        )
    return parse_json(await body_of(request))


async def body_of(request: web.Request) -> bytes:
    """Return the body.

    Raises:
        ProblemError: It is packed in a way that is not known here; what is known, the library unpacks or refuses.
        web.HTTPRequestEntityTooLarge: It is too large.
        TimeoutError: It did not come in time.
    """
    if request.headers.get("Content-Encoding", "").strip().lower() not in _ENCODINGS:
        detail = "The body's Content-Encoding is not read here; send it as it is."
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unknown-encoding", detail, "Content-Encoding")
    # The connection's own timer is for the header (`web/connections.py`), and the library waits for a body without end.
    async with asyncio.timeout(BODY_SECONDS):
        return await request.read()


def check_parameters(request: web.Request, known: Sequence[str]) -> None:
    """Refuse query parameters that mean nothing here: a misspelt filter must not answer with everything.

    Raises:
        ProblemError: There is one.
    """
    for name in request.query:
        if name not in known:
            raise _wrong(name, f"is no parameter here; known are: {', '.join(known)}")


def choices(request: web.Request, name: str, kind: type[Choice], most: int = MAX_TYPES) -> tuple[Choice, ...]:
    """Return the values of a repeatable parameter.

    Raises:
        ProblemError: A value is none of the known ones, or there are too many.
    """
    texts = request.query.getall(name, [])
    if len(texts) > most:
        raise _wrong(name, f"is given more than {most} times")
    try:
        return tuple(dict.fromkeys(kind(text) for text in texts))
    except ValueError:
        raise _wrong(name, f"must be one of {', '.join(kind)}") from None


def page_size(request: web.Request) -> int:
    """Return the parameter ``limit``.

    Raises:
        ProblemError: It is no number from 1 to `MAX_PAGE`.
    """
    text = request.query.get("limit", str(DEFAULT_PAGE))
    # `int` would also take blanks, underscores and other scripts' digits, and raises for more than 4,300 of them.
    number = int(text) if len(text) <= _LONGEST_NUMBER and text.isascii() and text.isdigit() else 0
    if not 1 <= number <= MAX_PAGE:
        raise _wrong("limit", f"must be a number from 1 to {MAX_PAGE}")
    return number


def number(request: web.Request, name: str, least: int, most: int) -> int:
    """Return a parameter that is a whole number; the least one when it is left out.

    Raises:
        ProblemError: It is none from `least` to `most`.
    """
    text = request.query.get(name, str(least))
    found = int(text) if len(text) <= len(str(most)) and text.isascii() and text.isdigit() else least - 1
    if not least <= found <= most:
        raise _wrong(name, f"must be a number from {least} to {most}")
    return found


def flag(request: web.Request, name: str) -> bool:
    """Return a parameter that is ``true`` or ``false``; false when it is left out.

    Raises:
        ProblemError: It is neither.
    """
    text = request.query.get(name, "false")
    if text not in ("true", "false"):
        raise _wrong(name, "must be true or false")
    return text == "true"


def group_prefix(request: web.Request, name: str) -> str:
    """Return a parameter that is the beginning of a privacy group id, in base64; empty when it is left out.

    Raises:
        ProblemError: It can't be one.
    """
    text = request.query.get(name, "").translate(_TO_BASE64)  # a plus that was not percent-encoded is a space
    if not _GROUP_PREFIX.match(text):
        raise _wrong(name, "must be the beginning of a group id: at most 44 characters of base64 or base64url")
    return text


def id_parameter(request: web.Request, name: str) -> str | None:
    """Return a parameter that is an id.

    Raises:
        ProblemError: It can't be one.
    """
    text = request.query.get(name)
    if text is not None and not _ID.match(text):
        raise _wrong(name, "must be an id: 1 to 64 letters, digits, '-' and '_'")
    return text


def request_parameter(request: web.Request) -> str:
    """Return the parameter ``request``, the id of a request for a change; empty when it is left out.

    Raises:
        InvalidRequestError: It can't be one.
    """
    text = request.query.get("request")
    return "" if text is None else checked_request_id(text, field="request")


def id_of_group(request: web.Request, name: str = "group") -> str | None:
    """Return a parameter that is a privacy group id, in base64; None when it is left out.

    Raises:
        ProblemError: It is none.
    """
    text = request.query.get(name)
    # A plus that was not percent-encoded arrives as a space.
    return None if text is None else group_id(text.replace(" ", "+"), name)


def member_keys(request: web.Request, privacy_group_id: str) -> tuple[str, ...]:
    """Return the repeatable parameter ``members`` as enclave keys, base64 or base64url.

    Raises:
        ProblemError: There are too many.
        InvalidRequestError: There is none, or one that is no enclave key.
    """
    texts = request.query.getall("members", [])
    if len(texts) > MOST_FORECAST:
        raise _wrong("members", f"is given more than {MOST_FORECAST} times")
    # A plus that was not percent-encoded arrives as a space.
    plain = (text.translate(_TO_BASE64)[:_LONGEST_KEY].rstrip("=") for text in texts)
    keys = [text + "=" * (-len(text) % 4) for text in plain]
    # As a request would be checked: what can't be asked for is not forecast either.
    asked = {"kind": Kind.ADD_MEMBERS.value, "privacy_group_id": privacy_group_id, "members": keys}
    return parse_request("forecast", asked).members


def _wrong(field: str, message: str) -> ProblemError:
    return ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", f"{field}: {message}", field)
