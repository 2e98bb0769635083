"""The other groups of a new member's node: a replay may roll them back, and nobody is told. Pure.

Source: docs/besu.md#how-replay-damages-other-groups.
"""

from collections.abc import Iterable

from orchestrator.membership.facts import Bystander
from orchestrator.membership.reasons.table import Reason

MOST_NAMED = 5


def was_rolled_back(group: Bystander) -> bool:
    """Return whether a group fell back on the new member's node while that replayed.

    Where another member can be seen, the node must have had what that one had before the addition and another state
    since: a group that differed already is the audit's to tell. The one of two that shows what it had long before is
    the one that fell back. Where nobody else can be seen only such a return can be told from a transaction.

    Args:
        group: What was seen of it.
    """
    if not group.others:
        return group.root != group.root_before and group.root in ("", *group.older)
    if group.root_before not in group.others_before or group.root in group.others:
        return False
    return not set(group.others) <= set(group.older)


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


def _said(group: Bystander) -> str:
    where = f"group {group.privacy_group_id} on node {group.node} at block {group.block_number}"
    if group.others:
        return f"{where} has not the state of other members, as it had up to block {group.block_before}"
    return f"{where} is back at a state of before block {group.block_before}"
