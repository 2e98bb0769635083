"""Text from outside made presentable: valid Unicode, on one line, bounded, and without what looks like a secret.

What nodes, message queues and senders of requests write ends up in status events, logs, terminals and pages. Whatever
it was, what comes out of here can be encoded as UTF-8, moves no cursor, and turns no text around. Every step takes
time in proportion to the text, and only the beginning of a long text is looked at. Pure.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

REDACTED: Final = "[redacted]"
LONGEST_TEXT: Final = 500
"""Characters that an outsider's message has at most where it is told."""

_LOOK_BEYOND: Final = 1024
_MOST_DEPTH: Final = 8
_MOST_ITEMS: Final = 4096

# Each pattern begins where a run of its characters begins, so that no run is gone through twice.
_SECRETS: Final = (
    # A name and its value: password=…, "token": "…", Authorization: Bearer …
    (
        re.compile(
            r"(?i)((?:private[_ ]?key|password|passphrase|secret|token|authorization)[\"']?\s{0,8}[=:]\s{0,8}[\"']?)"
            r"(?:(?:bearer|basic)\s{1,8})?[^\s\"',;&]+"
        ),
        rf"\g<1>{REDACTED}",
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s{1,8}[A-Za-z0-9._~+/=-]{8,}"), rf"\g<1> {REDACTED}"),
    # A JSON Web Token wherever it stands, also one whose end was cut off.
    (re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?"), REDACTED),
    # A token of this daemon, also one whose end was cut off.
    (re.compile(r"(?<![A-Za-z0-9])orct_[0-9a-f]{16}_[A-Za-z0-9_-]*"), REDACTED),
    # The password (or token) of an address.
    (re.compile(r"((?<![A-Za-z0-9+.-])[A-Za-z0-9+.-]+://)[^/\s@]+@"), rf"\g<1>{REDACTED}@"),
    # 32 bytes of bare hexadecimal are how key files hold keys; hashes are written with 0x.
    (re.compile(r"(?<![0-9a-zA-Z])[0-9a-fA-F]{64}(?![0-9a-zA-Z])"), REDACTED),
)
_SIGN_OF_SECRET: Final = re.compile(
    r"(?i)private[_ ]?key|password|passphrase|secret|token|authorization|bearer|basic|eyJ|orct_|://|[0-9a-f]{64}"
)
"""No text without one of these holds a secret that the patterns above would find."""

_UNFIT: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def redacted(text: str, longest: int) -> str:
    """Return a text without what looks like a secret, cut to a bounded length.

    Args:
        text: Any text.
        longest: Characters of it that are kept; a longer one says how long it was.
    """
    # A secret that begins before the cut is seen whole beyond it, and what is cut in half there is not shown.
    looked_at = text[: longest + _LOOK_BEYOND]
    if _SIGN_OF_SECRET.search(looked_at) is not None:  # one quick look at what is logged for each step of each change
        for pattern, replacement in _SECRETS:
            looked_at = pattern.sub(replacement, looked_at)
    if len(text) <= longest:
        return looked_at
    kept = looked_at if len(text) <= longest + _LOOK_BEYOND else looked_at[:-_LOOK_BEYOND]
    return f"{kept[:longest]}… ({len(text)} characters)"


def one_line(text: str) -> str:
    """Return a text as valid Unicode without control characters, line breaks, and marks that turn text around.

    Each such character becomes a space, half a surrogate pair the replacement character.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_fit(character) for character in text)


def presentable(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return what an outsider wrote as it may be told in events, logs, terminals and pages.

    Args:
        text: Any text.
        longest: Characters that are kept.
    """
    return one_line(redacted(text, longest))


def valid(value: object, depth: int = 0) -> object:
    """Return a JSON value whose texts are all valid Unicode on one line; what is nested too deeply is left out.

    Lengths and secrets are for `presentable`, where a text comes in: this is the last look before it is stored.
    """
    match value:
        case str():
            return one_line(value)
        case Mapping() | list() | tuple() if depth >= _MOST_DEPTH:
            return None
        case Mapping():
            return {one_line(str(name)): valid(item, depth + 1) for name, item in value.items()}
        case list() | tuple():
            return [valid(item, depth + 1) for item in value[:_MOST_ITEMS]]
        case _:
            return value


def _fit(character: str) -> str:
    if character.isascii():
        return character if character.isprintable() else " "
    category = unicodedata.category(character)
    if category == "Cs":
        return "\N{REPLACEMENT CHARACTER}"
    return " " if category in _UNFIT else character


def sentence(text: str) -> str:
    """Return a text with one mark at its end."""
    return text if text.endswith((".", "?", "!")) else f"{text}."
