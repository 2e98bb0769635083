"""What leaves for a node leaves while the lane is ours, by the clock of this process."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.engine.lanes.executor import Executor
from orchestrator.engine.ports.store import LeaseLostError
from orchestrator.engine.runtime.leases import Leases
from orchestrator.membership.commands import Command, Send, Sign
from orchestrator.membership.facts import Fact
from orchestrator.membership.model import Change, State
from tests.fakes.clock import START, JumpingClock

if TYPE_CHECKING:
    from tests.unit.engine.conftest import Rig

LEASE = timedelta(seconds=8)


async def test_a_lease_is_ours_until_it_is_over() -> None:
    """A lane that was claimed is ours until its lease is over; one that was prolonged, until the later moment."""
    clock = JumpingClock()
    leases = Leases(clock)
    leases.prolong(["a", "b"], START + LEASE)
    await clock.sleep(7.9)
    leases.prolong(["a"], clock.now() + LEASE)
    leases.require("b")
    await clock.sleep(0.1)
    leases.require("a")
    with pytest.raises(LeaseLostError, match="another replica may send now"):
        leases.require("b")


async def test_a_late_answer_does_not_shorten_a_lease() -> None:
    """What an older renewal says does not take back what a newer claim gave."""
    clock = JumpingClock()
    leases = Leases(clock)
    leases.prolong(["a"], START + LEASE)
    leases.prolong(["a"], START + LEASE / 2)
    await clock.sleep(5)
    leases.require("a")


async def test_a_clock_that_was_set_back_leaves_no_lease_for_an_hour() -> None:
    """After the next renewal a lease ends when the store's does, however far ahead the clock was before."""
    clock = JumpingClock()
    leases = Leases(clock)
    leases.prolong(["a"], START + timedelta(hours=1) + LEASE)
    leases.prolong(["a"], START + LEASE)
    leases.require("a")
    await clock.sleep(LEASE.total_seconds())
    with pytest.raises(LeaseLostError):
        leases.require("a")


async def test_a_lane_that_is_not_driven_is_not_ours() -> None:
    """Neither a lane that was never claimed nor one that is driven no more may be sent for."""
    leases = Leases(JumpingClock())
    leases.prolong(["a"], START + LEASE)
    leases.end("a")
    for group in "ab":
        with pytest.raises(LeaseLostError):
            leases.require(group)


@pytest.mark.parametrize(("command", "call"), [(Sign, "distribute"), (Send, "broadcast")])
async def test_who_stood_still_behind_the_look_at_the_store_sends_nothing(
    rig: "Rig", monkeypatch: pytest.MonkeyPatch, command: type, call: str
) -> None:
    """A process that stands still for longer than its lease, after it asked the store, sends nothing when it wakes."""
    await rig.group_of("a", "b")
    seen: list[str] = []
    perform, now = Executor.perform, rig.clock.now

    async def standing_still(executor: Executor, change: Change, given: Command) -> Fact:
        if not isinstance(given, command) or "woken" in seen:
            return await perform(executor, change, given)
        monkeypatch.setattr(rig.clock, "now", lambda: now() + rig.supervisor._rules.lease)
        seen.append("woken")
        try:
            return await perform(executor, change, given)
        finally:
            seen.append("done")

    monkeypatch.setattr(Executor, "perform", standing_still)
    for node in rig.nodes.values():
        monkeypatch.setattr(node, call, noting(getattr(node, call), seen))
    (ended,) = await rig.until_at_rest(await rig.ask("add_members", "c"))
    assert ended.state is State.SUCCEEDED
    assert "sent" not in seen[seen.index("woken") : seen.index("done")]
    assert "sent" in seen[seen.index("done") :]  # by who has the lane then


def noting(right: Callable[..., Awaitable[Any]], seen: list[str]) -> Callable[..., Awaitable[Any]]:
    async def noted(*arguments: Any) -> Any:
        answered = await right(*arguments)
        seen.append("sent")
        return answered

    return noted
