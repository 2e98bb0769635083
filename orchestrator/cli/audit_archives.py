"""Reading the audit log's archives: files of JSON lines that a daemon wrote, or `audit-log export` did."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from pydantic import ValidationError

from orchestrator.access.audit import ChainedEntry
from orchestrator.api.resources.audit_log import AuditDocument, entry_of
from orchestrator.cli.display.output import fail

PATTERN: Final = "audit-*.jsonl"
LONGEST_LINE: Final = 1 << 16
"""An entry has less; what is longer is none."""


def archived_entries(places: Sequence[Path]) -> Iterator[ChainedEntry]:
    """Yield the entries of files, and of the archive's files in folders, the file with the oldest entries first.

    What is no entry is passed over, such as a line that a crash cut off: what is missing then shows in the chain.

    Args:
        places: Files and folders.
    """
    files = dict.fromkeys(
        file for place in places for file in (sorted(place.glob(PATTERN)) if place.is_dir() else (place,))
    )
    # Ordered by what is in them: files that were copied or renamed still make one chain.
    first = {file: next((entry.number for entry in _entries(file)), None) for file in files}
    for _, file in sorted((number, file) for file, number in first.items() if number is not None):
        yield from _entries(file)


def _entries(file: Path) -> Iterator[ChainedEntry]:
    try:
        with file.open("rb") as opened:
            yield from _read(opened)
    except OSError as error:
        raise fail(f"{file} can't be read: {error.strerror}") from None


def _read(opened: IO[bytes]) -> Iterator[ChainedEntry]:
    # What follows a line that is too long is the rest of it, and no entry.
    whole = True
    while line := opened.readline(LONGEST_LINE):
        ends = line.endswith(b"\n")
        if whole:
            with suppress(ValidationError):
                yield entry_of(AuditDocument.model_validate_json(line))
        whole = ends
