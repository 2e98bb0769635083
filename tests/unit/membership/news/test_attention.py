"""What needs a person, the most urgent first."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.membership.model import MemberProgress, State, Verdict
from orchestrator.membership.news.attention import (
    FAR_BEHIND,
    Need,
    NodeLook,
    Urgency,
    need_of_check,
    need_of_node,
    needs_of_change,
    needs_of_group,
    ranked,
)
from orchestrator.membership.news.group_news import Announcement, GroupNews
from orchestrator.membership.reasons.table import RULES, Reason, rule_of
from orchestrator.membership.replay_time import TimeLeft
from tests.fakes.changes import a_change
from tests.fakes.clock import START

LATER = START + timedelta(hours=1)


def parked(slug: str, **fields: Any) -> Need:
    change = a_change("1", state=State.PARKED, reason=Reason(slug=slug, detail="seen", members=("member",)), **fields)
    (need,) = needs_of_change(change, LATER)
    return need


@pytest.mark.parametrize("slug", sorted(RULES))
def test_every_parked_change_needs_somebody(slug: str) -> None:
    """Whatever a change is parked for: it is there, with the reason's remedy and the way on."""
    need = parked(slug)
    assert need.urgency in (Urgency.BROKEN, Urgency.STUCK)
    assert need.remedy == rule_of(Reason(slug=slug)).remedy
    assert need.change_id == "change-1"


def test_members_that_are_apart_come_before_questions() -> None:
    """A lost member is worse than an addition that waits for a decision; a held lock makes any of them worse."""
    assert parked("member_missing").urgency is Urgency.BROKEN
    assert parked("attestation_missing").urgency is Urgency.STUCK
    held = parked("attestation_missing", lock_block=17)
    assert held.urgency is Urgency.BROKEN
    assert "locked for it since block 17" in held.what


def test_what_ended_needs_nobody() -> None:
    """Changes that succeeded, failed or were cancelled are no entry, whatever their reason says."""
    for state in (State.SUCCEEDED, State.FAILED, State.CANCELLED):
        assert needs_of_change(a_change("1", state=state, reason=Reason(slug="member_missing")), LATER) == ()


def test_a_wait_is_told_when_it_is_long() -> None:
    """A change that waits for something outside is an entry from two minutes on, and says for what."""
    waiting = a_change("1", reason=Reason(slug="node_unreachable", detail="node b"), waiting_since=START)
    assert needs_of_change(waiting, START + timedelta(seconds=110)) == ()
    (need,) = needs_of_change(waiting, START + timedelta(seconds=130))
    assert (need.urgency, need.since) == (Urgency.WAITING, START)
    assert "node b" in need.what


def test_a_lock_that_is_held_for_long_is_told() -> None:
    """A change that holds its group's lock and does not get on is broken, with what it waits for."""
    change = a_change(
        "1", state=State.UNLOCKING, lead_id="change-1", lock_block=9, waits_for=Reason(slug="enclave_unreachable")
    )
    (need,) = needs_of_change(change, LATER)
    assert (need.slug, need.urgency) == ("locked_long", Urgency.BROKEN)
    assert "since block 9" in need.what
    assert needs_of_change(change, LATER, LATER - timedelta(seconds=5)) == (), "it is locked for five seconds only"


@pytest.mark.parametrize("slug", ["signer_away", "signer_refused"])
def test_a_lock_whose_signer_does_not_sign_is_told_with_its_age(slug: str) -> None:
    """It says since when the group is locked, and that only the owner's account can unlock it: by which signer ever."""
    change = a_change("1", state=State.ADDING, lead_id="change-1", lock_block=9, waits_for=Reason(slug=slug))
    since = LATER - timedelta(minutes=3)
    (need,) = needs_of_change(change, LATER, since)
    assert (need.slug, need.urgency, need.since) == ("locked_long", Urgency.BROKEN, since)
    assert "no other account can unlock it" in need.remedy


def test_a_stalled_replay_is_told() -> None:
    """A member whose node stopped replaying is an entry of its own, since when it did."""
    stalled = MemberProgress(
        enclave_key="key", verdict=Verdict.STALLED, blocks_replayed=3, blocks_total=9, head=12, moved_at=START
    )
    (need,) = needs_of_change(a_change("1", state=State.REPLAYING, progress=(stalled,)), LATER)
    assert (need.slug, need.since) == ("replay_stalled", START)
    assert "3 of 9 blocks" in need.what


def test_what_was_told_of_a_group() -> None:
    """A divergence names who differs; a repeated addition offers its cure; a closed group is to be known."""
    news = GroupNews(
        diverged=Announcement(
            at=START, data={"first_block": 8, "differing": [{"node": "member3"}], "undecided": False}
        ),
        repeated=Announcement(at=START, data={"block_number": 9, "transaction": "0xt", "cure": ["a", "b"]}),
        unextendable=Announcement(at=START, data={"block_number": 5}),
    )
    differs, repeated, closed = needs_of_group("g", news)
    assert (differs.urgency, repeated.urgency, closed.urgency) == (Urgency.BROKEN, Urgency.BROKEN, Urgency.TOLD)
    assert "since block 8: member3" in differs.what
    assert repeated.commands == ("orchestrator cure g a b --transaction 0xt --reason TEXT",)
    (once,) = needs_of_group("g", GroupNews(diverged=Announcement(at=LATER, data={}), repeated=news.repeated))
    assert (once.slug, "in block 9 that some nodes executed" in once.what) == ("addition_repeated", True)
    (hidden,) = needs_of_group("g", GroupNews(repeated=Announcement(at=START, data={"block_number": 9, "cure": []})))
    assert hidden.commands == (), "nobody shows what is right"
    assert "block 5" in closed.what


def look(**fields: Any) -> NodeLook:
    values: dict[str, Any] = {"name": "a", "head": 100, "behind": 0, "answers": True}
    return NodeLook(**values | fields)


@pytest.mark.parametrize(
    ("seen", "slug"),
    [
        (look(answers=False), "node_unreachable"),
        (look(behind=FAR_BEHIND + 1), "node_behind"),
        (look(behind=-FAR_BEHIND - 1), "node_ahead"),
        (look(barred="another chain"), "node_on_other_chain"),
    ],
)
def test_nodes_that_are_not_well(seen: NodeLook, slug: str) -> None:
    """A node that is away, far behind, far ahead or on another chain is named, with what to do."""
    need = need_of_node(seen)
    assert need is not None
    assert (need.slug, need.node) == (slug, "a")
    assert need.remedy


@pytest.mark.parametrize("behind", [0, 1, FAR_BEHIND, -1, -FAR_BEHIND])
def test_a_node_some_blocks_off_is_well(behind: int) -> None:
    """Some blocks behind or ahead are ordinary."""
    assert need_of_node(look(behind=behind)) is None


def test_a_node_that_replays_is_not_to_be_rescued() -> None:
    """A node that is far behind since it replays for a change of ours catches up by itself: how far it is, and when."""
    left = TimeLeft(low_seconds=20.0, likely_seconds=41.0, high_seconds=60.0, work=90)
    entry = MemberProgress(
        enclave_key="key",
        verdict=Verdict.REPLAYING,
        blocks_replayed=3,
        blocks_total=9,
        transactions_replayed=30,
        transactions_total=90,
        head=50,
        moved_at=START,
        left=left,
    )
    need = need_of_node(look(behind=50, replaying=entry, change_id="change-1"))
    assert need is not None
    assert (need.slug, need.urgency, need.change_id) == ("node_replays", Urgency.TOLD, "change-1")
    assert "30 of 90 transactions, and needs about 41 s more" in need.what
    assert "no rescue is needed" in need.remedy
    longer = replace(entry, transactions_total=0, left=replace(left, likely_seconds=600.0))
    need = need_of_node(look(behind=50, replaying=longer))
    assert need is not None
    assert "3 of 9 blocks, and needs about 10 min more" in need.what


def test_the_most_urgent_comes_first() -> None:
    """Order is by urgency, then by age; what has no beginning is taken for the oldest."""
    needs = [
        Need(slug="told", urgency=Urgency.TOLD, what=""),
        Need(slug="young", urgency=Urgency.BROKEN, what="", since=LATER),
        Need(slug="old", urgency=Urgency.BROKEN, what="", since=START),
        need_of_check("store", "full"),
    ]
    assert [need.slug for need in ranked(needs)] == ["store_away", "old", "young", "told"]
