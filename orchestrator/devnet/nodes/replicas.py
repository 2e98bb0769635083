"""Replicas of one node behind one address, of which some are late. Pure; time is a parameter.

Source: what operators of load balancers report: a request meets the replica whose turn it is, and a late one does not
have the newest blocks yet.
"""

from collections import deque
from collections.abc import Sequence
from copy import copy
from typing import Final

from orchestrator.devnet.chain.chain import Block
from orchestrator.devnet.nodes.node import Node

MAX_HEADS: Final = 100_000


class Replicas:
    """The views of a node that answer in turn; without any the node itself answers.

    Attributes:
        lags_seconds: how late each view is; 0 for the node as it is.
    """

    def __init__(self, node: Node, lags_seconds: Sequence[float] = ()) -> None:
        self.lags_seconds: tuple[float, ...] = tuple(lags_seconds)
        self._node = node
        self._heads: deque[tuple[float, Block]] = deque([(float("-inf"), node.head)], MAX_HEADS)
        self._turn = 0

    def note(self, now: float) -> None:
        """Remember since when the node has its head; call it whenever time has passed."""
        if self._node.head is not self._heads[-1][1]:
            self._heads.append((now, self._node.head))
        oldest = now - max(self.lags_seconds, default=0.0)
        while len(self._heads) > 1 and self._heads[1][0] <= oldest:
            self._heads.popleft()

    def set(self, lags_seconds: Sequence[float]) -> None:
        """Let other views answer from now on; how late they are is counted from now, too."""
        self.lags_seconds = tuple(lags_seconds)
        self._turn = 0

    def next_lag(self) -> float:
        """How late the view is whose turn it is, in seconds."""
        if not self.lags_seconds:
            return 0.0
        lag = self.lags_seconds[self._turn % len(self.lags_seconds)]
        self._turn += 1
        return lag

    def view(self, lag_seconds: float, now: float) -> Node:
        """The node as it was so many seconds ago: all that it has is there, but its head is the one of then."""
        if lag_seconds <= 0:
            return self._node
        head = next((head for since, head in reversed(self._heads) if since <= now - lag_seconds), self._heads[0][1])
        late = copy(self._node)
        late.head = head
        return late
