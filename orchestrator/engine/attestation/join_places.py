"""Through which block each node was looked at for joins: of one that is behind the others, nothing is taken for new."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, Protocol

CHECKPOINT: Final = "joining"


class Place(Protocol):
    """How far a reader has come."""

    @property
    def position(self) -> int:
        """Everything up to here is done."""


class Checkpoints(Protocol):
    """What of the outbox joins use. Every method may raise `StoreError`."""

    async def checkpoint(self, name: str) -> Place | None:
        """Return a checkpoint; None when it was never saved."""

    async def save_checkpoint(self, name: str, *, position: int) -> None:
        """Store a checkpoint."""

    async def acquire_lease(self, name: str, *, holder: str, lease: timedelta, now: datetime) -> bool:
        """Take or prolong the right to do a named work alone; False while another holder's lease lasts."""


class JoinPlaces:
    """How far each node was looked at.

    Args:
        checkpoints: The outbox.

    Attributes:
        since: Blocks by the nodes' names; a node that was never looked at is not in it.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self.since: dict[str, int] = {}

    async def recall(self, nodes: Iterable[str]) -> None:
        """Learn how far nodes were looked at before the start; may raise `StoreError`."""
        of_all = await self._checkpoints.checkpoint(CHECKPOINT)  # of a release that kept one place for all nodes
        for node in nodes:
            saved = await self._checkpoints.checkpoint(f"{CHECKPOINT}/{node}") or of_all
            if saved is not None:
                self.since[node] = saved.position

    async def keep(self, node: str, head: int) -> None:
        """Keep that a node was looked at through its head; may raise `StoreError`."""
        # Never back: one that synchronises anew, or understates its head, would make old members look new.
        if head > self.since.get(node, -1):
            self.since[node] = head
            await self._checkpoints.save_checkpoint(f"{CHECKPOINT}/{node}", position=head)
