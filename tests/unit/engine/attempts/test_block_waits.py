"""Waiting for blocks before something is broadcast."""

import asyncio

import pytest

from orchestrator.engine.attempts.block_waits import caught_up
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError
from tests.fakes.clock import JumpingClock
from tests.fakes.network import FakeNetwork, FakeNode


class Three:
    """Three nodes; the first one sends."""

    def __init__(self) -> None:
        self.network = FakeNetwork()
        self.network.mine(5)
        self.nodes = [FakeNode(self.network, f"node-{key}", key) for key in "abc"]
        self.fleet = Fleet([ChainWatcher(node, JumpingClock()) for node in self.nodes])
        self.sender = self.fleet.watchers[0]

    async def hold(self, *at: int | None) -> None:
        """Let nodes stand at blocks."""
        for node, watcher, number in zip(self.nodes, self.fleet.watchers, at, strict=True):
            node.held_at = number
            await watcher.refresh()


async def test_a_node_that_is_a_block_behind_two_others_is_waited_for() -> None:
    """What another client did under our lock may be in that block."""
    three = Three()
    await three.hold(4, None, None)
    waiting = asyncio.create_task(caught_up(three.fleet, three.sender))
    await asyncio.sleep(0)
    assert not waiting.done()
    await three.hold(None, None, None)
    await waiting


async def test_a_block_that_one_node_alone_tells_of_is_not_waited_for() -> None:
    """It may overstate its head; and who is the newest itself waits for nobody."""
    three = Three()
    await three.hold(4, 4, None)
    await caught_up(three.fleet, three.sender)
    first = Three()
    await first.hold(None, 4, 4)
    await caught_up(first.fleet, first.sender)


async def test_a_node_that_does_not_get_the_block_sends_nothing() -> None:
    """The lock is undone, through whatever node."""
    three = Three()
    await three.hold(4, None, None)
    with pytest.raises(NodeError):
        await caught_up(three.fleet, three.sender)
