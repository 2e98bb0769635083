"""Waiting for other lanes' additions to the same node, whatever the nodes of their groups say."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.engine.attempts.additions_under_way import AdditionsUnderWay
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import PmtOutcome
from orchestrator.membership.attempt import NODE_MARKER, Action
from orchestrator.membership.forecast.schedule import ReplayRules
from orchestrator.membership.model import Change, ExpectedReplay, State
from tests.fakes.changes import a_change, an_attempt
from tests.fakes.clock import JumpingClock
from tests.fakes.forecasts import a_safe_forecast
from tests.fakes.network import FakeNetwork, FakeNode
from tests.fakes.surveys import a_plan

REPLAYS = (ExpectedReplay(enclave_key="member", node="n", blocks=3, former=True),)
FORECAST = replace(a_safe_forecast(), replays=REPLAYS)


class Waiting:
    """Change 5 adds a former member on node n; another one, of a group that its nodes hold up, is under way there."""

    def __init__(self, other: Change, confirmations: int = 0) -> None:
        self.other = other
        self.network = FakeNetwork()
        self.node = FakeNode(self.network, "n", "member")
        self.watcher = ChainWatcher(self.node, JumpingClock())
        self.clock = JumpingClock()
        rules = ReplayRules(block_period=timedelta(seconds=2))
        fleet = Fleet([self.watcher])
        self.additions = AdditionsUnderWay(self.changes, rules, fleet, self.clock, confirmations)
        self.used_at: int | None = None
        self.node.account_nonce = self.account_nonce  # type: ignore[method-assign] # of the other one's marker

    async def changes(self) -> Sequence[Change]:
        return [self.other]

    async def account_nonce(self, account: str, block_number: int | None = None) -> int:
        assert self.other.attempt is not None
        assert account == self.other.attempt.marker.account
        used = self.used_at is not None and (block_number is None or block_number >= self.used_at)
        return self.other.attempt.marker.account_nonce + used

    async def mine(self, count: int) -> None:
        self.network.mine(count)
        await self.watcher.refresh()

    async def obstacles(self, lock_block: int, head: int) -> tuple[bool, bool, bool]:
        """Whether it waits before its lock, with its bundle, and with its marker."""
        mine = replace(adding("5"), lock_block=lock_block)
        return (
            await self.additions.busy(mine, FORECAST) is not None,
            await self.additions.replaying(mine, "n", head) is not None,
            await self.additions.precedence(mine) is not None,
        )


def adding(name: str, state: State = State.ADDING, action: Action = Action.ADD) -> Change:
    change = a_change(name)
    attempt = an_attempt(name, action=action, sent_block=5)
    return replace(change, lead_id=change.change_id, state=state, attempt=attempt, plan=a_plan(replays=REPLAYS))


@pytest.mark.parametrize("state", [State.ADDING, State.REPLAYING, State.UNLOCKING])
async def test_what_the_node_has_imported_holds_up_nobody(state: State) -> None:
    """The other group's nodes may deny for ever that the marker was mined, or burnt; the new member's own tells."""
    waiting = Waiting(adding("0", state))
    await waiting.mine(10)
    assert await waiting.obstacles(lock_block=8, head=8) == (True, True, True)
    waiting.used_at = 8
    assert await waiting.obstacles(lock_block=8, head=8) == (False, False, False)


async def test_what_was_imported_since_one_looked_is_waited_for() -> None:
    """Then the bundle may be torn, and the forecast of the new member's node old: this one begins anew."""
    waiting = Waiting(adding("0"))
    await waiting.mine(10)
    waiting.used_at = 9
    assert await waiting.obstacles(lock_block=8, head=8) == (False, True, True)
    deep = Waiting(adding("0"), confirmations=3)
    await deep.mine(10)
    deep.used_at = 9
    assert await deep.obstacles(lock_block=10, head=10) == (True, True, True), "it may be taken back yet"
    await deep.mine(2)
    assert await deep.obstacles(lock_block=12, head=12) == (False, False, False)


async def test_a_node_that_does_not_tell_is_waited_for() -> None:
    """Two replays at a time may halt it for good."""
    waiting = Waiting(adding("0"))
    await waiting.mine(10)
    waiting.used_at = 3
    waiting.additions = AdditionsUnderWay(
        waiting.changes, ReplayRules(block_period=timedelta(seconds=2)), Fleet([]), waiting.clock
    )
    assert await waiting.obstacles(lock_block=8, head=8) == (True, True, True)


async def test_a_marker_of_a_node_is_looked_for_by_its_hash() -> None:
    """Besu before 21.10.2: whose nonce it takes nobody knows."""
    other = adding("0")
    assert other.attempt is not None
    known = replace(NODE_MARKER, pmt_hash="0xpmt")
    waiting = Waiting(replace(other, attempt=replace(other.attempt, marker=known)))
    await waiting.mine(10)
    assert await waiting.obstacles(lock_block=8, head=8) == (True, True, True)
    mined = PmtOutcome(pmt_hash="0xpmt", block_number=9, block_hash="0x9")
    waiting.network.outcomes["0xpmt"] = mined
    assert await waiting.obstacles(lock_block=8, head=8) == (False, True, True), "behind the lock"
    waiting.network.outcomes["0xpmt"] = replace(mined, block_number=8)
    assert await waiting.obstacles(lock_block=8, head=8) == (False, False, False)


async def test_a_lock_alone_is_waited_for_some_blocks() -> None:
    """A group's nodes can keep its change in its lock for ever; before that sends its addition it looks at others'."""
    for state, action in ((State.LOCKING, Action.LOCK), (State.UNLOCKING, Action.UNLOCK)):
        waiting = Waiting(adding("0", state, action))
        await waiting.mine(10)
        assert await waiting.obstacles(lock_block=8, head=8) == (True, False, False)
        await waiting.clock.sleep(19)
        assert await waiting.obstacles(lock_block=8, head=8) == (True, False, False)
        await waiting.clock.sleep(2)
        assert await waiting.obstacles(lock_block=8, head=8) == (False, False, False)
        waiting.other = replace(waiting.other, tries=waiting.other.tries + 1)
        assert (await waiting.obstacles(lock_block=8, head=8))[0], "with its next try it is waited for anew"
