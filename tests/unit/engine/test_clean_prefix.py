"""Is a node's old state of a group a prefix of the group's history?"""

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.surveying import is_clean_prefix
from orchestrator.membership.model import GroupView
from tests.fakes.network import FakeNetwork, FakeNode


class Roots(FakeNode):
    """A node of which only the state roots matter, block by block; empty for no state."""

    def __init__(self, *roots: str) -> None:
        super().__init__(FakeNetwork(), "node")
        self.by_block = roots

    async def roots(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[GroupView, ...]:
        assert privacy_group_id == "g"
        found = [(number, self.by_block[number]) for number in block_numbers]
        return tuple(GroupView(block_number=n, exists=bool(root), state_root=root) for n, root in found)


def history(active: list[bool]) -> list[str]:
    """Return the root after each block: another one after each block in which something executed."""
    roots, executed = [""], 0
    for acts in active:
        executed += acts
        roots.append(f"0x{executed}" if executed else "")
    return roots


def is_clean(newcomer: list[str], healthy: list[str]) -> bool:
    newest = len(healthy) - 1
    return asyncio.run(is_clean_prefix(Roots(*newcomer), Roots(*healthy), "g", newest))


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.data())
def test_a_member_that_stopped_somewhere_is_clean(active: list[bool], data: st.DataObject) -> None:
    """A former member whose state stands still since any block of the history can be added again."""
    healthy = history([True, *active])
    stopped = data.draw(st.integers(1, len(healthy) - 1))
    assert is_clean([*healthy[:stopped], *[healthy[stopped]] * (len(healthy) - stopped)], healthy)


@given(st.integers(1, 30), st.integers(1, 30))
def test_a_member_that_lost_an_addition_is_clean(before: int, after: int) -> None:
    """Who had the addition at its block and has the state before it since then can be added again, wherever it was."""
    healthy = [*history([True] * before), "0xlocked", *["0xadded"] * (after + 1)]
    lost = [*history([True] * before), "0xlocked", "0xadded", *["0xlocked"] * after]
    assert is_clean(lost, healthy)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.data())
def test_a_member_that_went_another_way_is_not_clean(active: list[bool], data: st.DataObject) -> None:
    """A state that the history never had at that block stays out: adding it would stop its node for good."""
    healthy = history([True, *active])
    since = data.draw(st.integers(1, len(healthy) - 1))
    assert not is_clean([*healthy[:since], *["0xodd"] * (len(healthy) - since)], healthy)
