"""What a forecast makes of the word of those who see a new member's node, and of senders that nobody sees."""

from dataclasses import replace

import pytest

from orchestrator.membership.forecast.blocks import Examination, Flaw, FlawedTransactions
from orchestrator.membership.forecast.histories import GroupBlock, GroupHistory
from orchestrator.membership.forecast.newcomers import Attested, NewcomerFacts, Unattested
from orchestrator.membership.forecast.outlook import ForecastFacts, forecast
from orchestrator.membership.forecast.senders import SenderFacts
from orchestrator.membership.forecast.verdict import Outlook, Scope
from orchestrator.membership.model import Vouched
from orchestrator.membership.reasons.judgements import Judgement
from orchestrator.membership.reasons.table import Reason, rule_of

PEER = "0x627306090abab3a6e1400e9345bc60c78a8bef57"
YES = Attested(account=PEER, block_number=8, last=0, reason=None)
UNSEEN = NewcomerFacts(
    enclave_key="N", node=None, head=None, holds=None, roots={}, replays=(), left_block=7, unseen="not ours"
)


def facts(newcomer: NewcomerFacts, bad_block: int | None = None) -> ForecastFacts:
    numbers = (3, 5, 7)
    flaw = FlawedTransactions(flaw=Flaw.ACCOUNT_TWICE, account="0xp", transactions=("0x1", "0x2"))
    return ForecastFacts(
        history=GroupHistory(
            privacy_group_id="G",
            blocks=tuple(GroupBlock(number=n, block_hash=f"b{n}", state_root=f"r{n}") for n in numbers),
            through=9,
            through_hash="b9",
        ),
        complete=True,
        examinations={
            n: Examination(number=n, block_hash=f"b{n}", flaws=(flaw,) if n == bad_block else ()) for n in numbers
        },
        compared_at=9,
        member_roots={"old": "r7"},
        senders=(SenderFacts(enclave_key="old", node="o", head=9, replays=(), roots={}),),
        newcomers=(newcomer,),
    )


def vouched(word: Attested | Unattested | None) -> NewcomerFacts:
    return replace(UNSEEN, word=word, unseen=None if isinstance(word, Attested) else "not ours")


def test_who_is_vouched_for_is_seen() -> None:
    """By whom, and at which of its node's blocks."""
    found = forecast(facts(vouched(YES)))
    assert (found.outlook, found.unseen, found.last_block) == (Outlook.SAFE, (), 7)
    assert found.vouched == (Vouched(enclave_key="N", account=PEER, block_number=8),)


@pytest.mark.parametrize("word", [None, Unattested(detail="silent", required=False)])
def test_without_a_word_nothing_is_known(word: Unattested | None) -> None:
    """It is said, and refuses nothing."""
    found = forecast(facts(vouched(word)))
    assert (found.outlook, found.reason, [u.enclave_key for u in found.unseen]) == (Outlook.UNKNOWN, None, ["N"])


def test_a_word_that_is_required_and_missing_refuses() -> None:
    """The reason names the member, so that others of the batch go on."""
    reason = forecast(facts(vouched(Unattested(detail="silent", required=True)))).reason
    assert reason is not None
    assert (reason.slug, reason.detail, reason.members) == ("attestation_missing", "silent", ("N",))


@pytest.mark.parametrize(("slug", "scope"), [("former_member_unsafe", Scope.MEMBER), ("newcomer_busy", Scope.MOMENT)])
def test_what_its_side_says_against_it_counts(slug: str, scope: Scope) -> None:
    """As if it had been seen from here, with who says so."""
    found = forecast(facts(vouched(replace(YES, reason=Reason(slug=slug, detail="why")))))
    (danger,) = found.dangers
    assert (danger.scope, danger.reason.slug, found.vouched) == (scope, slug, ())
    assert danger.reason.detail == f"{PEER} says of its node at block 8: why"


@pytest.mark.parametrize(("last", "replayed", "safe"), [(0, 3, False), (3, 2, False), (5, 1, True), (7, 0, True)])
def test_its_side_knows_what_the_node_lacks(last: int, replayed: int, safe: bool) -> None:
    """A member may lack blocks from before its removal: those have to be replayable, too."""
    found = forecast(facts(vouched(replace(YES, last=last)), bad_block=5))
    assert [(expected.enclave_key, expected.blocks) for expected in found.replays] == [("N", replayed)]
    assert (found.reason is None) is safe


def test_senders_that_do_not_answer_now_are_waited_for() -> None:
    """That no node could be looked at says nothing of its bundle: it is tried again, and nobody has to act."""
    found = forecast(replace(facts(vouched(YES)), senders=()))
    (danger,) = found.dangers
    assert (danger.scope, rule_of(danger.reason).judgement) == (Scope.MOMENT, Judgement.RETRY)
    assert (found.sender, found.outlook) == (None, Outlook.UNSAFE)


def test_what_is_not_read_yet_is_no_torn_bundle() -> None:
    """Nobody was looked at as a sender: it is a matter of the moment, and the reason is the history."""
    found = forecast(replace(facts(vouched(YES)), complete=False, senders=(), newcomers=()))
    assert found.reason is not None
    assert (found.reason.slug, {danger.scope for danger in found.dangers}) == ("history_not_read", {Scope.MOMENT})
