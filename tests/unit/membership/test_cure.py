"""Whether members that fell back may be removed and added again."""

from dataclasses import replace

import pytest

from orchestrator.membership.cure import Split, Witness, own_way_trouble, split_of
from orchestrator.membership.forecast.histories import GroupBlock, GroupHistory
from orchestrator.membership.machine import step
from orchestrator.membership.model import Kind, Repair, State
from orchestrator.membership.reasons.table import Reason
from tests.fakes.changes import a_change
from tests.fakes.clock import START
from tests.fakes.surveys import NEW, OLD, SECOND, a_member, a_survey, a_view

PMT = "0x" + "12" * 32
MEMBERS = ("s", "n", "m")


def witness(key: str, executed: bool | None, *, participants: tuple[str, ...] = MEMBERS, new: bool = False) -> Witness:
    return Witness(
        node=f"node-{key}",
        enclave_keys=(key,),
        executed=executed,
        block_number=None if executed is None else 9,
        participants=participants,
        new=new,
    )


FELL_BACK = (witness("s", True), witness("n", True, new=True), witness("m", False, participants=("s", "m")))


def test_a_split_names_who_shows_what_the_group_is() -> None:
    """Sender and new member executed it, the third member refused it: that one is well."""
    found = split_of(PMT, ("s", "n"), FELL_BACK, {})
    assert found == Split(pmt_hash=PMT, block_number=9, well=frozenset({"m"}))


def test_what_old_members_executed_is_no_stale_addition() -> None:
    """Only sender and new members have its bundle: who refuses what two old members executed differs itself."""
    honest = (*FELL_BACK[:2], witness("o", True, participants=(*MEMBERS, "o")), FELL_BACK[2])
    found = split_of(PMT, ("s", "n", "o"), honest, {})
    assert isinstance(found, Reason)
    assert (found.slug, "node-s, node-o executed" in found.detail) == ("cure_does_not_fit", True)


def test_a_member_that_came_later_neither_helps_nor_hinders() -> None:
    """Its node has no receipt of the addition: it shows nothing of it."""
    assert isinstance(split_of(PMT, ("s", "n"), (*FELL_BACK, witness("later", None)), {}), Split)


@pytest.mark.parametrize(
    ("members", "witnesses", "unseen", "slug"),
    [
        (("s",), FELL_BACK, {}, "cure_does_not_fit"),
        (("s", "n", "m"), FELL_BACK, {}, "cure_does_not_fit"),
        (("s", "n"), FELL_BACK[:2], {}, "cure_does_not_fit"),
        (("s", "n"), (*FELL_BACK[:2], witness("m", False, participants=("s",))), {}, "cure_does_not_fit"),
        (("s", "n"), FELL_BACK[:2], {"node-m": "refused"}, "node_unreachable"),
        (("s", "n"), FELL_BACK[1:], {"node-s": "refused"}, "node_unreachable"),
    ],
)
def test_what_is_no_such_split_is_told_and_silence_is_waited_for(
    members: tuple[str, ...], witnesses: tuple[Witness, ...], unseen: dict[str, str], slug: str
) -> None:
    """All that fell back have to come back, none else, and somebody must show what is right; silence says neither."""
    found = split_of(PMT, members, witnesses, unseen)
    assert isinstance(found, Reason)
    assert found.slug == slug


def history(*numbers: int) -> GroupHistory:
    blocks = tuple(GroupBlock(number=n, block_hash="", state_root=f"true-{n}") for n in numbers)
    return GroupHistory(privacy_group_id="G", blocks=blocks, through=12, through_hash="")


@pytest.mark.parametrize(
    ("roots", "executed", "trouble"),
    [
        ({8: "true-5", 9: "a", 10: "a", 11: "a", 12: "a"}, [9], None),
        ({8: "true-5", 9: "a", 10: "b", 11: "b", 12: "b"}, [9, 10], None),
        ({8: "true-5", 9: "a", 10: "a", 11: "c", 12: "c"}, [9, 11], "as others did"),
        ({8: "true-5", 9: "a", 10: "true-5", 11: "true-5", 12: "true-5"}, [9], "executed nothing"),
        ({8: "true-5", 9: "true-5", 10: "true-5", 11: "true-5", 12: "true-5"}, [], "same state"),
        ({8: "lock", 9: "a", 10: "a", 11: "a", 12: "a"}, [9], "those who refused the addition never had"),
    ],
)
def test_a_node_replays_all_only_if_its_newest_transaction_is_in_no_history(
    roots: dict[int, str], executed: list[int], trouble: str | None
) -> None:
    """What it executed alone is fine; what others executed, too, or what nothing explains, is not risked.

    Nor is where it came from a state that is none of theirs: then they may be the ones that lost something.
    """
    found = own_way_trouble(history(2, 5, 11), 9, roots, executed)
    assert (found is None) if trouble is None else (found is not None and trouble in found)


CURE = replace(
    a_change("cure", kind=Kind.CURE_GROUP, members=(SECOND, NEW), state=State.PREFLIGHT),
    repair=Repair(members=(SECOND, NEW), since_block=0, stale_pmt=PMT),
)


@pytest.mark.parametrize(
    ("participants", "moved", "removed", "to_remove"),
    [
        ((OLD, SECOND, NEW), {}, None, (SECOND, NEW)),
        ((OLD, SECOND), {}, None, (SECOND,)),
        ((OLD, NEW), {SECOND: 15}, None, (NEW,)),
        ((OLD, NEW), {}, 15, (NEW,)),
        ((OLD,), {SECOND: 15, NEW: 16}, None, ()),
    ],
)
def test_who_is_listed_is_removed_and_all_are_added_in_one_call(
    participants: tuple[str, ...], moved: dict[str, int], removed: int | None, to_remove: tuple[str, ...]
) -> None:
    """Also where a removal was mined that nobody here knows of, and after a life that ended between two removals."""
    members = [a_member(key, agrees=False, moved_block=moved.get(key)) for key in (SECOND, NEW)]
    seen = a_survey(*members, view=a_view(participants=participants))
    change = (
        CURE
        if removed is None or CURE.repair is None
        else replace(CURE, repair=replace(CURE.repair, removed_block=removed))
    )
    after = step(change, seen, START)
    assert after.state is (State.REMOVING if to_remove else State.LOCKING), after.reason
    assert after.plan is not None
    assert (after.plan.to_add, after.plan.to_remove) == ((SECOND, NEW), to_remove)


def test_a_member_that_somebody_added_again_is_left_to_a_person() -> None:
    """It may be well by now, and whoever did it had a reason."""
    members = [a_member(SECOND, agrees=False, moved_block=15), a_member(NEW, agrees=False)]
    after = step(CURE, a_survey(*members, view=a_view(participants=(OLD, SECOND, NEW))), START)
    assert after.reason is not None
    assert (after.state, after.reason.slug) == (State.PARKED, "repair_overtaken")
