"""Status events as lines: what matters first, and on a terminal never more than one line of it."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from orchestrator.cli.display.words import Words
from orchestrator.outside_text import one_line

_VERBS: Final = {
    "create_group": "create",
    "add_members": "add",
    "remove_members": "remove",
    "set_members": "set",
    "unlock_group": "unlock",
    "cure_group": "cure",
}


def verb_of(kind: str) -> str:
    """Return the verb of the command line that asks for a kind of change."""
    return _VERBS.get(kind, kind)


def event_line(document: dict[str, Any], words: Words | None = None, columns: int | None = None) -> str:
    """Return a status event in one line for a person.

    Args:
        document: The CloudEvent, whatever a newer daemon put into it.
        words: What keys and ids are called; None to write them in full.
        columns: What the line may take; None for any length.
    """
    words = words or Words()
    # A newer daemon's, or another's: what is in an event must not move a terminal's cursor.
    parts = [one_line(part) for part in _parts(document, words) if part]
    if columns is None:
        return "  ".join(parts)
    return fitted(parts, columns)


def fitted(parts: list[str], columns: int) -> str:
    """Return as many parts as a line takes, two spaces between them; the last is cut between its words."""
    line = ""
    for part in parts:
        longer = f"{line}  {part}" if line else part
        if len(longer) <= columns:
            line = longer
            continue
        kept = longer[: max(columns - 1, 1)]
        cut = kept.rfind(" ")
        return (kept[:cut].rstrip() if cut > len(line) else line) + "…"
    return line


def _parts(document: dict[str, Any], words: Words) -> Iterator[str]:
    kind = str(document.get("type", "")).removeprefix("membership.").removesuffix(".v1")
    data = document.get("data")
    said: dict[str, Any] = data if isinstance(data, dict) else {}
    yield _clock(document.get("time"))
    yield kind.removeprefix("change.")
    yield words.group(str(document.get("subject", "")))
    if "state" in said:
        yield f"{verb_of(str(said.get('kind', '')))} {said['state']}".strip()
    for member in said.get("progress") or ():
        if isinstance(member, dict):
            yield _member(member, words)
    reason = said.get("reason")
    if isinstance(reason, dict):
        yield words.named(str(reason.get("message", "")))
    if "message" in said:
        yield f"{said.get('field', '')}: {said['message']}"
    if "block_number" in said:
        yield f"block {said['block_number']}"
    if "locked_blocks" in said:
        yield f"locked for {said['locked_blocks']} blocks"


def _member(member: dict[str, Any], words: Words) -> str:
    counted = f" {member['blocks_replayed']}/{member['blocks_total']}" if member.get("blocks_total") else ""
    return f"{words.member(str(member.get('member', '')))} {str(member.get('verdict', '')).replace('_', ' ')}{counted}"


def _clock(time: object) -> str:
    try:
        return f"{datetime.fromisoformat(str(time)):%H:%M:%S}"
    except ValueError:
        return ""
