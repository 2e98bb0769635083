"""Ways back: which groups a new member's node has left, and whether an addition elsewhere closes one of them. Pure.

A replay makes the node's maps of the replayed group's blocks anew, also where a group that the node has left ends in
one of them. A return to that group would begin there, and halt the node (docs/besu.md#former-members, 2 and 6).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final

from orchestrator.membership.forecast.memberships import MembershipLog
from orchestrator.membership.forecast.verdict import Forecast, Scope, Unseen

WAY_BACK: Final = (
    "On the same node, that stays so as long as its data and its enclave's store are kept, and no group is added to it "
    "that has transactions in the block of the removal and in the next one: `orchestrator plan add` names those."
)
"""What keeps the way back of a removed member open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftGroup:
    """A group that a node holds and that none of its keys is a member of any more.

    Attributes:
        privacy_group_id: The group.
        block_number: The block of the removal: the group's newest that the node executed.
    """

    privacy_group_id: str
    block_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnAtRisk:
    """A group to which a new member's node can't return after the addition, or perhaps not.

    Attributes:
        enclave_key: The new member.
        node: Its node.
        privacy_group_id: The group that the node has left.
        left_block: The block in which it left.
        certain: Whether the return is refused for certain then; else it depends on what could not be seen.
        detail: Why, for a person.
    """

    enclave_key: str
    node: str
    privacy_group_id: str
    left_block: int
    certain: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Returns:
    """What an addition does to ways back.

    Attributes:
        at_risk: Groups that can't be returned to afterwards, or perhaps not.
        unseen: New members of whose node that could not be looked at.
    """

    at_risk: tuple[ReturnAtRisk, ...] = ()
    unseen: tuple[Unseen, ...] = ()


def left_groups(keys: Collection[str], logs: Iterable[MembershipLog]) -> tuple[LeftGroup, ...]:
    """Return the groups that a node left; those that it never was a member of are none of them.

    Args:
        keys: The enclave keys that the node hosts.
        logs: Additions and removals in the groups that it holds, those of a group in the order of the chain.
    """
    present: dict[str, set[str]] = {}
    ended: dict[str, int] = {}
    for log in logs:
        if log.member not in keys:
            continue
        inside = present.setdefault(log.privacy_group_id, set())
        if log.added:
            inside.add(log.member)
        elif log.member in inside:
            inside.discard(log.member)
            ended[log.privacy_group_id] = log.block_number
    return tuple(
        LeftGroup(privacy_group_id=group, block_number=ended[group]) for group, inside in present.items() if not inside
    )


def return_at_risk(
    enclave_key: str, node: str, left: LeftGroup, replayed: Collection[int], *, goes_on: bool | None, earlier: bool
) -> ReturnAtRisk | None:
    """Return what a replay does to the way back to a group; None when it leaves it open.

    Args:
        enclave_key: The new member.
        node: Its node.
        left: The group that the node has left.
        replayed: The blocks of the other group that the node will replay.
        goes_on: Whether the group that was left has a transaction in the block after; None when that isn't known.
        earlier: Whether the node has replayed, since it left, another group with a transaction in that block.
    """
    last = left.block_number
    ends, after = last in replayed, last + 1 in replayed
    if after and (ends or earlier):
        certain, why = True, f"this group has transactions in blocks {last} and {last + 1}"
        if not ends:
            why = f"another group that it replayed has a transaction in block {last}, and this group in {last + 1}"
    elif ends and goes_on is not False:
        certain = goes_on is True
        seen = (
            "the one that it left goes on" if certain else "whether the one that it left goes on is not seen from here"
        )
        why = f"this group has a transaction in block {last}; in the next block {seen}"
    else:
        return None
    return ReturnAtRisk(
        enclave_key=enclave_key,
        node=node,
        privacy_group_id=left.privacy_group_id,
        left_block=last,
        certain=certain,
        detail=f"node {node} left it in block {last}, and {why}: the replay makes the node's map of that block anew, "
        "from which a return would begin",
    )


def after_removal(addition: Forecast) -> Forecast:
    """Return the forecast of an addition of present members as it holds once they were removed.

    Their removal will be the newest block that their nodes have: what replays did to maps before it closes no way
    back, and neither does what the next block takes away. Who is not at the group's newest state is as it is.

    Args:
        addition: The forecast of their addition as if they were not there, made while they are.
    """
    at_newest = {replay.enclave_key for replay in addition.replays if not replay.blocks}
    own = frozenset({"former_member_unsafe", "not_at_this_block"})
    dangers = tuple(
        danger
        for danger in addition.dangers
        if not (
            danger.scope in (Scope.MEMBER, Scope.MOMENT)
            and danger.reason.slug in own
            and at_newest.issuperset(danger.reason.members)
        )
    )
    return replace(addition, dangers=dangers)
