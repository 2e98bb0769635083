"""Which queued changes are done together: adds of one account that stand directly behind each other share one lock."""

from collections.abc import Sequence

from orchestrator.membership.model import Change, Kind


def next_batch(queued: Sequence[Change]) -> tuple[Change, ...]:
    """Return the changes that are claimed next, the lead first.

    Changes of a group are executed in the order in which they were accepted: an add behind a removal does not join the
    adds before it.

    Args:
        queued: The group's changes that may start now, in the order in which they were accepted; at least one.
    """
    lead = queued[0]
    batch = [lead]
    for change in queued[1:] if lead.kind is Kind.ADD_MEMBERS else ():
        if change.kind is not Kind.ADD_MEMBERS or change.account != lead.account:
            break
        if len(batch) >= min(lead.batch_limit, change.batch_limit):
            break
        batch.append(change)
    return tuple(batch)
