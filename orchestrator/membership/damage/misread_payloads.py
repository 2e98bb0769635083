"""May a node be told that a private transaction's payload is not there, because it would misread it as a history? Pure.

A marker of 64 bytes whose second half is the key of an ordinary private transaction makes every node that has this
payload stand before its block, until the payload is not found (docs/besu.md#what-a-replay-needs, 13). The node's
request is the same when it is about to execute the transaction, which it must not miss: then it would lose it for good,
alone among the members. So it is told "not found" only where nothing can be lost by that, whichever block it works on
and whatever it wants the payload for.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from orchestrator.membership.guard.judgement import Decision, Outcome

SLUG: Final = "no_history"
OFTEN: Final = 3
"""A node asks for what it executes once, a validator twice; who asks again and again does not get on."""
LATER_BLOCKS: Final = 2
"""So many blocks after it asked first, a node asks for a transaction only if somebody repeated its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MisreadFacts:
    """What is seen of a payload, of the chain and of the node that asks for it.

    Attributes:
        named: Whether a marker has its key as that of a history, in the next block or in a pool.
        settled: Whether the blocks that the node may still be working on, up to its head, could all be looked at.
        executing: Those of them in which the transaction was executed, or may have been.
        spent: Whether the node's state at its head is beyond the transaction's private nonce: it can't execute again.
        next_names: Whether the block after the head is seen on another node, as it will stay, and names it so.
        next_executes: Whether that block executes it.
    """

    named: bool
    settled: bool
    executing: Collection[int]
    spent: bool
    next_names: bool
    next_executes: bool


def suspicious(*, times: int, blocks_later: int) -> bool:
    """Return whether a request for a transaction is to be looked at.

    Args:
        times: How often it was asked for at this head.
        blocks_later: How many blocks after it was asked for first.
    """
    return times >= OFTEN or blocks_later >= LATER_BLOCKS


def misread(facts: MisreadFacts) -> Decision:
    """Return whether a node gets a private transaction that may be named as a history.

    Nothing is lost where the node executes the transaction in none of the blocks that it may be working on: it is
    beyond its private nonce, and got there in a settled block; or the block that comes next is known, and only misreads
    it.

    Args:
        facts: What is seen.
    """
    if not facts.named:
        return Decision(outcome=Outcome.PASSED, slug="not_named")
    if not facts.settled:
        return Decision(outcome=Outcome.PASSED, slug="not_settled")
    if facts.executing:
        return Decision(outcome=Outcome.PASSED, slug="executed_lately")
    if not facts.spent and not (facts.next_names and not facts.next_executes):
        return Decision(outcome=Outcome.PASSED, slug="may_be_executed")
    detail = "a marker names the key of a private transaction as that of a history, and the node would stand before it"
    return Decision(outcome=Outcome.REFUSED, slug=SLUG, detail=detail)


def never_executes() -> Decision:
    """Return what becomes of a payload that is neither a history nor a private transaction."""
    detail = "the payload is neither a history nor a private transaction: whatever the node takes it for, it stands"
    return Decision(outcome=Outcome.REFUSED, slug=SLUG, detail=detail)
