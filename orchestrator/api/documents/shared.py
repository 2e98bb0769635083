"""The JSON documents that the API answers with; the models are also what ``/openapi.json`` is made from."""

from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.api.ports.changes import BuriedMessage, Check

MOST_SHOWN_BYTES: Final = 256 * 1024
"""Of the messages in a list; behind them each has `LEAST_SHOWN_BYTES`."""

LEAST_SHOWN_BYTES: Final = 512


class Document(BaseModel):
    """A JSON object that may get further fields in later versions: readers ignore those that they don't know."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class DeadLetterDocument(Document):
    """A message that could not be accepted."""

    letter_id: str
    reason: str
    body: str = Field(
        description="The message as text; bytes that are none are shown as U+FFFD. Where messages are long or many, "
        "the beginning of it and how many bytes it has."
    )


class DeadLetterPage(Document):
    """The oldest dead letters."""

    dead_letters: list[DeadLetterDocument]


class CheckDocument(Document):
    """One thing that has to work."""

    name: str
    ok: bool
    required: bool
    detail: str


class ReadinessDocument(Document):
    """Whether the daemon can do its work."""

    ready: bool
    checks: list[CheckDocument]


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(description="Stable name of the problem, a URI.")
    title: str
    status: int
    detail: str = Field(description="What happened, why, and what to do.")
    field: str | None = Field(default=None, description="The field that is wrong.")


def path_id(privacy_group_id: str) -> str:
    """Return a privacy group id (base64) as it stands in paths (base64url without padding)."""
    return privacy_group_id.replace("+", "-").replace("/", "_").rstrip("=")


def dead_letter_page(letters: Sequence[BuriedMessage]) -> DeadLetterPage:
    """Return dead letters as the API shows them: others wrote them, as long as the message queue takes."""
    found, left = [], MOST_SHOWN_BYTES
    for letter in letters:
        most = max(left, LEAST_SHOWN_BYTES)
        body = letter.body[:most].decode("utf-8", "replace")
        if len(letter.body) > most:
            body = f"{body}… ({len(letter.body)} bytes)"
        left -= min(most, len(letter.body))
        found.append(DeadLetterDocument(letter_id=letter.letter_id, reason=letter.reason, body=body))
    return DeadLetterPage(dead_letters=found)


def readiness_document(checks: tuple[Check, ...]) -> ReadinessDocument:
    """Return what ``/readyz`` answers."""
    return ReadinessDocument(
        ready=all(check.ok for check in checks if check.required),
        checks=[CheckDocument.model_validate(check) for check in checks],
    )
