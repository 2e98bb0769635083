"""Signers that are away, refuse, or take their time, as the engine meets them."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.engine.ports.nodes import NodeError
from orchestrator.membership.attempt import Action
from orchestrator.membership.model import Change, State
from orchestrator.membership.reasons.table import Reason
from tests.unit.engine.conftest import GROUP, Rig, key

Before = Callable[[dict[str, Any]], Awaitable[None]]


def before_signing(rig: Rig, do: Before) -> None:
    """Let something happen each time that the engine wants a private transaction signed."""
    sign = rig.signers.sign

    async def signed(**given: Any) -> bytes:
        await do(given)
        return await sign(**given)

    rig.signers.sign = signed  # type: ignore[method-assign] # it waits before it signs


def failing(rig: Rig, slug: str, action: Action, times: int) -> None:
    """Let the signer fail so many times for transactions of an action."""
    left = [times]

    async def fail(given: dict[str, Any]) -> None:
        if f'"action": "{action.value}"'.encode() in given["payload"] and left[0]:
            left[0] -= 1
            raise NodeError(Reason(slug=slug, detail="as the test wants"))

    before_signing(rig, fail)


async def added(rig: Rig, **more: Any) -> Change:
    (change,) = await rig.until_at_rest(await rig.ask("add_members", "c", **more))
    return change


@pytest.mark.parametrize("action", [Action.LOCK, Action.ADD])
@pytest.mark.parametrize("times", [1, 9])
async def test_a_signer_that_is_away_is_waited_for(rig: Rig, action: Action, times: int) -> None:
    """However often it was away, before or under the lock, the addition is done in the end and the group unlocked."""
    await rig.group_of("a", "b")
    failing(rig, "signer_away", action, times)
    change = await added(rig)
    assert change.state is State.SUCCEEDED, change.reason
    group = rig.network.groups[GROUP]
    assert (key("c") in group.participants, group.locked) == (True, False)


async def test_a_lock_is_undone_once_its_signer_is_back(rig: Rig) -> None:
    """While the signer is away neither addition nor unlock can be signed: the unlock is tried until it is signed."""
    await rig.group_of("a", "b")
    states = []

    async def away(given: dict[str, Any]) -> None:
        change = rig.steps[-1][1]
        states.append(change.state)
        if states.count(State.ADDING) == 2 and change.state is State.ADDING:
            rig.clock.skip(1800)  # past the deadline
        if change.state is State.ADDING or (change.state is State.UNLOCKING and states.count(State.UNLOCKING) < 6):
            raise NodeError(Reason(slug="signer_away", detail="for long"))

    before_signing(rig, away)
    change = await added(rig, deadline_seconds=1800)
    assert change.state is State.FAILED
    assert states.count(State.UNLOCKING) >= 6
    assert not rig.network.groups[GROUP].locked


@pytest.mark.parametrize(("slug", "times"), [("signer_refused", 6), ("signer_wrong", 1)])
async def test_a_signer_that_does_not_sign_needs_a_person(rig: Rig, slug: str, times: int) -> None:
    """A refusal parks after five tries again, a wrong answer at once; nothing was locked or stored for it."""
    await rig.group_of("a", "b")
    executed = len(rig.network.executed)
    failing(rig, slug, Action.LOCK, 1_000)
    change = await added(rig)
    assert change.state is State.PARKED
    assert change.reason is not None
    assert (change.reason.slug, change.reason.times) == (slug, times)
    assert await rig.store.attempts(change.change_id) == ()
    assert len(rig.network.executed) == executed


async def test_an_addition_is_looked_at_after_it_was_signed(rig: Rig) -> None:
    """What somebody does to the group while its addition is signed is seen: that addition is not distributed."""
    await rig.group_of("a", "b")
    done: list[Action] = []

    async def meanwhile(given: dict[str, Any]) -> None:
        if b'"action": "add"' in given["payload"] and not done:
            done.append(Action.UNLOCK)
            rig.network.act(GROUP, Action.UNLOCK)
            await rig.clock.sleep(timedelta(seconds=1).total_seconds())

    before_signing(rig, meanwhile)
    change = await added(rig)
    assert done == [Action.UNLOCK]
    distributed = [raw for raw in rig.network.distributed.values() if b'"action": "add"' in raw]
    assert len(distributed) == 1  # that of the second try, under a lock of its own
    assert change.state is State.SUCCEEDED, change.reason
    executed = [call["action"] for call in rig.network.executed]
    assert executed[-4:] == ["lock", "unlock", "lock", "add"]
