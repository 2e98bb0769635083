"""In which blocks did a group change? Found on one node by its state roots, oldest first, a bounded part at a time."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.engine.ports.nodes import NodeError, NodePort
from orchestrator.membership.reasons.table import Reason

ROOTS_AT_ONCE: Final = 256
"""Roots in one round trip."""
WIDE: Final = 4_096
"""Blocks between two looks at the public chain; where it stood still no root is asked for."""
WIDE_AT_ONCE: Final = 64
"""Wide spans whose ends are read in one round trip."""
NARROW: Final = 128
"""Blocks between two looks where it did not: where nothing is quiet, a look comes with so many roots, and no more."""
WIDTHS: Final = (512, NARROW, 64, 32, 16, 8)
"""Of the parts that are looked at. The answer to a look is as large as seventeen roots, so that the last few are asked
for."""
LEAST_QUIET: Final = 1 / 8
"""From `NARROW` on it goes on while so large a part of the parts is quiet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """About how much is read at a time.

    Attributes:
        roots: Roots that are asked for; more than `ROOTS_AT_ONCE` for each binary digit of the chain's length, else
            no part ever gets to a change.
        changes: Changes that are found.
    """

    roots: int = 32_768
    changes: int = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundChanges:
    """Blocks after which a group's root was another.

    Attributes:
        changes: The blocks and the roots after them, oldest first.
        through: The newest block that was looked at.
        calls: How many roots were asked for, of the group and of the public chain.
    """

    changes: tuple[tuple[int, str], ...]
    through: int
    calls: int


def _none_known(_number: int) -> bool:
    return False


Span = tuple[int, str, int, str]
"""A block and the root after it, a later block and the root after that."""


async def split_changes(
    node: NodePort,
    privacy_group_id: str,
    low: int,
    low_root: str,
    high: int,
    bounds: Bounds,
    *,
    high_root: str = "",
    is_empty: Callable[[int], bool] = _none_known,
) -> FoundChanges:
    """Find the changes on a node that executed everything at first hand.

    Each executed transaction uses up a private nonce, so that no root comes twice there: where two blocks have one
    root nothing happened between them, and a long quiet time costs one call.

    Args:
        node: The node.
        privacy_group_id: The group.
        low: A block whose root is known.
        low_root: That root; empty text for none.
        high: The last block to look at.
        bounds: Where a part ends; what is left is for the next time.
        high_root: The root there, where the node has just shown it; empty text to ask for it.
        is_empty: Whether a block is known to hold no transaction, so that it changed nothing.

    Raises:
        NodeError: The node does not answer.
    """
    newest, asked = high_root, 0
    if not newest:
        newest, asked = (await node.roots(privacy_group_id, [high]))[0].state_root, 1
    spans = _narrowed([(low, low_root, high, newest)], is_empty)
    found: list[tuple[int, str]] = []
    while spans:
        resolved = next((place for place, (first, _, last, _) in enumerate(spans) if last - first > 1), len(spans))
        found += [(last, root) for _, _, last, root in spans[:resolved]]
        spans = spans[resolved:]
        # Whatever was found so far is in order and without gaps, so that the next part goes on behind it.
        if not spans or asked >= bounds.roots or len(found) >= bounds.changes:
            break
        # The oldest first: a part that is cut off is then a whole history up to its end.
        wide = [span for span in spans if span[2] - span[0] > 1][:ROOTS_AT_ONCE]
        middles = [(first + last) // 2 for first, _, last, _ in wide]
        views = await node.roots(privacy_group_id, middles)
        asked += len(middles)
        halves = {
            span: ((span[0], span[1], middle, view.state_root), (middle, view.state_root, span[2], span[3]))
            for span, middle, view in zip(wide, middles, views, strict=True)
        }
        spans = _narrowed([part for span in spans for part in halves.get(span, (span,))], is_empty)
    return FoundChanges(changes=tuple(found), through=spans[0][0] if spans else high, calls=asked)


def _narrowed(spans: Sequence[Span], is_empty: Callable[[int], bool]) -> list[Span]:
    """Leave out the spans that hold no change, and at the ends of the others what is known to be empty."""
    found = []
    for first, before, last, after in spans:
        if before == after:
            continue
        start, end = first, last
        while end - start > 1 and is_empty(end):
            end -= 1
        while end - start > 1 and is_empty(start + 1):
            start += 1
        # Roots that differ over empty blocks alone are no healthy node's: then each block is asked for.
        found.append((first, before, last, after) if is_empty(end) else (start, before, end, after))
    return found


async def scan_changes(
    node: NodePort,
    privacy_group_id: str,
    low: int,
    known: Collection[str],
    high: int,
    bounds: Bounds,
    *,
    is_empty: Callable[[int], bool] = _none_known,
) -> FoundChanges:
    """Find the changes on a node that replayed something, whose roots may go back and forth.

    A block that the node executed answers for itself first, whatever replays did to the maps around it
    (docs/besu.md#torn-bundles): the root of a change shows there before anywhere else, so that
    every block with a transaction is looked at and only what was never seen before counts. A block without any can't
    have executed a private one (docs/besu.md#looking-before-leaping, 10), and its root is that of another block.

    Args:
        node: The node.
        privacy_group_id: The group.
        low: The block to begin behind.
        known: Roots of earlier blocks.
        high: The last block to look at.
        bounds: Where a part ends; what is left is for the next time.
        is_empty: Whether a block is known to hold no transaction.

    Raises:
        NodeError: The node does not answer.
    """
    seen = {"", *known}
    found: list[tuple[int, str]] = []
    public = _PublicRoots(node)
    through, asked = low, 0
    while through < high and asked + public.asked < bounds.roots and len(found) < bounds.changes:
        last = min(through + WIDE, high)
        numbers = [n for n in await public.maybe_with_transactions(through, last, high) if not is_empty(n)]
        for start in range(0, len(numbers), ROOTS_AT_ONCE):
            for view in await node.roots(privacy_group_id, numbers[start : start + ROOTS_AT_ONCE]):
                # A root that was there before is a map that a replay rewrote: the group has no state twice.
                if view.state_root not in seen:
                    seen.add(view.state_root)
                    found.append((view.block_number, view.state_root))
        asked += len(numbers)
        through = last
    await public.check_branch()
    return FoundChanges(changes=tuple(found), through=through, calls=asked + public.asked)


class _PublicRoots:
    """The public chain's state roots, by which the times are known in which nothing happened.

    Read anew for each part, on the node whose private roots are read. Roots of two branches tell nothing when they are
    compared: the newest block of all that are read is read before them and again when all is done, and is the same.
    """

    def __init__(self, node: NodePort) -> None:
        self._node = node
        self._known: dict[int, str] = {}
        self._top = (0, "")
        self.asked = 0

    async def maybe_with_transactions(self, low: int, last: int, high: int) -> list[int]:
        """Return the blocks of a wide span, behind `low` and up to `last`, but for those that have no transaction.

        Args:
            low: The block before the span.
            last: Its last one.
            high: Where the part ends: up to there the next spans' ends are read along.
        """
        if high - low <= NARROW:
            return list(range(low + 1, last + 1))  # a few roots are cheaper than looking whether they are needed
        if last not in self._known:
            await self._begin(range(low, high, WIDE)[:WIDE_AT_ONCE], high)
        spans = [(low, last)] if self._moved(low, last) else []
        for width in WIDTHS if spans else ():
            await self._read(cut for first, end in spans for cut in range(first + width, end, width))
            parts = [(cut, min(cut + width, end)) for first, end in spans for cut in range(first, end, width)]
            spans = [part for part in parts if self._moved(*part)]
            if width <= NARROW and len(parts) - len(spans) < LEAST_QUIET * len(parts):
                break
        return [number for first, end in spans for number in range(first + 1, end + 1)]

    async def check_branch(self) -> None:
        """Raise `NodeError` when the chain left the branch on which the looks were taken: look again."""
        number, block_hash = self._top
        if number and (await self._look([number]))[0][0] != block_hash:
            detail = f"block {number} of node {self._node.name} was replaced while the group's history was read"
            raise NodeError(Reason(slug="not_at_this_block", detail=detail))

    async def _begin(self, starts: range, high: int) -> None:
        await self.check_branch()
        top = min(starts[-1] + WIDE, high)
        ((block_hash, root),) = await self._look([top])
        self._top, self._known = (top, block_hash), {top: root}
        await self._read(starts)

    def _moved(self, first: int, last: int) -> bool:
        return self._known[first] != self._known[last]

    async def _read(self, numbers: Iterable[int]) -> None:
        missing = [number for number in numbers if number not in self._known]
        for start in range(0, len(missing), ROOTS_AT_ONCE):
            some = missing[start : start + ROOTS_AT_ONCE]
            self._known.update(zip(some, (root for _, root in await self._look(some)), strict=True))

    async def _look(self, numbers: Sequence[int]) -> tuple[tuple[str, str], ...]:
        self.asked += len(numbers)
        return await self._node.public_roots(numbers)
