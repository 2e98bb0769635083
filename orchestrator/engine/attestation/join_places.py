"""Which members are known, and through which block each node was looked at for new ones."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final, Protocol

CHECKPOINT: Final = "joining"
KEEP_EVERY: Final = 256
"""Blocks after which a place is kept, when nothing was new: what a restart reads again at most."""

Pair = tuple[str, str]
"""A group and a member of it."""


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
    """Members that are no news, and how far each node was looked at.

    Args:
        checkpoints: The outbox.

    Attributes:
        since: Blocks by the nodes' names; a node that was never looked at is not in it.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._known: dict[Pair, str] = {}
        self._stirred: set[str] = set()
        self._kept: dict[str, int] = {}
        self.since: dict[str, int] = {}

    def is_known(self, pair: Pair) -> bool:
        """Whether a member is no news."""
        return pair in self._known

    def know(self, pair: Pair, node: str) -> None:
        """Take a member, on a node, for no news."""
        self._known[pair] = node
        self._stirred.add(node)

    def forget_others(self, groups: Collection[str]) -> None:
        """Forget the members of groups that nobody lists any more: added again they are news."""
        for pair in [pair for pair in self._known if pair[0] not in groups]:
            self._stirred.add(self._known.pop(pair))

    async def recall(self, nodes: Iterable[str]) -> None:
        """Learn how far nodes were looked at before the start; may raise `StoreError`."""
        of_all = await self._checkpoints.checkpoint(CHECKPOINT)  # of a release that kept one place for all nodes
        for node in nodes:
            saved = await self._checkpoints.checkpoint(f"{CHECKPOINT}/{node}") or of_all
            if saved is not None:
                self.since[node] = saved.position

    async def keep(self, node: str, head: int) -> None:
        """Go on from a node's head, and keep it where that makes a difference; may raise `StoreError`."""
        # Never back: one that synchronises anew, or understates its head, would make old members look new.
        if head <= self.since.get(node, -1):
            return
        self.since[node] = head
        # With the same members as at the place that is kept a restart finds the same from there.
        kept = self._kept.get(node)
        if kept is None or node in self._stirred or head >= kept + KEEP_EVERY:
            await self._checkpoints.save_checkpoint(f"{CHECKPOINT}/{node}", position=head)
            self._kept[node] = head
            self._stirred.discard(node)
