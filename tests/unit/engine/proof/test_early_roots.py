"""A proof's roots cost what its blocks hold: empty ones are told by what follows them."""

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Head
from orchestrator.engine.proof.early_roots import EarlyRoots
from orchestrator.membership.model import GroupView
from tests.fakes.clock import JumpingClock
from tests.fakes.network import FakeNetwork, FakeNode


class Showing(FakeNode):
    """A node of which only heads and roots matter; what it tells of its blocks is the number of transactions."""

    def __init__(self, roots: Sequence[str], transactions: Mapping[int, int | None]) -> None:
        super().__init__(FakeNetwork(), "n", "N")
        self.by_block = list(roots)
        self.transactions = transactions
        self.number = 0
        self.asked: list[int] = []

    async def head(self) -> Head:
        told = self.transactions.get(self.number)
        return Head(
            number=self.number,
            block_hash=f"block {self.number}",
            parent_hash=f"block {self.number - 1}",
            transactions=None if told is None else tuple(f"{self.number}.{n}" for n in range(told)),
        )

    async def roots(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[GroupView, ...]:
        assert privacy_group_id == "g"
        self.asked += block_numbers
        found = [(number, self.by_block[number]) for number in block_numbers]
        return tuple(GroupView(block_number=n, exists=bool(root), state_root=root) for n, root in found)


async def proof(node: Showing, last: int) -> list[str]:
    """Read as a proof does that waits for its blocks: each when it comes, all of them at the last."""
    watcher, early = ChainWatcher(node, JumpingClock()), EarlyRoots()
    for number in range(1, last + 1):
        node.number = number
        await watcher.refresh()
        if number < last:
            await early.read([watcher], "g", number)
    return [view.state_root for view in await early.roots(watcher, "g", range(1, last + 1))]


async def test_blocks_that_hold_nothing_cost_one_root() -> None:
    """The last of them shows what all of them did."""
    node = Showing(["", "a", "a", "a"], {1: 0, 2: 0, 3: 0})
    assert await proof(node, 3) == ["a", "a", "a"]
    assert node.asked == [3]


async def test_a_block_with_transactions_is_looked_at_as_it_comes() -> None:
    """And so is the last empty one before it, whose head map that block may have left."""
    node = Showing(["", "a", "a", "b", "b"], {1: 0, 2: 0, 3: 2, 4: 0})
    assert await proof(node, 4) == ["a", "a", "b", "b"]
    assert sorted(node.asked) == [2, 3, 4]
    assert node.asked[0] == 3


async def test_blocks_of_which_nothing_is_told_are_all_looked_at() -> None:
    """Not knowing what a block holds is not knowing that it holds nothing."""
    node = Showing(["", "a", "a", "a"], {})
    assert await proof(node, 3) == ["a", "a", "a"]
    assert sorted(node.asked) == [1, 2, 3]


@given(st.lists(st.tuples(st.sampled_from([None, 0, 1, 3]), st.sampled_from("abc")), min_size=1, max_size=12))
async def test_what_is_told_is_what_each_block_shows(blocks: list[tuple[int | None, str]]) -> None:
    """Whatever blocks hold and do, and however much is told of them, each root is the one that its block shows."""
    roots = [""]
    for transactions, root in blocks:
        roots.append(roots[-1] if transactions == 0 and len(roots) > 1 else root)
    node = Showing(roots, {number: told for number, (told, _) in enumerate(blocks, 1)})
    assert await proof(node, len(blocks)) == roots[1:]
    assert len(node.asked) <= len(blocks)
