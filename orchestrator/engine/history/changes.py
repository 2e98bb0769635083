"""In which blocks did a group change? Found on one node by its state roots, oldest first, a bounded part at a time."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from orchestrator.engine.node_ports import NodePort

ROOTS_AT_ONCE: Final = 256
"""Roots in one round trip."""


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
        roots_read: How many roots were asked for.
    """

    changes: tuple[tuple[int, str], ...]
    through: int
    roots_read: int


async def split_changes(
    node: NodePort, privacy_group_id: str, low: int, low_root: str, high: int, bounds: Bounds
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

    Raises:
        NodeError: The node does not answer.
    """
    (newest,) = await node.roots(privacy_group_id, [high])
    spans = [(low, low_root, high, newest.state_root)] if newest.state_root != low_root else []
    found: list[tuple[int, str]] = []
    asked = 1
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
        spans = [part for span in spans for part in halves.get(span, (span,)) if part[1] != part[3]]
    return FoundChanges(changes=tuple(found), through=spans[0][0] if spans else high, roots_read=asked)


async def scan_changes(
    node: NodePort, privacy_group_id: str, low: int, known: Collection[str], high: int, bounds: Bounds
) -> FoundChanges:
    """Find the changes on a node that replayed something, whose roots may go back and forth.

    A block that the node executed answers for itself first, whatever replays did to the maps around it
    (docs/besu.md#torn-bundles): the root of a change shows there before anywhere else, so that
    every block is looked at and only what was never seen before counts.

    Args:
        node: The node.
        privacy_group_id: The group.
        low: The block to begin behind.
        known: Roots of earlier blocks.
        high: The last block to look at.
        bounds: Where a part ends; what is left is for the next time.

    Raises:
        NodeError: The node does not answer.
    """
    seen = {"", *known}
    found: list[tuple[int, str]] = []
    through = low
    while through < high and through - low < bounds.roots and len(found) < bounds.changes:
        numbers = range(through + 1, min(through + ROOTS_AT_ONCE, high) + 1)
        for view in await node.roots(privacy_group_id, numbers):
            # A root that was there before is a map that a replay rewrote: the group has no state twice.
            if view.state_root not in seen:
                seen.add(view.state_root)
                found.append((view.block_number, view.state_root))
        through = numbers[-1]
    return FoundChanges(changes=tuple(found), through=through, roots_read=through - low)
