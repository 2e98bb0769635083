"""The table of a deep audit's findings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.membership.damage.findings import (
    REMEDIES,
    Damage,
    DamageFinding,
    Return,
    Severity,
    finding_data,
    ranked_findings,
    returns,
    sender_findings,
)
from orchestrator.membership.forecast.senders import Bundle, SenderStanding


def test_every_finding_has_its_remedy() -> None:
    """Each finding says what repairs it, what is forbidden is said of each damage, and worse ones come first."""
    assert list(REMEDIES) == list(Damage)
    severities = [list(Severity).index(remedy.severity) for remedy in REMEDIES.values()]
    assert severities == sorted(severities)
    for damage, remedy in REMEDIES.items():
        assert remedy.repair, damage
        assert remedy.never or remedy.severity is Severity.NOTE, damage


@given(st.lists(st.sampled_from(list(Damage))))
def test_the_worst_comes_first(found: list[Damage]) -> None:
    """Whatever was found in whatever order, no finding stands before a worse one, and none is lost."""
    findings = [
        DamageFinding(damage=damage, detail="", node=f"n{place}", members=("m",), block_number=None if place % 2 else 3)
        for place, damage in enumerate(found)
    ]
    ranked = ranked_findings(findings)
    order = [list(Damage).index(finding.damage) for finding in ranked]
    assert order == sorted(order)
    assert set(ranked) == set(findings)


def test_what_must_not_be_done_names_node_and_member() -> None:
    """The texts of the table are filled in with whom they are about."""
    finding = DamageFinding(damage=Damage.FORMER_UNSAFE, detail="d", privacy_group_id="g", members=("m",), node="n")
    data = finding_data(finding)
    assert data["never"] == "Never re-add member m on node n: it would halt for good."
    assert (data["finding"], data["severity"], data["block_number"]) == ("former_member_unsafe", "danger", None)


@pytest.mark.parametrize(
    ("roots", "back"),
    [
        ("aabbcc", ()),
        ("", ()),
        ("aaba", (Return(left_at=2, back_at=3, until=None),)),
        ("aabaac", (Return(left_at=2, back_at=3, until=5),)),
        ("abcb", (Return(left_at=2, back_at=3, until=None),)),
        ("abab", (Return(left_at=1, back_at=2, until=None),)),
        ("abacad", (Return(left_at=1, back_at=2, until=3), Return(left_at=1, back_at=4, until=5))),
    ],
)
def test_roots_that_come_back_are_seen(roots: str, back: tuple[Return, ...]) -> None:
    """The block where the old root went, where it was there again, and what came after it; each time."""
    assert returns(list(enumerate(roots))) == back


def test_a_group_without_a_whole_bundle_has_no_sender() -> None:
    """One torn bundle forbids one node; all of them forbid adding."""
    torn = [SenderStanding(enclave_key=key, node=key, bundle=Bundle.TORN, block_number=6, detail="d") for key in "ab"]
    whole = SenderStanding(enclave_key="c", node="c", bundle=Bundle.WHOLE)
    assert [found.damage for found in sender_findings("g", [*torn, whole])] == [Damage.TORN] * 2
    assert Damage.NO_SENDER in [found.damage for found in sender_findings("g", torn)]
    assert sender_findings("g", [whole]) == ()
