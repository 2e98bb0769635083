"""The rules of a guard: which bundle a node may have."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.membership.forecast.blocks import Examination, Flaw, FlawedTransactions
from orchestrator.membership.forecast.newcomers import Departure
from orchestrator.membership.guard.judgement import (
    MOST_TRIES,
    Accept,
    Decision,
    GuardFacts,
    GuardRules,
    Outcome,
    Witnessed,
    asked_again,
    held,
    judge,
)
from orchestrator.membership.guard.received_bundles import Approval, BundledCall, ReceivedBundle, final_run, history_of

OWNER = "0xo"
RULES = GuardRules()
TRUSTING = GuardRules(refuse_unconfirmed=True, trust_known=True)


def bundle(count: int = 4, **fields: object) -> ReceivedBundle:
    calls = tuple(
        BundledCall(pmt_hash=f"0x{n}", account=OWNER, private_nonce=n, state_root=f"r{n}") for n in range(count)
    )
    found = ReceivedBundle(privacy_group_id="G", calls=calls, sent_by="S", members=("S", "M"), locked=True)
    return replace(found, **fields)  # type: ignore[arg-type] # fields of the bundle


def facts(received: ReceivedBundle | None = None, **fields: object) -> GuardFacts:
    """What is seen of a new member's node: each transaction in a block of its own, the head two above the last."""
    of = received or bundle()
    blocks = {call.pmt_hash: 10 + 2 * n for n, call in enumerate(of.calls)}
    seen = GuardFacts(
        bundle=of,
        blocks=blocks,
        head=max(blocks.values(), default=0) + 2,
        own_root="",
        departure=None,
        examinations={number: Examination(number=number, block_hash="") for number in blocks.values()},
        disturbed=(),
        others_passed=(),
        witness=Witnessed(),
        approved=False,
    )
    return replace(seen, **fields)  # type: ignore[arg-type] # fields of the facts


def flawed(number: int) -> Examination:
    twice = FlawedTransactions(flaw=Flaw.ACCOUNT_TWICE, account="0xa", transactions=("0x1", "0x2"))
    return Examination(number=number, block_hash="", flaws=(twice,))


def test_a_history_that_does_no_harm_is_passed() -> None:
    """A new member's node gets it, and replays it."""
    assert judge(facts(), RULES) == Decision(outcome=Outcome.PASSED, slug="safe", replays=True)


@given(st.integers(1, 8), st.integers(-1, 9))
def test_a_node_never_falls_back(count: int, own: int) -> None:
    """What the node has decides first: its own root at the end passes, one that is not in the history never does."""
    received = bundle(count)
    found = held(received, "" if own < 0 else f"r{own}")
    if own < 0 or own < count - 1:
        assert found is None
    elif own == count - 1:
        assert found is not None
        assert (found.passed, found.replays) == (True, False)
    else:
        assert found is not None
        assert (found.passed, found.lasting) == (False, False), "the node may read it later, to send"
        assert judge(facts(received, own_root=f"r{own}", approved=True), RULES) == found


@given(st.integers(0, 3), st.integers(-1, 2))
def test_only_what_is_replayed_has_to_be_replayable(bad: int, own: int) -> None:
    """A block that can't be replayed stops a bundle exactly when the node lacks it."""
    seen = facts()
    number = seen.blocks[f"0x{bad}"]
    former = {} if own < 0 else {"own_root": f"r{own}", "departure": Departure(last=seen.blocks[f"0x{own}"])}
    flaws = {**seen.examinations, number: flawed(number)}
    seen = replace(seen, examinations=flaws, **former)  # type: ignore[arg-type] # each field has its own type
    decision = judge(seen, RULES)
    assert decision.passed is (bad <= own)
    assert decision.passed or (decision.slug, decision.lasting) == ("block_not_replayable", True)


@pytest.mark.parametrize(
    ("slug", "seen", "rules"),
    [
        ("bundle_may_be_torn", facts(bundle(trouble="no creation")), RULES),
        ("bundle_may_be_torn", facts(bundle(gap="nonce 3 is missing")), RULES),
        ("bundle_may_be_torn", facts(blocks={"0x0": 10, "0x1": 14, "0x2": 12, "0x3": 16}), RULES),
        ("roots_not_confirmed", facts(), GuardRules(refuse_unconfirmed=True)),
        ("roots_not_confirmed", facts(approved=True), GuardRules(refuse_unconfirmed=True)),
        ("roots_not_confirmed", facts(), TRUSTING),
        ("bundle_may_be_torn", facts(witness=Witnessed(trouble="another shows otherwise")), RULES),
        ("not_on_the_chain", facts(blocks={"0x0": 10, "0x1": 12, "0x3": 16}), RULES),
        ("group_not_locked", facts(bundle(locked=False)), RULES),
        ("contract_of_other_version", facts(bundle(locked=None)), RULES),
        ("replay_too_long", facts(), GuardRules(most_transactions=3)),
        ("replay_too_long", facts(), GuardRules(transactions_per_second=1, most_replay_seconds=3)),
        ("history_not_read", facts(examinations={}), RULES),
        (
            "block_may_not_be_replayable",
            facts(
                examinations={n: Examination(number=n, block_hash="", unsettling=("0x9",)) for n in (10, 12, 14, 16)}
            ),
            RULES,
        ),
        ("former_member_unsafe", facts(own_root="r1", departure=Departure(last=12, trouble="odd roots")), RULES),
        ("newcomer_busy", facts(own_root="r1", departure=Departure(last=12), others_passed=("H",)), RULES),
        ("other_group_rolled_back", facts(disturbed=("H",)), RULES),
        ("owner_not_known", facts(), GuardRules(accept=Accept.KNOWN_OWNERS, known_owners=frozenset({"0xp"}))),
        ("not_agreed_to", facts(), GuardRules(accept=Accept.ASKED)),
    ],
)
def test_each_rule_refuses_for_good(slug: str, seen: GuardFacts, rules: GuardRules) -> None:
    """Each by itself, all else being well, and with a word that machines can match."""
    decision = judge(seen, rules)
    assert (decision.outcome, decision.slug, decision.lasting) == (Outcome.REFUSED, slug, True)
    assert decision.detail


def test_what_the_rules_allow_is_not_refused() -> None:
    """Gaps where failed transactions use up nonces, risks where they are taken, owners that are known, approvals."""
    assert judge(facts(bundle(gap="a gap")), GuardRules(nonces_always_increment=True)).passed
    risky = {n: Examination(number=n, block_hash="", unsettling=("0x9",)) for n in (10, 12, 14, 16)}
    assert judge(facts(examinations=risky), GuardRules(refuse_risks=False)).passed
    assert judge(facts(), GuardRules(accept=Accept.KNOWN_OWNERS, known_owners=frozenset({OWNER}))).passed
    assert judge(facts(approved=True), GuardRules(accept=Accept.ASKED)).passed
    assert judge(facts(approved=True), TRUSTING).passed
    assert judge(facts(), replace(TRUSTING, known_owners=frozenset({OWNER}))).passed
    assert judge(facts(witness=Witnessed(confirmed=True)), TRUSTING).passed


def test_an_approval_is_bound_to_what_was_agreed_to() -> None:
    """Group and owner always; members and the root under the lock where they were named."""
    approval = Approval(privacy_group_id="G", owner=OWNER)
    assert approval.covers(bundle())
    assert replace(approval, members=frozenset({"M", "S"}), last_root="r3").covers(bundle())
    for other in (
        replace(approval, privacy_group_id="H"),
        replace(approval, owner="0xp"),
        replace(approval, members=frozenset({"S"})),
        replace(approval, last_root="r2"),
    ):
        assert not other.covers(bundle())


@given(st.integers(0, 10), st.floats(0, 100))
def test_a_replay_that_is_tried_again_and_again_has_failed(times: int, seconds: float) -> None:
    """After enough tries and enough time, and never where nothing is replayed."""
    passed = Decision(outcome=Outcome.PASSED, slug="safe", replays=True)
    found = asked_again(passed, times=times, seconds=seconds, rules=RULES)
    assert (found is not None) is (times >= MOST_TRIES and seconds >= RULES.stalled_after_seconds)
    assert asked_again(replace(passed, replays=False), times=times, seconds=seconds, rules=RULES) is None


@given(st.sets(st.integers(1, 20)), st.integers(1, 20))
def test_the_run_that_ends_with_the_head_is_found(blocks: set[int], head: int) -> None:
    """Neighbouring blocks of the group up to the head, as many as there are; none when the head is none of them."""
    run = final_run(blocks, head)
    assert set(run) <= blocks
    assert (head in run) is (head in blocks)
    assert run.start - 1 not in blocks or not run


def test_a_history_has_the_root_after_each_block() -> None:
    """Of several transactions in one block the last one's; what is in no block is left out."""
    found = history_of(bundle(), {"0x0": 10, "0x1": 12, "0x2": 12}, 20)
    assert [(block.number, block.state_root) for block in found.blocks] == [(10, "r0"), (12, "r2")]
    assert (found.privacy_group_id, found.through) == ("G", 20)
