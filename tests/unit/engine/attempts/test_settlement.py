"""How an attempt ended, when the chain changes while it is asked."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from orchestrator.engine.ports.nodes import Block
from orchestrator.membership.model import GroupView, State
from tests.fakes.network import FakeNode
from tests.unit.engine.conftest import GROUP, Rig, key


class WithoutAddition:
    """A node that shows a group at the block of an addition without it.

    With `branched` it does so because it has another block in its place, until it was asked for that block.
    """

    def __init__(self, node: FakeNode, monkeypatch: pytest.MonkeyPatch, *, branched: bool) -> None:
        self._node = node
        self._view, self._block = node.view, node.block
        self._branched = branched
        self.read = 0
        self.left = False
        for name in ("roots", "view", "block"):
            monkeypatch.setattr(node, name, getattr(self, name))

    async def roots(self, group: str, numbers: Sequence[int]) -> tuple[GroupView, ...]:
        return tuple([await self._before(group, number) for number in numbers])

    async def view(self, group: str, number: int) -> GroupView:
        return await self._before(group, number)

    async def block(self, number: int) -> Block:
        block = await self._block(number)
        if self.left or not self._branched or not self._adds(GROUP, number):
            return block
        self.left = True
        return replace(block, block_hash="0x" + 64 * "b")

    async def _before(self, group: str, number: int) -> GroupView:
        if self.left or not self._adds(group, number):
            return await self._view(group, number)
        self.read += 1
        return replace(await self._view(group, number - 1), block_number=number)

    def _adds(self, group: str, number: int) -> bool:
        view = self._node.network.groups[group].views.get(number) if group in self._node.network.groups else None
        return view is not None and key("c") in view.participants


async def test_members_on_two_branches_are_not_apart(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member's node that has another block in the place of the addition's tells nothing, and is asked again."""
    await rig.group_of("a", "b")
    other = WithoutAddition(rig.nodes["b"], monkeypatch, branched=True)
    (change,) = await rig.until_at_rest(await rig.ask("add_members", "c"))
    assert change.state is State.SUCCEEDED, change.reason
    assert other.read > 0
    assert other.left


async def test_members_that_differ_in_one_block_are_apart(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member's node that has the addition's block and did not execute it is split off, which a person is told."""
    await rig.group_of("a", "b")
    WithoutAddition(rig.nodes["b"], monkeypatch, branched=False)
    (change,) = await rig.until_at_rest(await rig.ask("add_members", "c"))
    assert change.state is State.PARKED
    assert change.reason is not None
    assert change.reason.slug == "group_split"
