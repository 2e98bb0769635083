"""What the daemon's watch over new blocks found, as findings of an inspection. Pure."""

from collections.abc import Sequence
from typing import Final

from orchestrator.doctor.findings import Finding, Level
from orchestrator.membership.damage.unextendable import Unextendable, WatchTally
from orchestrator.membership.forecast.blocks import flaws_in_words

MOST_NAMED: Final = 20


def watch_findings(tally: WatchTally, closed: Sequence[Unextendable]) -> tuple[Finding, ...]:
    """Return what is to be said of the blocks that were watched.

    Args:
        tally: What they were.
        closed: Groups that can't be extended any more.
    """
    return (_blocks(tally), _groups(closed), _repetitions(tally))


def _blocks(tally: WatchTally) -> Finding:
    check = "replayable-blocks"
    if not tally.blocks:
        what = "no block was watched yet: the daemon does it while it runs"
        return Finding(check=check, level=Level.NOTE, what=what)
    if not tally.account_twice:
        return Finding(
            check=check, level=Level.OK, what=f"no account was twice in one of {tally.blocks} blocks watched"
        )
    share = 100 * tally.account_twice / tally.blocks
    return Finding(
        check=check,
        level=Level.WARNING,
        what=f"{tally.account_twice} of {tally.blocks} blocks watched ({share:.2g} %) have an account twice, "
        f"the newest {tally.newest_twice} account {tally.account}",
        why="A group with a transaction in such a block can't be extended any more to nodes that have to replay it.",
        remedy="Add members before it happens, and keep such accounts' transactions in blocks of their own: let each "
        "be mined before the next is sent.",
    )


def _groups(closed: Sequence[Unextendable]) -> Finding:
    check = "extendable-groups"
    if not closed:
        return Finding(check=check, level=Level.OK, what="no group is known to be closed to newcomers")
    named = "; ".join(f"{one.privacy_group_id} by {flaws_in_words(one.examination)}" for one in closed[:MOST_NAMED])
    more = f"; and {len(closed) - MOST_NAMED} more" if len(closed) > MOST_NAMED else ""
    return Finding(
        check=check,
        level=Level.WARNING,
        what=f"{len(closed)} known group(s) can't be extended any more: {named}{more}",
        why="The node of a newcomer would halt for good at the block of its addition.",
        remedy="Make a new group, or host new members on nodes that have the group.",
    )


def _repetitions(tally: WatchTally) -> Finding:
    check = "repeated-additions"
    if not tally.repeated:
        return Finding(check=check, level=Level.OK, what="no old addition was sent again while it was watched")
    return Finding(
        check=check,
        level=Level.WARNING,
        what=f"{tally.repeated} old addition(s) were sent again, the newest in transaction {tally.newest_repeated}",
        why="It throws the nodes of its sender and of its new member back to what the group was then.",
        remedy="Run `orchestrator audit --deep`; find out whose account signed the transaction.",
    )
