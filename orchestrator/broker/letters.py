"""Dead letters: the headers that say why a message was buried, around the message as it came. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from orchestrator.engine.ports.queues import UnfitMessageError
from orchestrator.outside_text import presentable

REASON_HEADER: Final = "orchestrator-reason"
SOURCE_HEADER: Final = "orchestrator-source"
CUT_HEADER: Final = "orchestrator-cut-from-bytes"
MOST_LISTED_BYTES: Final = 64 << 20
"""Bodies that are in memory while dead letters are listed; the list is shorter where they have more."""

HEADER_ROOM_BYTES: Final = 4096
"""What our own headers take at most."""

_LONGEST_REASON = 1024
_OURS = (REASON_HEADER, SOURCE_HEADER, CUT_HEADER)
_NOT_KEPT = ("nats-", "x-death", "x-first-death", "x-last-death", "x-delivery-count")
_NAME = re.compile(r"[!-9;-~]{1,256}\Z")


def buried(
    body: bytes, headers: Mapping[str, str], *, reason: str, source: str, most_bytes: int
) -> tuple[bytes, dict[str, str]]:
    """Return a dead letter's body and headers: the message as it came, and why and from where it was buried.

    Args:
        body: The message.
        headers: Its headers.
        reason: Why it can't be accepted.
        source: Where it came in.
        most_bytes: What body and headers may have together. A message too large for that is cut, and a header says how
            long it was: better a part of it than a message that can neither be accepted nor be buried.
    """
    sentence = " ".join(_one_line(reason).split())
    ours = {REASON_HEADER: sentence[:_LONGEST_REASON] or "not said", SOURCE_HEADER: _one_line(source)[:256]}
    whole = {name: _one_line(value) for name, value in original_headers(headers).items()} | ours
    # Refused for its size, a letter would come back as a request, be buried anew, and so on for ever.
    if _size(whole) + len(body) <= most_bytes:
        return body, whole
    ours[CUT_HEADER] = str(len(body))
    return body[: max(0, most_bytes - _size(ours))], ours


def inlet_of(headers: Mapping[str, str], inlets: Sequence[str]) -> str:
    """Return where a dead letter came in, which is where it goes back to.

    Args:
        headers: The letter's headers, names in lower case.
        inlets: Where triggers come in now, the common one first.

    Raises:
        UnfitMessageError: It came in elsewhere; by one of these it would be taken for another sender's.
    """
    # By what we wrote ourselves: a sender's own headers of these names were left out when it was buried.
    origin = headers.get(SOURCE_HEADER) or inlets[0]
    if origin not in inlets:
        raise UnfitMessageError(
            f"the message came in by {presentable(origin)}, which is none of broker.sources now: have it sent again"
        )
    return origin


def original_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that a message came with, names in lower case.

    What a queue wrote on it (``Nats-…``, ``x-death``) stays out: it would mean something again when it is published.
    """
    lowered = {name.lower(): value for name, value in headers.items() if _NAME.match(name)}
    return {name: value for name, value in lowered.items() if name not in _OURS and not name.startswith(_NOT_KEPT)}


def _one_line(text: str) -> str:
    printable = "".join(c if c.isprintable() or not c.isascii() else " " for c in text)
    # A line break would end a header of NATS, whose client gives out what is no ASCII as something else.
    return printable.encode("ascii", "backslashreplace").decode("ascii")


def _size(headers: Mapping[str, str]) -> int:
    return 64 + sum(len(name) + len(value) + 4 for name, value in headers.items())
