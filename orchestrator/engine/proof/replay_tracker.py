"""How far a member's node has replayed a group: cheap probes of historical state, monotone, at a bounded rate.

A node answers ``getVersion`` at a historical block with nothing until it has replayed the group that far
(docs/besu.md#replay-measured). A replay only moves forward, so what was seen once stays; each poll probes just ahead of
it. One block may bring a node many replays: then some of them are followed, so that questions do not keep the node
from them.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orchestrator.engine.nodes.bisection import first_block
from orchestrator.engine.ports.nodes import NodePort

PROBES = 2
"""Historical calls for each poll, in one round trip."""

Work = tuple[int, int]
"""The number of a block, and how many transactions a replay executes there."""

POLLS_OF_A_NODE = 4
"""Replays on one node that are polled within an interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """How far a replay is known to be.

    Attributes:
        first: First block of the group's history.
        last: Last block that is replayed.
        through: Newest block known to be replayed; ``first - 1`` for none.
        stride: How far ahead of `through` the next probe looks.
        work: The blocks that hold something of the group, ascending, with the transactions in each; empty where that
            is not known.
    """

    first: int
    last: int
    through: int
    stride: int
    work: tuple[Work, ...] = ()

    @property
    def replayed(self) -> int:
        """Blocks replayed: of those that hold something of the group, where they are known."""
        if self.work:
            return sum(number <= self.through for number, _ in self.work)
        return self.through - self.first + 1

    @property
    def total(self) -> int:
        """Blocks to replay, of the same."""
        return len(self.work) if self.work else self.last - self.first + 1

    @property
    def transactions_replayed(self) -> int:
        """Transactions replayed; 0 where they are not known."""
        return sum(transactions for number, transactions in self.work if number <= self.through)

    @property
    def transactions_total(self) -> int:
        """Transactions to replay; 0 where they are not known."""
        return sum(transactions for _, transactions in self.work)


def span(first: int, last: int, work: Sequence[Work] = ()) -> Span:
    """Return the span of a replay of which nothing is known but, perhaps, what is in its blocks."""
    within = tuple((number, transactions) for number, transactions in work if first <= number <= last)
    return Span(first=first, last=last, through=first - 1, stride=max(1, (last - first + 1) // 8), work=within)


async def nothing_known(_group: str) -> tuple[Work, ...]:
    """Know nothing of what is in a group's blocks."""
    return ()


def probes(known: Span) -> tuple[int, ...]:
    """Return the blocks to look at next, ascending: a step ahead of what is known, and a longer one."""
    near = min(known.last, known.through + known.stride)
    far = min(known.last, known.through + 3 * known.stride)
    return tuple(sorted({near, far} - {known.through}))


def learn(known: Span, seen: dict[int, bool]) -> Span:
    """Return what is known after looking at some blocks (block → has the node replayed it?)."""
    # The furthest that is there: replays go through the blocks in order, so that all before it are.
    reached = max((block for block, there in seen.items() if there), default=known.through)
    if reached <= known.through:
        return replace(known, stride=max(1, known.stride // 3))
    stride = known.stride * 2 if all(seen.values()) else known.stride
    return replace(known, through=reached, stride=stride)


class ReplayTracker:
    """Remembers the replays that are being watched, so that each poll asks only for what is new.

    Nothing in it is needed after a restart: a new tracker finds the same place again in a few polls.

    Args:
        interval: The shortest time between two polls of one replay.
        work: Returns by group what its blocks hold, as far as that is known; asked once for each replay.
    """

    def __init__(
        self,
        interval: timedelta = timedelta(seconds=1),
        work: Callable[[str], Awaitable[Sequence[Work]]] = nothing_known,
    ) -> None:
        self._interval = interval
        self._work = work
        self._spans: dict[tuple[str, str], tuple[Span, datetime]] = {}
        self._firsts: dict[str, int] = {}
        self._polls: dict[str, deque[datetime]] = {}

    async def poll(self, node: NodePort, old_member: NodePort, group: str, last: int, now: datetime) -> Span:
        """Return how far a node has replayed a group, as far as is known: a span of no blocks before the first poll.

        Args:
            node: The new member's node.
            old_member: A node that has the whole history.
            group: The group.
            last: The block of the lock, the last that is replayed.
            now: The present time.

        Raises:
            NodeError: A node does not answer.
        """
        key = (node.name, group)
        entry = self._spans.get(key)
        if entry is not None and entry[0].last == last:
            known, polled_at = entry
            # A node that replays has other things to do: of many replays some are followed, each at its rate.
            if now - polled_at < self._interval or not self._may_poll(node.name, now):
                return known
        elif self._may_poll(node.name, now):
            known = span(await self._first_block(old_member, group, last), last, await self._work(group))
        else:
            return Span(first=last + 1, last=last, through=last, stride=1)
        blocks = probes(known)[:PROBES]
        if blocks:
            # Both probes in one round trip; a replay never goes back, so that what was there stays.
            known = learn(known, dict(zip(blocks, await node.has_state(group, blocks), strict=True)))
        self._spans[key] = (known, now)
        return known

    def forget(self, node: str, group: str) -> None:
        """Drop what is known of a replay that is over."""
        self._spans.pop((node, group), None)

    def _may_poll(self, node: str, now: datetime) -> bool:
        """Whether a node may be polled now; it then counts as polled."""
        polls = self._polls.setdefault(node, deque(maxlen=POLLS_OF_A_NODE))
        if len(polls) == POLLS_OF_A_NODE and now - polls[0] < self._interval:
            return False
        polls.append(now)
        return True

    async def _first_block(self, member: NodePort, group: str, last: int) -> int:
        """Return the first block at which a member has the group, by binary search; it never changes."""
        if group not in self._firsts:

            async def holds(block: int) -> bool:
                (there,) = await member.has_state(group, [block])
                return there

            self._firsts[group] = await first_block(0, last, holds)
        return self._firsts[group]
