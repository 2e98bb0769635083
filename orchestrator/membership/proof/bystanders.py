"""The other groups of a new member's node: a replay may roll them back, and nobody is told. Pure.

Source: docs/besu.md#how-replay-damages-other-groups.
"""

from collections import Counter
from collections.abc import Iterable

from orchestrator.membership.facts import Bystander, Bystanders
from orchestrator.membership.reasons.table import Reason

MOST_NAMED = 5


def was_rolled_back(group: Bystander) -> bool:
    """Return whether a group fell back on the new member's node while that replayed.

    Where another member can be seen, the node must have had what that one had before the addition and another state
    since: a group that differed already is the audit's to tell. The one of two that shows what it had long before is
    the one that fell back. Where nobody else can be seen only such a return can be told from a transaction.

    The node itself shows the return, or two other members agree on a state that it has not: one node's word alone may
    be a lie, and would hold up additions to groups that it is not in (`is_contradicted`).

    Args:
        group: What was seen of it.
    """
    if not group.others:
        return group.root != group.root_before and _has_come_back(group)
    if not _has_parted(group):
        return False
    return _has_come_back(group) or max(Counter(group.others).values()) > 1


def is_contradicted(group: Bystander) -> bool:
    """Return whether another member's node has another state since, and nothing says which of the two is right.

    Args:
        group: What was seen of it.
    """
    return bool(group.others) and _has_parted(group) and not was_rolled_back(group)


def _has_parted(group: Bystander) -> bool:
    if group.root_before not in group.others_before or group.root in group.others:
        return False
    return not set(group.others) <= set(group.older)


def _has_come_back(group: Bystander) -> bool:
    return group.root in ("", *group.older)


def rollback(groups: Iterable[Bystander]) -> Reason | None:
    """Return the reason to park an addition for: groups that it rolled back; None when it did not.

    Args:
        groups: The other groups of the new members' nodes.
    """
    found = [group for group in groups if was_rolled_back(group)]
    if not found:
        return None
    said = "; ".join(_said(group) for group in found[:MOST_NAMED])
    more = f", and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    members = tuple(dict.fromkeys(group.enclave_key for group in found))
    return Reason(slug="other_group_rolled_back", detail=said + more, members=members)


def remarks(seen: Bystanders) -> tuple[str, ...]:
    """Return what a change's history says of other groups that do not park it.

    Args:
        seen: The other groups of the new members' nodes.
    """
    contradicted = [group for group in seen.groups if is_contradicted(group)]
    said = [f"{_said(group)}, which no second node confirms: audit it" for group in contradicted[:MOST_NAMED]]
    if len(contradicted) > MOST_NAMED:
        said.append(f"{len(contradicted) - MOST_NAMED} more such groups")
    if seen.left_out:
        said.append(f"{len(seen.groups)} other groups of the new members' nodes compared, {seen.left_out} left out")
    return tuple(said)


def _said(group: Bystander) -> str:
    where = f"group {group.privacy_group_id} on node {group.node} at block {group.block_number}"
    if group.others:
        return f"{where} has not the state of other members, as it had up to block {group.block_before}"
    return f"{where} is back at a state of before block {group.block_before}"
