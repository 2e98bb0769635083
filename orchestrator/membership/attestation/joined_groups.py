"""One of our nodes joins a group by somebody else's doing: what is known of it, and what is told. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.membership.model import MemberProgress
from orchestrator.membership.news.status import EventType, Json, StatusEvent, progress_data, visible
from orchestrator.membership.proof.comparison import SETTLED_BLOCKS, TROUBLES

PROOF_BLOCKS = 3
"""A member may lose a group one block after its addition (docs/besu.md#how-members-silently-diverge)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """One member on its way into a group.

    Attributes:
        privacy_group_id: The group.
        enclave_key: The new member.
        node: Name of its node.
        members: The group's members.
        reference: Another member whose node can be asked, that the new one is compared with; None for none.
        since_block: Its node's head when it was first seen to have the group; None while it replays.
        entry: How far it is; None before the first look.
    """

    privacy_group_id: str
    enclave_key: str
    node: str
    members: tuple[str, ...]
    reference: str | None
    since_block: int | None = None
    entry: MemberProgress | None = None


def is_over(join: Join) -> bool:
    """Return whether a join is decided: in sync over some blocks, lost or diverged, or there with nobody to compare."""
    entry = join.entry
    if join.since_block is None or entry is None:
        return False
    if entry.verdict in TROUBLES:
        # The past may be what a later replay made of it (docs/besu.md#how-replay-damages-other-groups).
        return entry.head is not None and entry.head >= join.since_block + PROOF_BLOCKS + SETTLED_BLOCKS
    through = entry.head if join.reference is None else entry.in_sync_through
    return through is not None and through >= join.since_block + PROOF_BLOCKS


def tell_join(before: Join | None, after: Join) -> StatusEvent | None:
    """Return the status event of one look at a join; None when there is nothing new to be told."""
    if after.entry is None:
        return None
    if is_over(after):
        return _event(EventType.GROUP_JOINED, after, after.entry)
    known = before.entry if before is not None else None
    if known is None or visible((known,)) != visible((after.entry,)):
        return _event(EventType.GROUP_JOINING, after, after.entry)
    return None


def _event(kind: EventType, join: Join, entry: MemberProgress) -> StatusEvent:
    data: Mapping[str, Json] = {
        "member": join.enclave_key,
        "node": join.node,
        "members": list(join.members),
        "reference": join.reference,
        "progress": [progress_data(entry)],
    }
    return StatusEvent(type=kind, privacy_group_id=join.privacy_group_id, data=data)
