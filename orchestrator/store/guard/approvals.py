"""Additions that this organisation has agreed to: a file that `orchestrator guard approve` writes."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from orchestrator.membership.guard.received_bundles import Approval

MOST_APPROVALS: Final = 10_000

log = structlog.get_logger()


class InvalidApprovalsError(ValueError):
    """The file holds no approvals; the message says which and why."""


class ApprovalFile:
    """A file of approvals; read again when it changes.

    Args:
        path: The file; one that is not there approves nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._approvals: tuple[Approval, ...] = ()

    def approvals(self) -> tuple[Approval, ...]:
        """Return what is approved; what was read last when the file can't be read now."""
        try:
            found = self._path.stat()
        # A file that was taken away takes its approvals with it; one that can't be read now says nothing new.
        except FileNotFoundError:
            self._stamp, self._approvals = None, ()
            return ()
        except OSError as error:
            log.warning("approvals not read", file=str(self._path), reason=error.strerror)
            return self._approvals
        # Looked at for each bundle, so that an approval holds at once: no restart, no signal to the guard.
        stamp = (found.st_mtime_ns, found.st_size)
        if stamp != self._stamp:
            try:
                self._approvals = read_approvals(self._path)
                self._stamp = stamp
            except InvalidApprovalsError as error:
                log.warning("approvals not read", reason=str(error))
        return self._approvals

    def add(self, approval: Approval) -> None:
        """Put one more into the file.

        Raises:
            InvalidApprovalsError: What is in the file can't be read, or there are too many.
            OSError: It can't be written.
        """
        before = read_approvals(self._path) if self._path.exists() else ()
        if len(before) >= MOST_APPROVALS:
            raise InvalidApprovalsError(f"{self._path} holds {len(before)} approvals; take old ones out first")
        documents = [approval_document(one) for one in (*(a for a in before if a != approval), approval)]
        # In one step: a guard may read it at any moment, and half a file approves nothing.
        temporary = self._path.with_name(self._path.name + ".new")
        temporary.write_text(json.dumps(documents, indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, self._path)


def approval_document(approval: Approval) -> dict[str, Any]:
    """Return an approval as a JSON object."""
    document: dict[str, Any] = {"privacy_group_id": approval.privacy_group_id, "owner": approval.owner}
    if approval.members is not None:
        document["members"] = sorted(approval.members)
    if approval.last_root:
        document["last_root"] = approval.last_root
    return document


def read_approvals(path: Path) -> tuple[Approval, ...]:
    """Read a file of approvals.

    Raises:
        InvalidApprovalsError: It can't be read, or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidApprovalsError(f"{path} can't be read: {type(error).__name__}") from error
    if not isinstance(found, list) or len(found) > MOST_APPROVALS:
        raise InvalidApprovalsError(f"{path} is no list of at most {MOST_APPROVALS} approvals")
    return tuple(_approval(path, number, item) for number, item in enumerate(found, 1))


def _approval(path: Path, number: int, item: Any) -> Approval:
    if not isinstance(item, Mapping) or not set(item) <= {"privacy_group_id", "owner", "members", "last_root"}:
        raise InvalidApprovalsError(f"{path}: approval {number} holds something that is not known")
    group, owner, members, last_root = (item.get(key) for key in ("privacy_group_id", "owner", "members", "last_root"))
    if not isinstance(group, str) or not isinstance(owner, str) or not isinstance(last_root, str | None):
        raise InvalidApprovalsError(f"{path}: approval {number} needs privacy_group_id and owner")
    if members is not None and not (isinstance(members, list) and all(isinstance(key, str) for key in members)):
        raise InvalidApprovalsError(f"{path}: members of approval {number} are no list of enclave keys")
    return Approval(
        privacy_group_id=group,
        owner=owner.lower(),
        members=None if members is None else frozenset(members),
        last_root=last_root or "",
    )
