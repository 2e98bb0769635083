"""What to type for the remedy of a reason: the commands of `reasons.RULES` in full. Pure."""

from typing import Final

from orchestrator.membership.reasons.judgements import Judgement
from orchestrator.membership.reasons.table import Reason, rule_of

_ANEW: Final = ("remove {group} {members}", "plan add {group} {members}", "add {group} {members}")

COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    # Not the unlock itself: whether that client is gone, the daemon can't see.
    "locked_by_other": ("groups {group}",),
    "group_unknown": ("groups",),
    "node_unsuitable": ("doctor",),
    "members_differ": ("audit --deep",),
    "member_missing": _ANEW,
    "member_forgotten": ("doctor", *_ANEW),
    "member_diverged": ("audit --deep",),
    "no_head": ("doctor",),
    "node_behind": ("doctor",),
    "members_undecided": ("audit",),
}
"""By a reason's slug: arguments of ``orchestrator``, with places for ``{change}``, ``{group}`` and ``{members}``."""


def commands_for(reason: Reason, *, change_id: str, privacy_group_id: str) -> tuple[str, ...]:
    """Return the commands of the remedy as they are to be typed, in their order; none where there is none to type.

    Args:
        reason: Why the change waits, failed or is parked.
        change_id: The change.
        privacy_group_id: Its group.
    """
    again = () if rule_of(reason).judgement is Judgement.TERMINAL else ("retry {change}",)
    said = {"change": change_id, "group": privacy_group_id, "members": " ".join(reason.members)}
    wanted = (*COMMANDS.get(reason.slug, ()), *again)
    told = (text for text in wanted if reason.members or "{members}" not in text)
    return tuple(f"orchestrator {text.format(**said)}" for text in told)
