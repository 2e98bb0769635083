"""Finding the blocks of a group by its state roots."""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.history.changes import (
    NARROW,
    ROOTS_AT_ONCE,
    WIDE,
    Bounds,
    FoundChanges,
    scan_changes,
    split_changes,
)
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.membership.model import GroupView
from tests.fakes.network import FakeNetwork, FakeNode


class Roots(FakeNode):
    """A node of which only the state roots matter, block by block; empty for no state.

    Args:
        roots: The group's.
        busy: The blocks that have a transaction; None for all.
    """

    def __init__(self, roots: Sequence[str], busy: Sequence[int] | None = None) -> None:
        super().__init__(FakeNetwork(), "node")
        self.by_block = roots
        self.busy = range(1, len(roots)) if busy is None else sorted(busy)
        self.asked = 0
        self.looks = 0
        self.branch = "first"
        self.left_at: int | None = None
        self.largest = 0

    async def public_roots(self, block_numbers: Sequence[int]) -> tuple[tuple[str, str], ...]:
        self.looks += len(block_numbers)
        self.largest = max(self.largest, len(block_numbers))
        if self.left_at is not None and self.looks >= self.left_at:
            self.branch = "another"
        moved = [bisect_right(self.busy, number) for number in block_numbers]
        return tuple((f"{self.branch} {n}", f"after {m} blocks") for n, m in zip(block_numbers, moved, strict=True))

    async def roots(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[GroupView, ...]:
        assert privacy_group_id == "g"
        self.asked += len(block_numbers)
        self.largest = max(self.largest, len(block_numbers))
        found = [(number, self.by_block[number]) for number in block_numbers]
        return tuple(GroupView(block_number=n, exists=bool(root), state_root=root) for n, root in found)


def healthy(blocks: Sequence[int], head: int) -> list[str]:
    """The root after each block: another one after each of these."""
    roots, changed = [""], set(blocks)
    for number in range(1, head + 1):
        roots.append(f"root {number}" if number in changed else roots[-1])
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
        assert found.through > through or found.calls >= most
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


def damaged(data: st.DataObject, blocks: Sequence[int], head: int) -> list[str]:
    """Roots that fall back between the group's blocks, which answer right themselves."""
    roots = healthy(blocks, head)
    for _ in range(data.draw(st.integers(0, 6))):
        start = data.draw(st.integers(1, head - 1))
        for number in range(start, min(start + data.draw(st.integers(1, 30)), head)):
            if number not in blocks:
                roots[number] = roots[data.draw(st.integers(0, start))]
    return roots


@given(histories, st.lists(st.integers(1, 400), max_size=40), st.data())
def test_scanning_finds_every_block_of_a_damaged_node(
    blocks: list[int], others: list[int], data: st.DataObject
) -> None:
    """A node whose roots fall back between the group's blocks answers right at those blocks themselves, whichever other
    blocks of the chain have transactions.
    """
    roots = damaged(data, blocks, 400)
    low = data.draw(st.integers(0, 100))
    known = [f"root {number}" for number in blocks if number <= low]
    for busy in ({*blocks, *others}, None):
        found = scan(Roots(roots, None if busy is None else sorted(busy)), low, known)
        assert found.changes == expected([number for number in blocks if number > low])
        assert found.through == 400


@given(
    st.lists(st.integers(1, 4 * WIDE), unique=True, max_size=30).map(sorted),
    st.lists(st.tuples(st.integers(1, 4 * WIDE), st.integers(1, 300)), max_size=6),
)
def test_scanning_a_long_chain_finds_every_block(blocks: list[int], traffic: list[tuple[int, int]]) -> None:
    """Over quiet times and busy ones, wherever they begin and end, nothing is overlooked."""
    head = 4 * WIDE + 1
    busy = {number for start, length in traffic for number in range(start, min(start + length, head))}
    node = Roots(healthy(blocks, head), sorted(busy | set(blocks)))
    assert scan(node, 0, []).changes == expected(blocks)
    assert node.asked + node.looks <= 1.01 * head + WIDE // NARROW
    assert node.largest <= ROOTS_AT_ONCE


def test_a_long_scan_goes_on_where_it_was_left() -> None:
    """A bound on the roots ends a part; the next begins behind it."""
    blocks = [2, WIDE + 700, 2 * WIDE + 1_500]
    node = Roots(healthy(blocks, 3 * WIDE))
    first = scan(node, 0, [], most=1_000)
    assert first.through == WIDE
    second = scan(node, first.through, [root for _, root in first.changes])
    assert (*first.changes, *second.changes) == expected(blocks)


def test_blocks_without_transactions_cost_no_root() -> None:
    """In a long chain with a transaction in each thousandth block, one call in fifty is left."""
    busy = [17 + 1_000 * place for place in range(200)]
    node = Roots(healthy(busy[::10], 200_000), busy)
    found = scan(node, 0, [])
    assert found.changes == expected(busy[::10])
    assert found.calls == node.asked + node.looks
    assert found.calls < 200_000 / 50


def test_a_busy_chain_costs_few_looks() -> None:
    """Where each block has a transaction, or a reward, it costs less than a hundredth more."""
    node = Roots(healthy([3, 90_000], 100_000))
    assert scan(node, 0, [], most=200_000).changes == expected([3, 90_000])
    assert node.asked == 100_000
    assert node.looks < 0.01 * node.asked


def test_a_few_blocks_are_looked_at_without_asking_whether() -> None:
    """What came since the last time costs a root each, in one round trip."""
    node = Roots(healthy([30], NARROW), [30])
    assert scan(node, 0, []).changes == expected([30])
    assert (node.asked, node.looks) == (NARROW, 0)


@given(st.integers(2, 18))
def test_looks_on_two_branches_tell_nothing(left_at: int) -> None:
    """Where the chain is reorganised while it is looked at, nothing is taken from it: it is read again."""
    node = Roots(healthy([5_000], 2 * WIDE), [5_000])
    whole = scan(node, 0, [])
    assert whole.changes == expected([5_000])
    node.looks, node.left_at = 0, left_at
    with pytest.raises(NodeError, match="was replaced"):
        scan(node, 0, [])


@given(histories, st.integers(0, 200), st.sets(st.integers(1, 400)))
def test_blocks_that_are_known_to_be_empty_are_not_looked_at(blocks: list[int], low: int, empty: set[int]) -> None:
    """The same is found in either way, and no root is asked for of those that are known."""
    roots, quiet = healthy(blocks, 400), (empty - set(blocks)).__contains__
    bounds, wanted = Bounds(roots=100_000, changes=1_000), expected([number for number in blocks if number > low])
    node = Roots(roots)
    found = asyncio.run(split_changes(node, "g", low, roots[low], 400, bounds, high_root=roots[400], is_empty=quiet))
    assert (found.changes, found.through, found.calls) == (wanted, 400, node.asked)
    scanned = Roots(roots)
    known = roots[1 : low + 1]
    assert asyncio.run(scan_changes(scanned, "g", low, known, 400, bounds, is_empty=quiet)).changes == wanted
    assert scanned.asked <= sum(not quiet(number) for number in range(low + 1, 401))


def test_one_change_among_empty_blocks_costs_no_call() -> None:
    """A lock in a block of its own: the block before and the newest root are known."""
    node = Roots(healthy([3, 7], 20))
    bounds = Bounds(roots=100, changes=100)
    found = split_changes(node, "g", 5, "root 3", 20, bounds, high_root="root 7", is_empty=lambda n: n != 7)
    assert asyncio.run(found) == FoundChanges(changes=((7, "root 7"),), through=20, calls=0)


def test_a_change_in_a_block_that_is_called_empty_is_looked_for() -> None:
    """Who tells of no transaction and shows another root is asked block by block, and told where the root went."""
    node = Roots(healthy([3, 7], 20))
    bounds = Bounds(roots=100, changes=100)
    found = split_changes(node, "g", 5, "root 3", 20, bounds, is_empty=lambda _number: True)
    assert asyncio.run(found).changes == ((7, "root 7"),)
