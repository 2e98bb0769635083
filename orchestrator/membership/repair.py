"""Repairing a member that lost its addition: it is removed and added again, once. So are members that fell back.

An addition can get lost although it succeeded (docs/besu.md#how-members-silently-diverge, 1 and 2); removing and adding
the member again mended it where its node can begin where it left off (docs/besu.md#how-replay-damages-other-groups, 5).
The parked change does it itself, in one try, so that nothing comes between the removal and the
addition, whoever drives the lane. A removal does not reach the state of a node that has lost the group: what is
forecast of the addition before the removal holds after it.

A cure (`Kind.CURE_GROUP`) does the same with several members at an operator's request
(`orchestrator.membership.cure`).
"""

from collections.abc import Iterable
from dataclasses import replace

from orchestrator.membership.facts import MemberSurvey, Sighting, Surveyed
from orchestrator.membership.model import Change, Kind, Plan, Repair, State, Verdict
from orchestrator.membership.reasons.table import Reason

ADDING = frozenset({Kind.ADD_MEMBERS, Kind.SET_MEMBERS, Kind.CURE_GROUP})
"""What may add members to a group that has a history."""

LOST = frozenset({Verdict.MISSING, Verdict.DIVERGED})
REASONS = frozenset({"member_missing", "member_diverged", "member_forgotten"})
OVERTAKEN = "repair_overtaken"

PATIENCE = 5
"""How often in a row a repair meets what passes, before it is left to a person: nothing is removed so far, and the
group's other changes wait behind it."""


def repair_of(change: Change) -> Repair | None:
    """Return the repair that a parked change needs; None when a lost addition is not all that it is parked for.

    A change is repaired once. An old member that differs is no lost addition, and of a member whose node others look at
    nothing is known at first hand.

    Args:
        change: A change.
    """
    # Once: a second loss has a cause that another removal and addition would not mend.
    parked = change.state is State.PARKED and change.reason is not None and change.reason.slug in REASONS
    if not parked or change.repair is not None or change.kind not in (Kind.ADD_MEMBERS, Kind.SET_MEMBERS):
        return None
    lost = tuple(entry for entry in change.progress if entry.verdict in LOST)
    added = change.plan.to_add if change.plan is not None else ()
    # An old member that differs may be the one that is right, and on somebody else's word nobody is removed.
    ours = all(entry.enclave_key in added and entry.attested_by is None for entry in lost)
    if not lost or not ours or change.effect is None:
        return None
    return Repair(members=tuple(entry.enclave_key for entry in lost), since_block=change.effect.block_number)


def withdrawal_of(change: Change, lost: Iterable[str], sightings: Iterable[Sighting]) -> Repair | None:
    """Return what takes out the new members whose guard refused the group's history; None when nobody's did.

    Such a member is listed and has nothing: while it is, its operator is asked for an approval that would come too late
    for this addition, and each transaction of the group goes to its enclave.

    Args:
        change: The change whose members were compared.
        lost: Those of them that lack the group, or have another state of it.
        sightings: What was seen of each.
    """
    effect, plan = change.effect, change.plan
    if effect is None or plan is None or change.kind not in ADDING:
        return None
    # Of a batch each change takes back only its own members: the others' are theirs to take back, or well.
    ours = set(lost) & set(plan.to_add) & set(change.members)
    said = {sighting.enclave_key: sighting for sighting in sightings if sighting.refused}
    refused = tuple(key for key in said if key in ours)
    if not refused:
        return None
    whys = dict.fromkeys(_refusal(said[key]) for key in refused)
    stale = change.repair.stale_pmt if change.repair is not None else ""
    return Repair(members=refused, since_block=effect.block_number, refused="; ".join(whys), stale_pmt=stale)


def _refusal(sighting: Sighting) -> str:
    by = f" ({sighting.attested_by} says so)" if sighting.attested_by is not None else ""
    return f"refused by the member's guard: {sighting.refused.replace('_', ' ')}{by}"


def looked_at(change: Change) -> bool:
    """Return whether it matters how the members stand that a change is to repair.

    A cure removes several, one after the other: until all are added again those that are left still are to be removed.
    """
    return change.repairs or (change.repair is not None and change.kind is Kind.CURE_GROUP)


def withdraws(change: Change) -> bool:
    """Return whether a change is to take out members whose guard refused the group's history, and has not done so."""
    return change.repairs and change.repair is not None and bool(change.repair.refused)


def to_withdraw(change: Change, withdrawal: Repair) -> Change:
    """Return a change as it goes back to the queue to take out again what it added: by itself, and to its end."""
    reason = _refused(withdrawal)
    # Without its deadline: one that passes between two removals would leave it half done.
    return replace(change, repair=withdrawal, batch_limit=1, deadline=None, reason=reason, waiting_since=None)


def withdrawn(change: Change, block_number: int) -> Change:
    """Return a change whose refused members are proven to be out; who retries it has them added anew.

    Args:
        change: The change.
        block_number: The group's state there lacks them.
    """
    repair = change.repair
    if repair is None:
        return change
    told = replace(_refused(repair), detail=f"{repair.refused}; removed again, seen at block {block_number}")
    return replace(change, repair=replace(repair, removed_block=block_number), reason=told)


def _refused(withdrawal: Repair) -> Reason:
    return Reason(slug="refused_by_guard", detail=withdrawal.refused, members=withdrawal.members)


def to_be_withdrawn(change: Change, seen: Surveyed) -> tuple[str, ...]:
    """Return the members that a change has to remove since their guard refused: those that are there and still lack it.

    Args:
        change: The change in preflight.
        seen: What was surveyed.
    """
    if not withdraws(change) or change.repair is None:
        return ()
    # Between the refusal and this look the member may have got the group by another addition: who has it stays.
    agree = {member.enclave_key for member in seen.members if member.agrees}
    present = seen.view.participants
    return tuple(key for key in change.repair.members if key in present and key not in agree)


def to_be_repaired(change: Change, seen: Surveyed) -> tuple[str, ...]:
    """Return the members that a change has to remove and add again: those that still differ.

    Args:
        change: The change in preflight.
        seen: What was surveyed.
    """
    if not looked_at(change) or change.repair is None or withdraws(change):
        return ()
    surveys = {member.enclave_key: member for member in seen.members}
    present = seen.view.participants
    return tuple(
        key
        for key in change.repair.members
        # Not known (None) is no difference: a member that can't be looked at now may be well, and a removal would cost
        # it the group.
        if key in present and key in surveys and surveys[key].agrees is False and surveys[key].moved_block is None
    )


def repair_trouble(change: Change, seen: Surveyed) -> Reason | None:
    """Return why a repair must not begin; None when it may, or when there is nothing (more) to repair.

    The verdict is old by now: only what is true at this moment counts. Whoever removed the member, or added it anew,
    had a reason.

    Args:
        change: The change in preflight.
        seen: What was surveyed.
    """
    if change.repair is None or not looked_at(change):
        return None
    surveys = {member.enclave_key: member for member in seen.members}
    for key in change.repair.members:
        trouble = _member_trouble(key, surveys.get(key), seen, withdraws(change), change.kind is Kind.CURE_GROUP)
        if trouble is not None:
            return trouble
    return None


def _member_trouble(
    key: str, member: MemberSurvey | None, seen: Surveyed, withdrawn: bool, cured: bool
) -> Reason | None:
    if key not in seen.view.participants:
        # Whoever took it out did what was to be done. A cure adds whom it names: a split's new member may be listed on
        # its own side alone, and a removal of ours may have been mined without our knowing.
        if withdrawn or cured:
            return None
        detail = f"at block {seen.view.block_number} it is no member any more: somebody removed it"
        return Reason(slug=OVERTAKEN, detail=detail, members=(key,))
    if member is not None and member.moved_block is not None:
        detail = f"somebody changed it in block {member.moved_block}"
        return Reason(slug=OVERTAKEN, detail=detail, members=(key,))
    if not withdrawn and (member is None or member.agrees is None):
        node = member.node if member is not None else None
        # What was seen blocks ago is no ground for a removal: its node has to show the difference now.
        detail = f"the node {node} of the member to repair" if node is not None else "the member's node is not ours"
        return Reason(slug="node_unreachable", detail=detail, members=(key,))
    return None


def readds(plan: Plan) -> bool:
    """Return whether a plan removes members to add them again."""
    return not set(plan.to_add).isdisjoint(plan.to_remove)


def said_of_repair(change: Change) -> str:
    """Return what a person has to know first of a repair that does not go on; empty when there is none."""
    if change.repair is None or (change.repair.refused and not withdraws(change)):
        return ""
    if change.repair.stale_pmt and change.repairs and not change.repair.refused:
        return "nothing was removed: "
    if withdraws(change):
        return f"{change.repair.refused}; not removed so far: "
    if change.repair.removed_block is None:
        return "not repaired, nothing was removed: "
    return f"removed in block {change.repair.removed_block} to be added again: "


def lost_again(change: Change) -> str:
    """Return what to say of a member that lost its addition after a repair, too; empty when there was none."""
    repair, effect = change.repair, change.effect
    if repair is None or repair.removed_block is None or repair.refused or effect is None:
        return ""
    return (
        f"; lost for the second time: its addition of block {repair.since_block} was repaired by a removal in block "
        f"{repair.removed_block} and an addition in block {effect.block_number}"
    )
