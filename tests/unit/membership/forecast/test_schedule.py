"""What has to wait for what on one node."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest

from orchestrator.membership.attempt import Action
from orchestrator.membership.forecast.schedule import (
    NodeAddition,
    PendingMarker,
    ReplayRules,
    addition_obstacle,
    additions_of,
    bundling_obstacle,
    busy,
    marker_obstacle,
    precedence,
)
from orchestrator.membership.model import Change, ExpectedReplay, MemberProgress, State, Verdict
from tests.fakes.changes import a_change, an_attempt
from tests.fakes.clock import START
from tests.fakes.surveys import a_plan

RULES = ReplayRules(block_period=timedelta(seconds=2), per_block=timedelta(milliseconds=4))
SHORT, LONG = 500, 501
"""Blocks that are replayed within a block period, and not."""


def addition(change: str, node: str = "n", *, former: bool = False, blocks: int = SHORT) -> NodeAddition:
    return NodeAddition(
        change_id=change, privacy_group_id=f"group of {change}", node=node, former=former, blocks=blocks
    )


def slug(wanted: NodeAddition, others: Sequence[NodeAddition], rules: ReplayRules = RULES) -> str | None:
    reason = addition_obstacle(wanted, others, rules)
    return None if reason is None else reason.slug


def test_a_re_addition_and_a_long_replay_are_alone_on_their_node() -> None:
    """In all combinations of two additions: they go together unless one is a re-addition or takes long."""
    kinds = list(product((False, True), (SHORT, LONG), ("n", "m")))
    for (former, blocks, node), (other_former, other_blocks, other_node) in product(kinds, kinds):
        wanted = addition("a", node, former=former, blocks=blocks)
        other = addition("b", other_node, former=other_former, blocks=other_blocks)
        waits = node == other_node and (former or other_former or LONG in (blocks, other_blocks))
        assert slug(wanted, [other]) == ("newcomer_busy" if waits else None)
        assert slug(wanted, [addition("c", "elsewhere"), other]) == slug(wanted, [other])


def test_nobody_waits_for_itself() -> None:
    """The addition that is asked for may be among those under way."""
    wanted = addition("a", former=True, blocks=LONG)
    assert slug(wanted, [wanted]) is None


def test_long_replays_may_be_allowed_on_top_of_each_other_and_re_additions_never() -> None:
    """The one is slow, the other halts a node."""
    rules = ReplayRules(block_period=timedelta(seconds=2), apart=False)
    assert slug(addition("a", blocks=LONG), [addition("b", blocks=LONG)], rules) is None
    assert slug(addition("a", former=True), [addition("b")], rules) == "newcomer_busy"


def test_one_marker_of_an_account_is_under_way_at_a_time() -> None:
    """Two in one block make it unreplayable for every group in it; one-time accounts meet nobody."""
    pending = [PendingMarker(account="0xa", change_id="other")]
    reason = marker_obstacle("0xa", pending)
    assert reason is not None
    assert reason.slug == "marker_account_busy"
    assert marker_obstacle("0xb", pending) is None
    assert marker_obstacle(None, pending) is None
    assert marker_obstacle("0xa", []) is None


def adding(name: str, *, sent: bool = False, state: State = State.ADDING, former: bool = True) -> Change:
    """A change whose signed addition makes node n replay."""
    change = a_change(name)
    attempt = an_attempt(name, action=Action.ADD, sent_block=5 if sent else None)
    replays = (ExpectedReplay(enclave_key="member", node="n", blocks=3, former=former),)
    return replace(change, lead_id=change.change_id, state=state, attempt=attempt, plan=a_plan(replays=replays))


@pytest.mark.parametrize(
    ("other", "yields"),
    [
        (adding("0"), True),
        (adding("9"), False),
        (adding("9", sent=True), True),
        (adding("9", state=State.REPLAYING), True),
    ],
)
def test_of_two_that_begin_together_the_younger_gives_way(other: Change, yields: bool) -> None:
    """Of two that are signed the older waits until the other gave way; for one that was broadcast each does, since what
    was forecast for it does not hold behind that one's replay."""
    found = precedence(adding("5"), other, RULES)
    assert found is not None
    assert (found.reason.slug, found.yields) == ("newcomer_busy", yields)


def test_what_waits_for_its_lock_holds_nobody_up_who_is_about_to_add() -> None:
    """A lane that has signed no addition yet looks at this one when it has, and waits then."""
    other = adding("0", state=State.LOCKING)
    locking = replace(other, attempt=an_attempt("0", action=Action.LOCK))
    assert precedence(adding("5"), locking, RULES) is None
    mine = additions_of("5", "g", (ExpectedReplay(enclave_key="member", node="n", blocks=3, former=True),))
    assert busy(mine, locking, RULES) is not None


@pytest.mark.parametrize("former", [False, True])
def test_a_node_that_is_about_to_replay_bundles_no_history(former: bool) -> None:
    """What it has replayed shows once it has imported the block; until then its maps may be half made anew."""
    for other in (adding("0", former=former), adding("9", sent=True), adding("0", state=State.REPLAYING)):
        found = bundling_obstacle("5", "n", other)
        assert found is not None
        assert found.slug == "newcomer_busy"
        assert bundling_obstacle("5", "m", other) is None
        assert bundling_obstacle(other.change_id, "n", other) is None
        assert bundling_obstacle("5", "n", replace(other, lead_id="another")) is None
    locking = replace(adding("0", state=State.LOCKING), attempt=an_attempt("0", action=Action.LOCK))
    assert bundling_obstacle("5", "n", locking) is None


def test_a_member_that_has_replayed_holds_nobody_up() -> None:
    """The addition is over for its node once that has imported its block."""
    there = MemberProgress(
        enclave_key="member",
        verdict=Verdict.IN_SYNC,
        blocks_replayed=3,
        blocks_total=3,
        head=9,
        moved_at=START,
        in_sync_through=9,
    )
    other = replace(adding("0", state=State.REPLAYING), progress=(there,))
    assert precedence(adding("5"), other, RULES) is None
    assert bundling_obstacle("5", "n", other) is None
