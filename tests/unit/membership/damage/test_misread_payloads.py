"""When a node may be announced that a private transaction is not there."""

from dataclasses import replace

import pytest

from orchestrator.membership.damage.misread_payloads import MisreadFacts, misread, suspicious

OLD = MisreadFacts(named=True, settled=True, executing=(), spent=True, next_names=False, next_executes=False)
COMING = replace(OLD, spent=False, next_names=True)


@pytest.mark.parametrize("facts", [OLD, replace(OLD, next_names=True), replace(OLD, next_executes=True), COMING])
def test_what_nothing_is_lost_by_is_not_found(facts: MisreadFacts) -> None:
    """It can't execute again, wherever it stands; or the next block is known, and does not execute it."""
    assert misread(facts).slug == "no_history"
    assert not misread(facts).passed
    assert not misread(facts).lasting, "the same key is given to whoever has to execute it later"


@pytest.mark.parametrize(
    ("facts", "slug"),
    [
        (replace(OLD, named=False), "not_named"),
        (replace(OLD, settled=False), "not_settled"),
        (replace(OLD, executing=(7,)), "executed_lately"),
        (replace(COMING, next_executes=True), "may_be_executed"),
        (replace(COMING, next_names=False), "may_be_executed"),
        (replace(COMING, settled=False), "not_settled"),
        (replace(COMING, executing=(7,)), "executed_lately"),
    ],
)
def test_what_the_node_may_be_about_to_execute_is_given(facts: MisreadFacts, slug: str) -> None:
    """Each way in which it could be executed in a block that the node may work on keeps it there."""
    decision = misread(facts)
    assert (decision.passed, decision.slug) == (True, slug)


@pytest.mark.parametrize(("times", "later", "looked_at"), [(1, 0, False), (2, 1, False), (3, 0, True), (1, 2, True)])
def test_importing_blocks_is_not_looked_at(times: int, later: int, looked_at: bool) -> None:
    """A validator asks twice; more often, or blocks later, asks who does not get on or meets a copy."""
    assert suspicious(times=times, blocks_later=later) is looked_at
