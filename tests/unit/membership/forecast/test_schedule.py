"""What has to wait for what on one node."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import product

from orchestrator.membership.forecast.schedule import (
    NodeAddition,
    PendingMarker,
    ReplayRules,
    addition_obstacle,
    marker_obstacle,
)

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
