"""What a store that was restored from a backup does not know, and the chain does.

Changes that were unfinished at the backup may have been finished after it, and others may have followed of which the
store knows nothing: an addition that was undone by a removal must not be done once more. So before such a change is
planned, or its first transaction signed, its group is looked at: it goes on when the chain shows it done, or untouched
since the backup. Everything else is a person's to decide.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

import structlog

from orchestrator.engine.ports.nodes import NodePort
from orchestrator.membership.model import Change, GroupView, Kind
from orchestrator.membership.reasons.table import Reason

CHECKPOINT: Final = "restored"
"""Name of the store's checkpoint that says that, and from when, it was restored."""
SLUG: Final = "store_restored"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoration:
    """That a store was restored.

    Attributes:
        at: When; changes that were accepted later are not concerned.
        block: The newest block that the store knew of, which is not newer than the backup.
    """

    at: datetime
    block: int


class Restored(Protocol):
    """What of a checkpoint tells of a restoration."""

    @property
    def position(self) -> int:
        """The newest block that the store knew of."""

    @property
    def paused_since(self) -> datetime | None:
        """When it was restored."""


def restoration_of(checkpoint: Restored | None) -> Restoration | None:
    """Return what a store's checkpoint tells; None for a store that was never restored."""
    if checkpoint is None or checkpoint.paused_since is None:
        return None
    return Restoration(at=checkpoint.paused_since, block=checkpoint.position)


def concerns(restoration: Restoration | None, change: Change) -> bool:
    """Return whether a change is from before a restoration, and nobody looked at it and asked for it again since."""
    if restoration is None or change.created_at > restoration.at:
        return False
    return change.reason is None or change.reason.slug != SLUG


async def hindrance(restoration: Restoration, change: Change, node: NodePort, now: GroupView) -> Reason | None:
    """Return why a change from before the backup can't just go on; None when it can.

    Args:
        restoration: When the store was restored, and up to which block it knew the chain.
        change: The change, for which `concerns` says yes.
        node: A node of the group.
        now: The group as the node shows it at its head.

    Raises:
        NodeError: The node does not answer; what happened since the backup is not known then.
    """
    if is_done(change, now):
        log.info("done after the backup, as the chain shows", change_id=change.change_id)
        return None
    then = await node.view(change.privacy_group_id, restoration.block)
    # A lock leaves no version behind: one that is there now may be another's, taken since. Any private transaction does
    # change the root.
    same_root = change.kind is not Kind.UNLOCK_GROUP or then.state_root == now.state_root
    if _shown(then) == _shown(now) and same_root:
        return None
    detail = (
        f"the store was restored to a backup of about block {restoration.block}, and the group was changed since: "
        f"it had {len(then.participants)} members then and has {len(now.participants)} at block {now.block_number}"
    )
    return Reason(slug=SLUG, detail=detail)


def is_done(change: Change, view: GroupView) -> bool:
    """Return whether a group shows what a change asks for."""
    members = set(change.members)
    match change.kind:
        case Kind.CREATE_GROUP:
            return view.exists and members <= set(view.participants)
        case Kind.ADD_MEMBERS:
            return members <= set(view.participants)
        case Kind.REMOVE_MEMBERS:
            return view.exists and members.isdisjoint(view.participants)
        case Kind.SET_MEMBERS:
            return members == set(view.participants)
        case Kind.UNLOCK_GROUP:
            return view.exists and not view.locked
        case Kind.CURE_GROUP:
            return False  # who is a member says nothing of it


def _shown(view: GroupView) -> tuple[bool, frozenset[str], bool, str]:
    return view.exists, frozenset(view.participants), view.locked, view.version
