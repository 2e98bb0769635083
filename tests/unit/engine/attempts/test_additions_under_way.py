"""Who stands in line behind another addition, and for how long that one's own lane is believed."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.engine.attempts.additions_under_way import IN_LINE_BLOCKS, AdditionsUnderWay
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import PmtOutcome
from orchestrator.membership.attempt import NODE_MARKER, Action, AttemptStatus
from orchestrator.membership.facts import GaveWay, Hindered
from orchestrator.membership.forecast.schedule import ReplayRules
from orchestrator.membership.forecast.verdict import Forecast
from orchestrator.membership.model import Change, ExpectedReplay, State
from tests.fakes.changes import a_change, an_attempt
from tests.fakes.clock import JumpingClock
from tests.fakes.network import FakeNetwork, FakeNode
from tests.fakes.surveys import a_plan, an_effect

PERIOD = timedelta(seconds=2)
REPLAYS = (ExpectedReplay(enclave_key="c", node="node-c", blocks=3, former=True),)
FORECAST = Forecast(privacy_group_id="g", block_number=20, block_hash="0x20", sender=None, replays=REPLAYS)


class Line:
    """A change that stands behind another one of the same node."""

    def __init__(self, ahead: Change) -> None:
        self.network = FakeNetwork()
        self.network.mine(20)
        self.node = FakeNode(self.network, "node-c", "c")
        self.clock = JumpingClock()
        fleet = Fleet([ChainWatcher(self.node, self.clock)])
        self.watcher = fleet.watchers[0]
        self.ahead = [ahead]
        self.under_way = AdditionsUnderWay(self.others, ReplayRules(block_period=PERIOD), fleet, self.clock, 1)
        self.mine = adding("5")

    async def others(self) -> Sequence[Change]:
        return self.ahead

    async def waits(self) -> bool:
        """Whether it stands in line still, after a while in which the other one did not get on."""
        await self.watcher.refresh()
        assert await self.under_way.busy(self.mine, FORECAST) is not None, "at first it does"
        self.clock.time += IN_LINE_BLOCKS * PERIOD
        looks = (
            await self.under_way.busy(self.mine, FORECAST),
            await self.under_way.replaying(self.mine, "node-c"),
            await self.under_way.before(self.mine),
        )
        return any(look is not None for look in looks)

    def spends(self, account: str) -> None:
        """Mine a transaction of an account, and as many blocks as count as for good."""
        self.network._spenders.append((account, self.network.head.number + 1))
        self.network.mine(2)


def adding(name: str, state: State = State.ADDING, action: Action = Action.ADD, **attempt: Any) -> Change:
    signed = an_attempt(name, action=action, **attempt)
    change = a_change(name, state=state, plan=a_plan(replays=REPLAYS), attempt=signed)
    return replace(change, lead_id=change.change_id)


async def test_who_only_holds_a_lock_is_waited_for_a_while() -> None:
    """Its node may never let it get on; once it has signed its addition it looks at the others itself."""
    assert not await Line(adding("1", State.LOCKING, Action.LOCK)).waits()
    assert not await Line(adding("1", State.UNLOCKING, Action.UNLOCK)).waits()


@pytest.mark.parametrize("state", [State.ADDING, State.UNLOCKING, State.REPLAYING])
async def test_a_signed_addition_is_over_once_the_node_itself_has_what_its_account_signed(state: State) -> None:
    """The marker, or what burns it, in a block of the node that replays: whatever the group's own lane was told."""
    status = AttemptStatus.EFFECTIVE if state is State.REPLAYING else AttemptStatus.SENT
    other = adding("1", state, status=status, sent_block=5)
    assert other.attempt is not None
    assert await Line(other).waits()
    line = Line(other)
    line.spends("somebody else")
    assert await line.waits()
    line = Line(other)
    line.spends(other.attempt.marker.account)
    assert not await line.waits()


async def test_a_marker_that_a_node_signed_is_looked_for_by_its_hash() -> None:
    """Its account is not known."""
    other = adding("1", marker=replace(NODE_MARKER, pmt_hash="0xpmt"), status=AttemptStatus.SENT, sent_block=5)
    assert await Line(other).waits()
    line = Line(other)
    line.network.outcomes["0xpmt"] = PmtOutcome(pmt_hash="0xpmt", block_number=19, block_hash="0x19")
    assert not await line.waits()
    line.network.outcomes["0xpmt"] = PmtOutcome(pmt_hash="0xpmt", block_number=20, block_hash="0x20")
    assert await line.under_way.busy(line.mine, FORECAST) is not None, "not deep enough"


async def test_an_addition_of_somebody_else_is_over_behind_its_block() -> None:
    """Nothing of ours is on its way."""
    other = replace(adding("1", State.REPLAYING, Action.UNLOCK), effect=an_effect(19))
    assert not await Line(other).waits()
    assert await Line(replace(other, effect=an_effect(20))).waits()


async def test_a_node_that_does_not_tell_frees_nobody() -> None:
    """Nor one whose head is not known."""
    other = adding("1", status=AttemptStatus.SENT, sent_block=5)
    assert other.attempt is not None
    line = Line(other)
    line.spends(other.attempt.marker.account)
    await line.watcher.refresh()
    await line.under_way.busy(line.mine, FORECAST)
    line.clock.time += IN_LINE_BLOCKS * PERIOD
    line.node.down = True
    assert await line.under_way.busy(line.mine, FORECAST) is not None
    line.watcher.head = None
    assert await line.under_way.busy(line.mine, FORECAST) is not None


async def test_each_try_of_the_other_is_waited_for_anew() -> None:
    """What it signs next is another addition."""
    line = Line(adding("1", State.LOCKING, Action.LOCK))
    assert not await line.waits()
    line.ahead = [replace(line.ahead[0], tries=1)]
    assert await line.under_way.busy(line.mine, FORECAST) is not None


async def test_an_addition_gives_way_to_one_that_was_sent_and_waits_for_a_younger_one_to_do_so() -> None:
    """What was forecast for it does not hold behind the other's replay."""
    for other, fact in ((adding("9"), Hindered), (adding("9", sent_block=5), GaveWay), (adding("1"), GaveWay)):
        line = Line(other)
        await line.watcher.refresh()
        assert isinstance(await line.under_way.before(line.mine), fact)
