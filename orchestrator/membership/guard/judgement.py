"""May a node have this history bundle? What a guard between a node and its enclave makes of what it sees. Pure.

A node replays whatever bundle its enclave answers for a marker of 64 bytes, and nobody asks it whether it wants to be a
member. A bundle that is "not found" does it no harm: the node imports the block and is a stranger to the group
(docs/besu.md#what-a-replay-needs, #stale-bundles).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.membership.forecast.blocks import Examination, flaws_in_words
from orchestrator.membership.forecast.newcomers import Departure
from orchestrator.membership.guard.received_bundles import ReceivedBundle


class Accept(StrEnum):
    """Which additions are let through, of those that do the node no harm."""

    ALL_SAFE = "all-safe"
    KNOWN_OWNERS = "known-owners"
    ASKED = "asked"


class Outcome(StrEnum):
    """What is answered to a node that asks for a bundle."""

    PASSED = "passed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided about a bundle, and why.

    Attributes:
        outcome: What the node is answered.
        slug: Why, in a word that machines can match.
        detail: What was seen, for a person.
        replays: Whether the node replays something when it has the bundle.
        lasting: Whether the bundle is never given again; else it follows from what the node has at the moment, and the
            node may read later what it was itself added with.
    """

    outcome: Outcome
    slug: str
    detail: str = ""
    replays: bool = False
    lasting: bool = False

    @property
    def passed(self) -> bool:
        """Whether the node gets the bundle."""
        return self.outcome is Outcome.PASSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An addition that the guard before one of our nodes refused, for those who made it.

    Attributes:
        node: The node's name.
        privacy_group_id: The group.
        block_number: The addition's block.
        rule: The decision's slug; its words may name other groups of the node.
    """

    node: str
    privacy_group_id: str
    block_number: int
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRules:
    """What a guard lets through.

    Attributes:
        accept: Which additions.
        known_owners: Accounts whose groups are welcome, "0x…" in lower case; for `Accept.KNOWN_OWNERS`.
        most_transactions: The longest replay that the node is to make.
        most_replay_seconds: The longest it may take, the chain waiting for a validator meanwhile.
        transactions_per_second: How many a replay does on this node.
        nonces_always_increment: Whether the nodes run with `--privacy-nonce-always-increments`: gaps then say nothing.
        refuse_risks: Whether blocks in which a public transaction may have changed what private code reads are refused.
        stalled_after_seconds: After so long, and when it was asked for again and again, a replay has failed.
        refuse_unconfirmed: Whether a bundle is refused that no member's node of ours shows as it is: else only its
            replay tells whether it reaches its roots (docs/besu.md#what-a-replay-needs, 12).
        trust_known: Whether that is passed over where the owner is known, or somebody here agreed to the addition.
    """

    accept: Accept = Accept.ALL_SAFE
    known_owners: frozenset[str] = frozenset()
    most_transactions: int = 20_000
    most_replay_seconds: float = 60.0
    transactions_per_second: float = 250.0
    nonces_always_increment: bool = False
    refuse_risks: bool = True
    stalled_after_seconds: float = 30.0
    refuse_unconfirmed: bool = False
    trust_known: bool = False

    def needs_witness(self, bundle: ReceivedBundle, *, approved: bool) -> bool:
        """Return whether a bundle is passed only if a member's node of ours shows it."""
        trusted = self.trust_known and (approved or bundle.owner in self.known_owners)
        return self.refuse_unconfirmed and not trusted


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnessed:
    """What members' nodes of our own show of a bundle.

    Attributes:
        trouble: What one of them shows otherwise, for a person; None when none does.
        confirmed: Whether one of them shows every root and every transaction of it.
    """

    trouble: str | None = None
    confirmed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardFacts:
    """What is seen of a bundle, of the chain and of the node that asks for it.

    Attributes:
        bundle: The bundle.
        blocks: By marker's hash the block that holds it, up to the node's head; those that are in none are missing.
        head: The node's head: the parent of the block that it is about to import.
        own_root: The node's root of the group there; empty when it has none.
        departure: Where a former member's own state ends; None for a node that never had the group.
        examinations: By number what the bundle's blocks are to a replay.
        disturbed: Groups of the node that would lose a transaction for good, the lock being in the parent block.
        others_passed: Groups that the node was let replay at this head.
        witness: What other members' nodes of ours show.
        approved: Whether somebody here has agreed to the addition.
    """

    bundle: ReceivedBundle
    blocks: Mapping[str, int]
    head: int
    own_root: str
    departure: Departure | None
    examinations: Mapping[int, Examination]
    disturbed: tuple[str, ...]
    others_passed: tuple[str, ...]
    witness: Witnessed
    approved: bool


def held(bundle: ReceivedBundle, own_root: str) -> Decision | None:
    """Return what follows from the node's own state of the group alone; None when it lacks some of the bundle.

    Source: docs/besu.md#stale-bundles; a node that is ahead of a bundle falls back to its end.

    Args:
        bundle: The bundle.
        own_root: The node's root of the group at its head; empty when it has none.
    """
    if not own_root:
        return None
    if own_root == bundle.last_root:
        return Decision(outcome=Outcome.PASSED, slug="nothing_to_replay")
    # The node looks for its own newest state in the bundle; not finding it, it replays everything over what it has.
    if all(call.state_root != own_root for call in bundle.calls):
        detail = "the node's state of the group is none that this history ends with or goes through: it would fall back"
        return Decision(outcome=Outcome.REFUSED, slug="held_beyond", detail=detail)
    return None


def judge(facts: GuardFacts, rules: GuardRules) -> Decision:
    """Return whether a node may have a bundle.

    Args:
        facts: What is seen.
        rules: What is let through.
    """
    # First, and each time anew: what the node has decides alone whether it would fall back, and it changes
    # (docs/besu.md#stale-bundles).
    found = held(facts.bundle, facts.own_root)
    if found is not None:
        return found
    # The wishes of the operator come last: of a history that would halt the node nobody can agree to anything.
    refusals = (_not_a_history, _not_locked, _too_long, _unreplayable, _former, _neighbouring, _unwanted, _unproven)
    return next(
        (refusal for rule in refusals if (refusal := rule(facts, rules)) is not None),
        Decision(outcome=Outcome.PASSED, slug="safe", replays=True),
    )


def asked_again(decision: Decision, *, times: int, seconds: float, rules: GuardRules) -> Decision | None:
    """Return what a bundle becomes that was let through and is asked for again; None: it is let through again.

    The node's head is the same, and there it still has not what the bundle says.

    A replay that failed is tried again and again by a node that stands still; no rule saw it coming, since whoever
    sent the bundle may have written roots into it that no replay reaches.

    Args:
        decision: What was decided.
        times: How often it was let through at this head.
        seconds: Since the first time.
        rules: What is let through.
    """
    # Both: a validator asks several times within a moment, and a slow replay asks late.
    if not decision.replays or times < MOST_TRIES or seconds < rules.stalled_after_seconds:
        return None
    detail = f"the node asked for it {times} times in {seconds:.0f} s and does not get past the block: restart the node"
    return _refused("replay_failed", detail)


MOST_TRIES = 3
"""A validator processes a block twice, and a node that was restarted meanwhile once more."""


def _refused(slug: str, detail: str) -> Decision:
    return Decision(outcome=Outcome.REFUSED, slug=slug, detail=detail, lasting=True)


def _not_a_history(facts: GuardFacts, rules: GuardRules) -> Decision | None:
    trouble = facts.bundle.trouble or (None if rules.nonces_always_increment else facts.bundle.gap)
    if trouble is not None:
        return _refused("bundle_may_be_torn", trouble)
    numbers = [facts.blocks.get(call.pmt_hash) for call in facts.bundle.calls]
    # A replay that finds a marker in no block throws out of the import, and halts the node
    # (docs/besu.md#what-a-replay-needs, 12).
    missing = next((call for call, n in zip(facts.bundle.calls, numbers, strict=True) if n is None), None)
    if missing is not None:
        return _refused("not_on_the_chain", f"it names marker {missing.pmt_hash}, which is in no block")
    placed = [number for number in numbers if number is not None]
    if placed != sorted(placed):
        return _refused("bundle_may_be_torn", "its transactions are not in the order of the chain")
    return None if facts.witness.trouble is None else _refused("bundle_may_be_torn", facts.witness.trouble)


def _not_locked(facts: GuardFacts, _: GuardRules) -> Decision | None:
    if facts.bundle.locked:
        return None
    if facts.bundle.locked is None:
        return _refused("contract_of_other_version", "the group's management contract was replaced")
    # It fails on all members, and the new node has the group all the same (docs/besu.md#stale-bundles, 5).
    return _refused("group_not_locked", "the group isn't locked at the end of this history: the addition would fail")


def _lacking(facts: GuardFacts) -> int:
    """How many of the bundle's transactions the node replays."""
    roots = [call.state_root for call in facts.bundle.calls]
    return len(roots) - 1 - roots.index(facts.own_root) if facts.own_root in roots else len(roots)


def _too_long(facts: GuardFacts, rules: GuardRules) -> Decision | None:
    count = _lacking(facts)
    if count > rules.most_transactions:
        return _refused("replay_too_long", f"{count} transactions to replay, {rules.most_transactions} are allowed")
    seconds = count / rules.transactions_per_second
    if seconds > rules.most_replay_seconds:
        allowed = f"{rules.most_replay_seconds:.0f} s are allowed"
        return _refused(
            "replay_too_long", f"{count} transactions would take about {seconds:.0f} s to replay, {allowed}"
        )
    return None


def _unreplayable(facts: GuardFacts, rules: GuardRules) -> Decision | None:
    calls = facts.bundle.calls[len(facts.bundle.calls) - _lacking(facts) :]
    for number in sorted({facts.blocks[call.pmt_hash] for call in calls}):
        examination = facts.examinations.get(number)
        if examination is None:
            return _refused("history_not_read", f"block {number} could not be looked at")
        if not examination.replayable:
            return _refused("block_not_replayable", flaws_in_words(examination))
        if examination.unsettling and rules.refuse_risks:
            return _refused(
                "block_may_not_be_replayable",
                f"block {number}: transaction {examination.unsettling[0]} can have changed what private code reads",
            )
    return None


def _former(facts: GuardFacts, _: GuardRules) -> Decision | None:
    if facts.departure is None:
        return None
    if facts.departure.trouble is not None:
        return _refused("former_member_unsafe", facts.departure.trouble)
    # Another replay in the same block makes anew the map that this one would begin from (docs/besu.md#former-members,
    # 2).
    if facts.own_root and facts.others_passed:
        named = ", ".join(facts.others_passed)
        return _refused(
            "newcomer_busy", f"group {named} is replayed for the same block, and the node had this one before"
        )
    return None


def _neighbouring(facts: GuardFacts, _: GuardRules) -> Decision | None:
    if not facts.disturbed:
        return None
    named = ", ".join(facts.disturbed)
    return _refused(
        "other_group_rolled_back",
        f"the lock is in the block before the addition's, and the node would lose group {named}",
    )


def _unwanted(facts: GuardFacts, rules: GuardRules) -> Decision | None:
    bundle = facts.bundle
    who = f"group {bundle.privacy_group_id} of owner {bundle.owner}"
    if rules.accept is Accept.KNOWN_OWNERS and bundle.owner not in rules.known_owners:
        return _refused("owner_not_known", f"{who}: the owner is none of those that are known here")
    if rules.accept is Accept.ASKED and not facts.approved:
        return _refused("not_agreed_to", f"{who}: nobody here has agreed to this addition")
    return None


def _unproven(facts: GuardFacts, rules: GuardRules) -> Decision | None:
    if facts.witness.confirmed or not rules.needs_witness(facts.bundle, approved=facts.approved):
        return None
    return _refused("roots_not_confirmed", "no member's node of ours shows these roots and these transactions")
