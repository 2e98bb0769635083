"""Decisions about bundles, kept in a file, so that what was decided is decided again after a restart.

A file that is lost costs nothing but the refusals that were given because a replay had failed: all others follow from
the bundle, the chain and the node, and are given again.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog

from orchestrator.bounded_dicts import BoundedDict
from orchestrator.membership.guard.judgement import Decision, Outcome
from orchestrator.outside_text import presentable

MOST_KEPT: Final = 50_000
TAIL_BYTES: Final = 256 * 1024
"""Of a file so much is read for what was decided of late: some hundred decisions."""
FILE_MODE: Final = 0o600

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A decision about one bundle.

    Attributes:
        key: the bundle's key in the enclave, base64.
        decision: what was decided.
        head: the node's head then; the bundle is for the block after it.
        at: when, in UTC.
        privacy_group_id: the group; empty when the bundle could not be read.
        owner: who made the group; empty likewise.
        sent_by: the enclave key that sent it; empty likewise.
    """

    key: str
    decision: Decision
    head: int
    at: datetime
    privacy_group_id: str = ""
    owner: str = ""
    sent_by: str = ""


def document_of(decided: Decided) -> dict[str, Any]:
    """Return a decision as a JSON object."""
    return {
        "history_key": decided.key,
        "outcome": decided.decision.outcome.value,
        "reason": decided.decision.slug,
        "detail": decided.decision.detail,
        "replays": decided.decision.replays,
        "lasting": decided.decision.lasting,
        "head": decided.head,
        "at": decided.at.isoformat(),
        "privacy_group_id": decided.privacy_group_id,
        "owner": decided.owner,
        "sent_by": decided.sent_by,
    }


class DecisionFile:
    """The newest decision about each bundle.

    Args:
        path: the file, made when it is not there; None keeps decisions in memory only.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._newest: BoundedDict[str, Decided] = BoundedDict(MOST_KEPT)
        lines = _lines(path) if path is not None else []
        for decided in _read(lines):
            self._newest[decided.key] = decided
        # At the start only: nobody else writes then, and the file grows by a line for each decision.
        if path is not None and len(lines) > 2 * MOST_KEPT:
            self._shorten(path)

    def newest(self, key: str) -> Decided | None:
        """Return the newest decision about a bundle."""
        return self._newest.get(key)

    def all(self) -> list[Decided]:
        """Return the newest decision about each bundle, oldest first."""
        return list(self._newest.values())

    def keep(self, decided: Decided) -> None:
        """Keep a decision: on disk before the node is answered. One that can't be written is still given."""
        # What is forgotten is judged anew when its marker is copied, on what the node has then.
        self._newest[decided.key] = decided
        if self._path is None:
            return
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
            with os.fdopen(descriptor, "ab") as file:
                file.write(_line(decided))
                # To the disk: the node acts on the answer that follows, and a block is imported once.
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            log.warning("decision not kept", file=str(self._path), reason=error.strerror)

    def _shorten(self, path: Path) -> None:
        """Write what is remembered in place of a file that has grown."""
        temporary = path.with_name(path.name + ".new")
        try:
            temporary.write_bytes(b"".join(map(_line, self._newest.values())))
            temporary.chmod(FILE_MODE)
            temporary.replace(path)
        except OSError as error:
            log.warning("decisions not shortened", file=str(path), reason=error.strerror)


def newest_decisions(path: Path) -> list[Decided]:
    """Return the newest decisions in a file that a guard writes, oldest first: those in its last `TAIL_BYTES`.

    Args:
        path: the file; one that is not there, or can't be read, holds none.
    """
    try:
        with path.open("rb") as file:
            # Read by another process, the daemon, at each of its looks: not the whole of what years left behind.
            file.seek(max(file.seek(0, os.SEEK_END) - TAIL_BYTES, 0))
            return list(_read(file.read(TAIL_BYTES).splitlines()))
    except OSError:
        return []


def _line(decided: Decided) -> bytes:
    return json.dumps(document_of(decided)).encode() + b"\n"


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        log.warning("decisions not read: bundles are judged anew", file=str(path), reason=error.strerror)
        return []


def _read(lines: list[bytes]) -> Iterator[Decided]:
    for line in lines:
        try:
            found = json.loads(line)
            yield Decided(
                key=str(found["history_key"]),
                decision=Decision(
                    outcome=Outcome(found["outcome"]),
                    slug=str(found["reason"]),
                    detail=presentable(str(found["detail"])),
                    replays=bool(found["replays"]),
                    lasting=bool(found["lasting"]),
                ),
                head=int(found["head"]),
                at=datetime.fromisoformat(found["at"]).astimezone(UTC),
                privacy_group_id=str(found["privacy_group_id"]),
                owner=str(found["owner"]),
                sent_by=str(found["sent_by"]),
            )
        except (ValueError, KeyError, TypeError):
            # The last line may be half written: what it said is judged anew.
            continue
