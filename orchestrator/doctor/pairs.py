"""Judging accounts that send twice in a block, by the newest blocks: what it closes, and for whom. Pure.

The facts are docs/besu.md#what-a-replay-needs.
"""

from collections.abc import Sequence
from typing import Final

from orchestrator.doctor.findings import Finding, Level, MarkerKeys, NodeSeen, Pair

CHECK: Final = "account-twice"
CLOSED: Final = "extendable-groups"
MOST_NAMED: Final = 5


def pair_findings(nodes: Sequence[NodeSeen], known: frozenset[str] = frozenset()) -> tuple[Finding, ...]:
    """Return what is to be said of the newest blocks.

    Args:
        nodes: All that answer; each was asked for the same blocks, and knows other groups.
        known: Groups that are told as closed by what the store has.
    """
    looked = [node.markers for node in nodes if isinstance(node.markers, MarkerKeys)]
    if not looked:
        return ()
    pairs = _together(looked)
    blocks = max(seen.blocks for seen in looked)
    if not pairs:
        return (Finding(check=CHECK, level=Level.OK, what=f"no account is twice in one of the newest {blocks} blocks"),)
    return (_twice(pairs, blocks), *_closed(pairs, known))


def closed_by_pairs(nodes: Sequence[NodeSeen]) -> dict[str, str]:
    """Return by group the first of the newest blocks that can't be replayed, and why, for a person.

    Args:
        nodes: All that answer.
    """
    pairs = _together([node.markers for node in nodes if isinstance(node.markers, MarkerKeys)])
    found: dict[str, str] = {}
    for pair in pairs:
        for group in pair.groups:
            # The first one decides: whoever replays never gets past it.
            found.setdefault(group, f"block {pair.block_number}: account {pair.account}, {pair.times} transactions")
    return found


def _together(looked: Sequence[MarkerKeys]) -> list[Pair]:
    found: dict[tuple[int, str], Pair] = {}
    for pair in (pair for seen in looked for pair in seen.pairs):
        known = found.get((pair.block_number, pair.account))
        groups = dict.fromkeys((*(known.groups if known is not None else ()), *pair.groups))
        found[pair.block_number, pair.account] = Pair(
            block_number=pair.block_number,
            account=pair.account,
            times=pair.times,
            markers=pair.markers,
            groups=tuple(groups),
        )
    return [found[place] for place in sorted(found)]


def _twice(pairs: Sequence[Pair], blocks: int) -> Finding:
    newest = pairs[-MOST_NAMED:]
    named = "; ".join(
        f"block {pair.block_number}: account {pair.account}, {pair.times} transactions" for pair in newest
    )
    earlier = f"; and {len(pairs) - len(newest)} before" if len(pairs) > len(newest) else ""
    marking = any(pair.markers for pair in pairs)
    remedy = (
        "Let each transaction of an account be mined before its next is sent, and add members before it happens again."
    )
    if marking:
        remedy = "These are markers of a node with a fixed key: see `pmt-key`. " + remedy
    return Finding(
        check=CHECK,
        level=Level.WARNING,
        what=f"in the newest {blocks} blocks, {named}{earlier}",
        why="A group with an executed transaction in such a block can never again be given to a node that has to "
        "replay it: that node would halt for good.",
        remedy=remedy,
    )


def _closed(pairs: Sequence[Pair], known: frozenset[str]) -> tuple[Finding, ...]:
    since: dict[str, Pair] = {}
    for pair in pairs:
        for group in pair.groups:
            if group not in known:
                since.setdefault(group, pair)
    if not since:
        return ()
    named = "; ".join(f"{group} since block {pair.block_number} at the latest" for group, pair in since.items())
    return (
        Finding(
            check=CLOSED,
            level=Level.WARNING,
            what=f"by the newest blocks alone {len(since)} group(s) can't be extended any more: {named}",
            why="The node of a newcomer would halt for good at the block of its addition.",
            remedy="Make a new group, or host new members on nodes that have the group. `orchestrator audit --deep` "
            "reads older blocks.",
        ),
    )
