"""Finding the blocks of a group by its state roots."""

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.history.changes import ROOTS_AT_ONCE, Bounds, FoundChanges, scan_changes, split_changes
from orchestrator.membership.model import GroupView
from tests.fakes.network import FakeNetwork, FakeNode


class Roots(FakeNode):
    """A node of which only the state roots matter, block by block; empty for no state."""

    def __init__(self, roots: Sequence[str]) -> None:
        super().__init__(FakeNetwork(), "node")
        self.by_block = roots
        self.asked = 0
        self.largest = 0

    async def roots(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[GroupView, ...]:
        assert privacy_group_id == "g"
        self.asked += len(block_numbers)
        self.largest = max(self.largest, len(block_numbers))
        found = [(number, self.by_block[number]) for number in block_numbers]
        return tuple(GroupView(block_number=n, exists=bool(root), state_root=root) for n, root in found)


def healthy(blocks: Sequence[int], head: int) -> list[str]:
    """The root after each block: another one after each of these."""
    roots = [""]
    for number in range(1, head + 1):
        roots.append(f"root {number}" if number in blocks else roots[-1])
    return roots


def expected(blocks: Sequence[int]) -> tuple[tuple[int, str], ...]:
    return tuple((number, f"root {number}") for number in sorted(blocks))


def split(node: Roots, low: int, low_root: str, most: int = 100_000, changes: int = 1_000) -> FoundChanges:
    return asyncio.run(
        split_changes(node, "g", low, low_root, len(node.by_block) - 1, Bounds(roots=most, changes=changes))
    )


def scan(node: Roots, low: int, known: Sequence[str], most: int = 100_000, changes: int = 1_000) -> FoundChanges:
    return asyncio.run(scan_changes(node, "g", low, known, len(node.by_block) - 1, Bounds(roots=most, changes=changes)))


histories = st.lists(st.integers(1, 400), unique=True).map(sorted)


@given(histories, st.integers(1, 20))
def test_a_part_ends_after_so_many_changes(blocks: list[int], most: int) -> None:
    """What is found in a part is examined and kept before more is looked for."""
    roots = healthy(blocks, 400)
    for found in (split(Roots(roots), 0, "", changes=most), scan(Roots(roots), 0, [], changes=most)):
        assert found.changes == expected([number for number in blocks if number <= found.through])
        assert found.through == 400 or len(found.changes) >= most


@given(histories, st.integers(0, 200))
def test_splitting_finds_every_block(blocks: list[int], low: int) -> None:
    """From wherever it begins, each block after which the root is another is found, with that root."""
    roots = healthy(blocks, 400)
    found = split(Roots(roots), low, roots[low])
    assert found.changes == expected([number for number in blocks if number > low])
    assert found.through == 400


@given(histories, st.integers(1, 60))
def test_what_a_bound_cuts_off_is_found_the_next_time(blocks: list[int], most: int) -> None:
    """Parts that follow each other come to the same as one reading of all."""
    roots = healthy(blocks, 400)
    node, through = Roots(roots), 0
    changes: list[tuple[int, str]] = []
    for _ in range(2_000):
        found = split(node, through, roots[through], most)
        changes += found.changes
        assert found.through > through or found.roots_read >= most
        if found.through == through:
            most *= 2  # one part has to reach a change: the bound was smaller than that takes
        through = found.through
        if through == 400:
            break
    assert tuple(changes) == expected(blocks)


def test_a_quiet_time_costs_one_call() -> None:
    """Between two equal roots nothing happened, however far they are apart."""
    node = Roots(healthy([3], 50_000))
    assert split(node, 3, "root 3").changes == ()
    assert node.asked == 1


def test_a_few_blocks_in_a_long_chain_cost_few_roots() -> None:
    """Each block costs about as many roots as the chain's length has binary digits."""
    node = Roots(healthy([10, 30_000, 49_999], 50_000))
    assert split(node, 0, "").changes == expected([10, 30_000, 49_999])
    assert node.asked < 3 * 2 * 16
    assert node.largest <= ROOTS_AT_ONCE


@given(histories, st.data())
def test_scanning_finds_every_block_of_a_damaged_node(blocks: list[int], data: st.DataObject) -> None:
    """A node whose roots fall back between the group's blocks answers right at those blocks themselves."""
    roots = healthy(blocks, 400)
    for _ in range(data.draw(st.integers(0, 6))):
        start = data.draw(st.integers(1, 399))
        for number in range(start, min(start + data.draw(st.integers(1, 30)), 400)):
            if number not in blocks:
                roots[number] = roots[data.draw(st.integers(0, start))]
    low = data.draw(st.integers(0, 100))
    known = [f"root {number}" for number in blocks if number <= low]
    found = scan(Roots(roots), low, known)
    assert found.changes == expected([number for number in blocks if number > low])


def test_a_long_scan_goes_on_where_it_was_left() -> None:
    """A bound on the roots ends a part; the next begins behind it."""
    node = Roots(healthy([2, 700, 1_500], 2_000))
    first = scan(node, 0, [], most=1_000)
    assert first.through < 2_000
    second = scan(node, first.through, [root for _, root in first.changes], most=2_000)
    assert (*first.changes, *second.changes) == expected([2, 700, 1_500])
