"""Who differs, and what subscribers are announced of it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.membership.damage.divergence import (
    Announced,
    Comparison,
    Standing,
    after_event,
    agreed_members,
    compare,
    namesakes,
    tell,
)
from orchestrator.membership.model import GroupView, Verdict
from orchestrator.membership.news.status import EventType, StatusEvent
from tests.fakes.clock import START

DAY = timedelta(days=1)


def standing(key: str, root: str | None) -> Standing:
    view = GroupView(block_number=9, exists=root is not None, state_root=root or "")
    return Standing(enclave_key=key, node=f"node-{key}", view=view)


def compared(**roots: str | None) -> Comparison:
    return compare("g", 9, [standing(key, root) for key, root in roots.items()], tuple(roots))


def test_a_removed_member_does_not_count() -> None:
    """The node of a removed member lists the group as it was; those that are left decide."""
    assert agreed_members({"a": ("a", "b"), "b": ("a", "b"), "x": ("a", "x", "b")}) == ("a", "b")
    assert agreed_members({"a": ("a",), "b": ("a", "b")}) == ("a",)
    assert agreed_members({"a": ("a", "b"), "b": ("a",)}) == ("a", "b")
    assert agreed_members({}) == ()


def test_most_members_are_right() -> None:
    """The state that most members have is the reference; no state is missing, another one is diverged."""
    seen = compared(a="0x2", b="0x1", c="0x1", d=None)
    assert seen.reference == "b"
    assert [(s.enclave_key, verdict) for s, verdict in seen.differing] == [
        ("a", Verdict.DIVERGED),
        ("d", Verdict.MISSING),
    ]


def test_between_two_nobody_is_the_reference() -> None:
    """Of two members that differ the roots can't tell which is right, in whichever order they are listed."""
    for seen in (compared(a="0x1", b="0x2"), compared(b="0x2", a="0x1"), compared(a="0x1", b="0x2", c=None)):
        assert (seen.undecided, seen.reference, seen.state_root) == (True, "", "")
        assert {s.enclave_key for s, _ in seen.differing} == {*seen.compared}


def test_of_two_one_of_which_has_nothing_the_other_is_the_reference() -> None:
    """No state at all is plainly missing: it needs no majority against it."""
    seen = compared(a=None, b="0x2")
    assert (seen.undecided, seen.reference) == (False, "b")
    assert [(s.enclave_key, verdict) for s, verdict in seen.differing] == [("a", Verdict.MISSING)]


def test_another_group_of_the_same_id_is_told_from_an_old_list() -> None:
    """A list counts as another group only when its node is on it and it shares nobody with the group."""
    members = ("a", "b")
    assert namesakes({"a": members, "b": members, "x": ("x", "y"), "y": ("y", "x")}, members) == (("x", "y"),)
    assert namesakes({"a": members, "x": ("a", "b", "x")}, members) == ()
    assert namesakes({"a": members, "x": ("y",)}, members) == ()


def test_another_group_of_the_same_id_is_told_until_it_is_gone() -> None:
    """Members of a group that only shares the id are announced like members that differ, and their going as well."""
    agreeing = compared(a="0x1", b="0x1")
    (event,) = tell([replace(agreeing, namesakes=(("x", "y"),))], {}, START, DAY)
    assert event.data["other_groups"] == [["x", "y"]]
    announced = after_event({}, event, START)
    assert announced == {"g": Announced(at=START, members=frozenset("xy"))}
    assert [e.type for e in tell([agreeing], announced, START, DAY)] == [EventType.GROUP_CONVERGED]


def test_those_who_are_no_members_are_passed_over() -> None:
    """What the node of a stranger shows counts for nothing."""
    seen = compare("g", 9, [standing("a", "0x1"), standing("x", "0x2")], ("a",))
    assert seen.compared == ("a",)
    assert not seen.differing


@given(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["0x1", "0x2", None]), min_size=1))
def test_those_who_agree_and_those_who_differ_are_all_that_were_compared(roots: dict[str, str | None]) -> None:
    """Each member that was read either has the reference's root or differs, whatever the roots are."""
    seen = compared(**roots)
    differing = {s.enclave_key for s, _ in seen.differing}
    agreeing = {key for key, root in roots.items() if root == seen.state_root and root is not None}
    having = [root for root in roots.values() if root is not None]
    assert bool(seen.reference) is (bool(having) and not seen.undecided)
    if seen.reference:
        assert differing | agreeing == set(roots)
        assert not differing & agreeing
        assert 2 * len(agreeing) > len(having)
    else:
        assert not agreeing
        assert differing == (set(roots) if having else set())
        assert all(2 * having.count(root) <= len(having) for root in having)


def test_a_divergence_is_told_once_and_again_after_a_day() -> None:
    """It is announced when it is new, when other members differ, and after a day; not at every audit."""
    seen = compared(a="0x1", b="0x1", c="0x2")
    (event,) = tell([seen], {}, START, DAY)
    assert event.type is EventType.GROUP_DIVERGED
    announced = after_event({}, event, START)
    assert announced == {"g": Announced(at=START, members=frozenset("c"))}
    assert tell([seen], announced, START + DAY / 2, DAY) == ()
    assert len(tell([seen], announced, START + DAY, DAY)) == 1
    assert len(tell([compared(a="0x1", b="0x2", c="0x1")], announced, START, DAY)) == 1


def test_it_has_converged_when_each_that_differed_agrees_or_is_gone() -> None:
    """A group in which the member that differed can't be read has not converged; without that member it has."""
    announced = {"g": Announced(at=START, members=frozenset("c"))}
    agreeing = compared(a="0x1", b="0x1", c="0x1")
    (event,) = tell([agreeing], announced, START, DAY)
    assert event.type is EventType.GROUP_CONVERGED
    assert after_event(announced, event, START) == {}
    unread = compare("g", 9, [standing("a", "0x1"), standing("b", "0x1")], ("a", "b", "c"))
    assert tell([unread], announced, START, DAY) == ()
    removed = compare("g", 9, [standing("a", "0x1"), standing("b", "0x1")], ("a", "b"))
    assert [e.type for e in tell([removed], announced, START, DAY)] == [EventType.GROUP_CONVERGED]
    assert tell([agreeing], {}, START, DAY) == ()


@pytest.mark.parametrize("kind", [EventType.GROUP_ADDITION_REPEATED, EventType.GROUP_ADDITION_UNEXPECTED])
def test_what_an_addition_parted_is_told_as_over_once_it_is_cured(kind: EventType) -> None:
    """Cured before an audit saw it: the audit that sees all agree says so. Not cured: it tells the divergence."""
    parting = StatusEvent(type=kind, privacy_group_id="g", data={"affected": [{"member": "c"}]})
    announced = after_event({}, parting, START)
    (event,) = tell([compared(a="0x1", b="0x1", c="0x1")], announced, START, DAY)
    assert event.type is EventType.GROUP_CONVERGED
    assert after_event(announced, event, START) == {}
    (event,) = tell([compared(a="0x1", b="0x1", c="0x2")], announced, START, DAY)
    assert event.type is EventType.GROUP_DIVERGED
    assert tell([compared(a="0x1", b="0x1", c="0x2")], after_event(announced, event, START), START, DAY) == ()


def test_an_addition_that_parted_more_members_joins_what_was_told() -> None:
    """Members of both are waited for; an addition that parted nobody is nothing to wait for."""
    announced = {"g": Announced(at=START, members=frozenset("b"))}
    parting = StatusEvent(
        type=EventType.GROUP_ADDITION_REPEATED, privacy_group_id="g", data={"affected": [{"member": "c"}]}
    )
    both = Announced(at=START, members=frozenset("bc"), parted=frozenset("c"))
    assert after_event(announced, parting, START + DAY) == {"g": both}
    assert after_event({}, replace(parting, data={"affected": []}), START) == {}


def test_those_that_an_addition_parted_are_no_majority() -> None:
    """Sender and new member of a stale bundle confirm each other: of three the third is the reference, not the odd."""
    standings = [standing("a", "0x2"), standing("b", "0x1"), standing("c", "0x2")]
    members = ("a", "b", "c")
    seen = compare("g", 9, standings, members, parted="ac")
    assert (seen.reference, seen.undecided) == ("b", False)
    assert [s.enclave_key for s, _ in seen.differing] == ["a", "c"]
    assert compare("g", 9, standings, members).reference == "a"
    assert compare("g", 9, standings, members, parted=members).reference == "a", "nobody else is there"
    apart = [*standings, standing("d", "0x3")]
    assert compare("g", 9, apart, (*members, "d"), parted="ac").undecided
