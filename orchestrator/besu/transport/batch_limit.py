"""How many requests a node, or what stands before it, takes in one HTTP request. Pure.

Gateways read single objects only, bound a body's size (HTTP 413) or a batch's length; nodes have
``--rpc-http-max-batch-size``. None of them says what it would take, so that it is found by halving. What was refused
once is tried again after a while: it may have been a gateway that is gone.
"""

from typing import Final

from orchestrator.besu.codec.json_rpc import MAX_BATCH

TRIED_AGAIN_AFTER: Final = 1_000
"""HTTP requests that were answered at the limit before twice as many are tried."""


class BatchLimit:
    """The limit of one node; it begins at ``MAX_BATCH``."""

    def __init__(self) -> None:
        self._most = MAX_BATCH
        self._answered = 0

    @property
    def most(self) -> int:
        """How many requests to put into one HTTP request; 1 for a single object instead of a batch."""
        return self._most

    def refuse(self, size: int) -> None:
        """Note that a batch of so many was refused."""
        self._most = min(self._most, max(1, size // 2))
        self._answered = 0

    def answer(self, size: int) -> None:
        """Note that so many were answered together."""
        if self._most == MAX_BATCH or size < self._most:
            return
        self._answered += 1
        if self._answered >= TRIED_AGAIN_AFTER:
            self._most, self._answered = min(MAX_BATCH, 2 * self._most), 0
