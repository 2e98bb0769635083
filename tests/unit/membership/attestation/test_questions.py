"""Asking and answering about new members: who is believed, for how long, and what the answering side refuses."""

from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.membership.attestation.questions import (
    ANSWERED_WITHIN,
    MOST_BLOCKS,
    TROUBLES,
    VALID_FOR,
    Attestation,
    Inquiry,
    OwnNode,
    Promised,
    Signed,
    attestation_refusal,
    holds,
    inquiry_of,
    inquiry_refusal,
    statement_of,
    trouble_of,
)
from orchestrator.membership.forecast.histories import GroupBlock, GroupHistory, Replay
from orchestrator.membership.forecast.newcomers import NewcomerFacts, departure
from orchestrator.membership.reasons.table import RULES
from tests.fakes.clock import START

PEER = "0x627306090abab3a6e1400e9345bc60c78a8bef57"
OTHER = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"
HISTORY = GroupHistory(
    privacy_group_id="group",
    blocks=tuple(GroupBlock(number=n, block_hash=f"h{n}", state_root=f"r{n}") for n in (3, 5, 8)),
    through=9,
    through_hash="h9",
)
ASKED = inquiry_of(HISTORY, "new", 1337, START)
SAID = Attestation(
    privacy_group_id="group",
    enclave_key="new",
    chain_id=1337,
    block_number=9,
    block_hash="h9",
    last=0,
    trouble="",
    detail="",
    issued_at=START,
    expires_at=START + VALID_FOR,
)
NODE = OwnNode(head=9, besu_version=(23, 10, 3), validator=False, enclave_trouble=False, same_branch=True)
NEVER = NewcomerFacts(enclave_key="new", node="n", head=9, holds=False, roots={9: ""}, replays=())
LEFT = replace(NEVER, holds=True, roots=dict.fromkeys(range(5, 10), "r5") | {8: "r5"})


def answer(
    inquiry: Inquiry = ASKED, own: OwnNode = NODE, seen: NewcomerFacts | None = NEVER, *promised: Promised
) -> str:
    found = departure(inquiry.history, seen) if seen is not None else None
    return trouble_of(inquiry, own, seen, found, promised)[0]


def test_a_question_names_the_groups_newest_blocks() -> None:
    """Enough for a former member to find where it left off; and whether these are all."""
    assert (ASKED.blocks, ASKED.whole) == (((3, "r3"), (5, "r5"), (8, "r8")), True)
    assert [block.number for block in ASKED.history.blocks] == [3, 5, 8]
    many = tuple(GroupBlock(number=n, block_hash="h", state_root=f"r{n}") for n in range(MOST_BLOCKS + 5))
    long = inquiry_of(replace(HISTORY, blocks=many), "new", 1337, START)
    assert (len(long.blocks), long.blocks[-1], long.whole) == (
        MOST_BLOCKS,
        (MOST_BLOCKS + 4, f"r{MOST_BLOCKS + 4}"),
        False,
    )


def test_questions_and_answers_are_signed_as_what_they_are() -> None:
    """No signature of one is one of the other, and each field counts."""
    statements = {
        statement_of(word)
        for word in (ASKED, replace(ASKED, chain_id=1), replace(ASKED, through_hash="h"), SAID, replace(SAID, last=1))
    }
    assert len(statements) == 5


@pytest.mark.parametrize(
    ("account", "signer", "late", "answered"),
    [
        (PEER, PEER, timedelta(0), True),
        (OTHER, OTHER, timedelta(0), False),
        (PEER, OTHER, timedelta(0), False),
        (PEER, None, timedelta(0), False),
        (PEER, PEER, ANSWERED_WITHIN + timedelta(seconds=1), False),
        (PEER, PEER, -timedelta(minutes=2), False),
    ],
)
def test_only_peers_are_answered(account: str, signer: str | None, late: timedelta, answered: bool) -> None:
    """A configured account's own, recent question."""
    signed = Signed(word=ASKED, account=account, signature=b"")
    assert (inquiry_refusal(signed, {PEER}, signer, START + late) is None) is answered


@pytest.mark.parametrize(
    ("account", "signer", "late", "believed"),
    [
        (PEER, PEER, timedelta(0), True),
        (OTHER, OTHER, timedelta(0), False),
        (PEER, OTHER, timedelta(0), False),
        (PEER, PEER, VALID_FOR + timedelta(minutes=2), False),
    ],
)
def test_only_the_members_peer_is_believed(account: str, signer: str, late: timedelta, believed: bool) -> None:
    """The account that is configured for the member, until the answer expires."""
    signed = Signed(word=SAID, account=account, signature=b"")
    assert (attestation_refusal(signed, {"new": PEER}, signer, START + late) is None) is believed
    assert attestation_refusal(replace(signed, word=ASKED), {"new": PEER}, PEER, START) is not None


def test_no_answer_holds_for_longer_than_all_do() -> None:
    """Whatever expiry it names itself; one that is signed in the future does not hold at all."""
    eternal = replace(SAID, expires_at=START + timedelta(days=9))
    assert holds(eternal, START + VALID_FOR)
    assert not holds(eternal, START + 3 * VALID_FOR)
    assert not holds(replace(SAID, expires_at=START - timedelta(minutes=5)), START)
    assert not holds(SAID, START - timedelta(minutes=5))


def test_who_never_had_the_group_may_be_added() -> None:
    """Nor is anything said against a former member that can begin where it left off."""
    assert answer() == ""
    assert answer(seen=LEFT) == ""


@pytest.mark.parametrize(
    ("own", "seen", "trouble"),
    [
        (replace(NODE, same_branch=False), NEVER, "node_behind"),
        (replace(NODE, head=2, same_branch=None), NEVER, "node_behind"),
        (replace(NODE, besu_version=(25, 5, 0)), NEVER, "member_would_not_receive"),
        (replace(NODE, enclave_trouble=True), NEVER, "enclave_unreachable"),
        (NODE, None, "history_not_read"),
        (NODE, replace(NEVER, unseen="nobody knows"), "history_not_read"),
        (NODE, replace(NEVER, holds=True, roots={9: "odd"}), "former_member_unsafe"),
        (NODE, replace(LEFT, roots={**LEFT.roots, 7: "r3"}), "former_member_unsafe"),
        (
            replace(NODE, head=8),
            replace(
                LEFT,
                head=8,
                roots={8: "r8"},
                replays=(Replay(privacy_group_id="x", at_block=9, blocks=frozenset({8})),),
            ),
            "not_at_this_block",
        ),
    ],
)
def test_what_speaks_against_an_addition_is_said(own: OwnNode, seen: NewcomerFacts | None, trouble: str) -> None:
    """Each by the slug that the asking side judges it by."""
    assert answer(own=own, seen=seen) == trouble


def test_every_trouble_is_a_reason() -> None:
    """Whoever asks finds what to do about it in the table."""
    assert set(TROUBLES) <= set(RULES)
    assert replace(SAID, trouble="node_behind").reason is not None
    assert SAID.reason is None


@pytest.mark.parametrize(
    ("former", "seen", "trouble"), [(False, NEVER, ""), (True, NEVER, "newcomer_busy"), (False, LEFT, "newcomer_busy")]
)
def test_a_former_member_is_added_alone(former: bool, seen: NewcomerFacts, trouble: str) -> None:
    """While it is, or another group's is, nothing else may be added to its node."""
    promised = Promised(privacy_group_id="x", node="n", former=former, until=START + VALID_FOR)
    assert answer(ASKED, NODE, seen, promised) == trouble
