from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.engine.attempts.restored import Restoration, concerns, hindrance, is_done
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.membership.attempt import Action
from orchestrator.membership.commands import Sign, Survey
from orchestrator.membership.facts import AttemptSigned, Hindered, Surveyed
from orchestrator.membership.model import Change, GroupView, Kind, Plan, State
from orchestrator.membership.reasons.table import Reason
from tests.fakes.changes import a_change, led
from tests.fakes.clock import START
from tests.unit.engine.conftest import GROUP, OWNER, Rig, key

RESTORED = Restoration(at=START + timedelta(seconds=10), block=5)


def view(*members: str, exists: bool = True, locked: bool = False) -> GroupView:
    return GroupView(block_number=9, exists=exists, participants=members, locked=locked)


@pytest.mark.parametrize(
    ("kind", "shown", "done"),
    [
        (Kind.CREATE_GROUP, view("m", "n"), True),
        (Kind.CREATE_GROUP, view("n"), False),
        (Kind.CREATE_GROUP, view(exists=False), False),
        (Kind.ADD_MEMBERS, view("m"), True),
        (Kind.ADD_MEMBERS, view("n"), False),
        (Kind.REMOVE_MEMBERS, view("n"), True),
        (Kind.REMOVE_MEMBERS, view("m"), False),
        (Kind.REMOVE_MEMBERS, view(exists=False), False),
        (Kind.SET_MEMBERS, view("m"), True),
        (Kind.SET_MEMBERS, view("m", "n"), False),
        (Kind.UNLOCK_GROUP, view("m"), True),
        (Kind.UNLOCK_GROUP, view("m", locked=True), False),
    ],
)
def test_what_a_group_shows_says_whether_a_change_was_done(kind: Kind, shown: GroupView, done: bool) -> None:
    """Each kind of change is done when the group is as it asks for, and none is while there is no group."""
    assert is_done(a_change("1", kind=kind, members=("m",)), shown) is done


def test_only_changes_of_before_are_concerned() -> None:
    """What was accepted after the restoration, or asked for again by a person since, goes its way."""
    assert not concerns(None, a_change("1"))
    assert concerns(RESTORED, a_change("1", at=10))
    assert not concerns(RESTORED, a_change("1", at=11))
    assert not concerns(RESTORED, a_change("1", reason=Reason(slug="store_restored")))
    assert concerns(RESTORED, a_change("1", reason=Reason(slug="node_behind")))


def addition(rig: Rig) -> Change:
    """An addition from before the backup that had its plan, and nothing sent."""
    change = a_change("1", GROUP, account=OWNER, members=(key("c"),))
    plan = Plan(
        node="a",
        abi="bytes",
        to_add=(key("c"),),
        to_remove=(),
        participants=(key("a"), key("b")),
        version="",
        unlock_by_empty_add=False,
        first_block=rig.network.head.number,
    )
    return led(replace(change, created_at=rig.clock.now()), State.LOCKING, plan=plan)


def restored_now(rig: Rig) -> Restoration:
    return Restoration(at=rig.clock.now() + timedelta(seconds=1000), block=rig.network.head.number)


LOCK = Sign(action=Action.LOCK, members=())


async def test_a_group_that_was_left_alone_lets_a_change_go_on(rig: Rig) -> None:
    """Nothing happened to the group since the backup: the change is planned, and its first transaction signed."""
    await rig.group_of("a", "b")
    executor = replace(rig.executor, restoration=restored_now(rig))
    rig.network.mine(3)
    assert isinstance(await executor.perform(addition(rig), Survey()), Surveyed)
    assert isinstance(await executor.perform(addition(rig), LOCK), AttemptSigned)


async def test_a_change_that_was_undone_since_waits_for_a_person(rig: Rig) -> None:
    """The group was added to and removed from after the backup: neither a plan nor a transaction is made again."""
    await rig.group_of("a", "b")
    executor = replace(rig.executor, restoration=restored_now(rig))
    change = addition(rig)
    for action in (Action.LOCK, Action.ADD, Action.REMOVE):
        rig.network.act(GROUP, action, [] if action is Action.LOCK else [key("c")])
        rig.network.mine()
    for command in (Survey(), LOCK):
        fact = await executor.perform(change, command)
        assert isinstance(fact, Hindered)
        assert fact.reason.slug == "store_restored"
        assert "2 members then and has 2" in fact.reason.detail


async def test_a_change_that_was_done_since_is_planned(rig: Rig) -> None:
    """The member is in already: preflight finds it so, and nothing has to be sent."""
    await rig.group_of("a", "b")
    executor = replace(rig.executor, restoration=restored_now(rig))
    change = addition(rig)
    for action in (Action.LOCK, Action.ADD):
        rig.network.act(GROUP, action, [] if action is Action.LOCK else [key("c")])
        rig.network.mine()
    fact = await executor.perform(change, Survey())
    assert isinstance(fact, Surveyed)
    assert key("c") in fact.view.participants


async def test_a_lock_that_somebody_took_since_is_not_undone(rig: Rig) -> None:
    """An unlock of before the backup is not sent when the lock that is there now was taken after it."""
    await rig.group_of("a", "b")
    rig.network.act(GROUP, Action.LOCK)
    rig.network.mine()
    executor = replace(rig.executor, restoration=restored_now(rig))
    change = replace(addition(rig), kind=Kind.UNLOCK_GROUP, members=(), state=State.UNLOCKING)
    assert isinstance(await executor.perform(change, Survey()), Surveyed)
    for action in (Action.UNLOCK, Action.LOCK):
        rig.network.act(GROUP, action)
        rig.network.mine()
    for command in (Survey(), Sign(action=Action.UNLOCK, members=())):
        fact = await executor.perform(change, command)
        assert isinstance(fact, Hindered), fact
        assert fact.reason.slug == "store_restored"


async def test_not_knowing_what_happened_is_not_a_no(rig: Rig) -> None:
    """A node that does not answer for the block of the backup leaves the question open: the change is tried again."""
    await rig.group_of("a", "b")

    class Silent:
        async def view(self, privacy_group_id: str, block_number: int) -> GroupView:
            raise NodeError(Reason(slug="node_unreachable", detail=f"{privacy_group_id} at {block_number}"))

    with pytest.raises(NodeError):
        await hindrance(RESTORED, addition(rig), Silent(), view(key("a")))  # type: ignore[arg-type] # asked for one thing
