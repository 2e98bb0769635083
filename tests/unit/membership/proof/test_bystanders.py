"""Other groups of a new member's node: what counts as rolled back by the replay, and what does not."""

from dataclasses import replace

import pytest

from orchestrator.membership import facts
from orchestrator.membership.facts import Bystander, Bystanders
from orchestrator.membership.machine import step
from orchestrator.membership.model import Effect, State
from orchestrator.membership.proof.bystanders import MOST_NAMED, is_contradicted, remarks, rollback, was_rolled_back
from tests.fakes.changes import a_change
from tests.fakes.clock import START
from tests.fakes.surveys import NEW, OLD, SECOND, a_plan, an_effect, observed, seen

SEEN = Bystander(
    privacy_group_id="other",
    enclave_key=NEW,
    node="new's node",
    block_before=11,
    block_number=14,
    root_before="two",
    root="two",
    others_before=("two",),
    others=("two",),
)
ALONE = replace(SEEN, others_before=(), others=())
FALLEN = replace(SEEN, root="one", older=("one",))
EFFECT = an_effect(12)


@pytest.mark.parametrize(
    "group",
    [
        replace(SEEN, root="one", older=("one",)),
        replace(SEEN, root="one", others=("three", "three"), others_before=("two", "two")),
        replace(SEEN, root="two", others=("three", "three")),
        replace(SEEN, root=""),
        replace(SEEN, root="one", others=("two", "two"), others_before=("two", "two")),
        replace(ALONE, root="one", older=("one", "zero")),
        replace(ALONE, root=""),
    ],
)
def test_a_group_that_fell_back_is_told(group: Bystander) -> None:
    """It has not what the other members have, or it has again what it had long before."""
    assert was_rolled_back(group)


@pytest.mark.parametrize(
    "group",
    [
        SEEN,
        replace(SEEN, root="three", others=("three",)),
        replace(SEEN, root="one", root_before="one"),
        replace(SEEN, root="three", others=("three", "one"), others_before=("two", "two")),
        replace(SEEN, root="three", others=("one",), older=("one",)),
        ALONE,
        replace(ALONE, root="three", older=("one",)),
    ],
)
def test_a_group_that_goes_on_or_differed_before_is_not(group: Bystander) -> None:
    """A transaction moved it on; or it was damaged long ago; or it is the other member that fell back."""
    assert not was_rolled_back(group)


@pytest.mark.parametrize("root", ["two", "new"])
def test_what_one_other_node_says_alone_is_told_and_parks_nothing(root: str) -> None:
    """Who runs one member's node can't hold up an addition to a group that it is not in, whatever root it shows."""
    for others in (("three",), ("three", "four")):
        group = replace(SEEN, root=root, others=others, older=("one",))
        assert is_contradicted(group)
        assert rollback([group]) is None
        (said,) = remarks(Bystanders(groups=(SEEN, group)))
        assert said.startswith("group other on node new's node at block 14 has not the state of other members")
    assert remarks(Bystanders(groups=(SEEN, ALONE, replace(SEEN, root="one", older=("one",))))) == ()


def test_few_of_the_contradicted_groups_are_named() -> None:
    """The history has a line of bounded length, which says how many there are, and how many were not compared."""
    groups = tuple(replace(SEEN, privacy_group_id=f"g{n}", others=("three",)) for n in range(MOST_NAMED + 2))
    said = remarks(Bystanders(groups=groups, left_out=3))
    assert len(said) == MOST_NAMED + 2
    assert said[-2:] == ("2 more such groups", "7 other groups of the new members' nodes compared, 3 left out")


def test_the_reason_names_group_block_and_node() -> None:
    """Each of the first few, and how many more there are."""
    fallen = [replace(FALLEN, privacy_group_id=f"g{n}") for n in range(MOST_NAMED + 2)]
    reason = rollback([SEEN, *fallen])
    assert reason is not None
    assert (reason.slug, reason.members) == ("other_group_rolled_back", (NEW,))
    assert "group g0 on node new's node at block 14" in reason.detail
    assert reason.detail.endswith("and 2 more")
    assert rollback([SEEN]) is None


def proof(bystanders: Bystanders | None, effect: Effect = EFFECT) -> facts.ConvergenceObserved:
    everybody = (seen(key, 12, 13, 14, effect=effect) for key in (OLD, SECOND, NEW))
    return observed(*everybody, effect=effect, head=14, bystanders=bystanders)


@pytest.mark.parametrize(
    ("bystanders", "state"),
    [
        (None, State.REPLAYING),
        (Bystanders(groups=(SEEN,)), State.SUCCEEDED),
        (Bystanders(groups=(replace(SEEN, others=("three",)),)), State.SUCCEEDED),
        (Bystanders(groups=(FALLEN,)), State.PARKED),
    ],
)
def test_an_addition_is_proven_with_the_other_groups_only(bystanders: Bystanders | None, state: State) -> None:
    """The member is in sync; not before its node's other groups were looked at has the addition succeeded."""
    change = a_change("a", state=State.REPLAYING, lead_id="change-a", members=(NEW,), plan=a_plan(), effect=EFFECT)
    after = step(change, proof(bystanders), START)
    assert after.state is state
    assert (after.reason.slug if after.reason else None) == (
        "other_group_rolled_back" if state is State.PARKED else None
    )
