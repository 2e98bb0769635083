"""How fast replays go, and how long they will still take. Pure; the time is passed in."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class _Seen:
    at: datetime
    blocks: int


class Pace:
    """Remembers for each member when which block was reached, and extrapolates."""

    def __init__(self) -> None:
        self._first: dict[str, _Seen] = {}
        self._newest: dict[str, _Seen] = {}

    def note(self, member: str, blocks_replayed: int, now: datetime) -> None:
        """Remember how far a member is."""
        seen = _Seen(now, blocks_replayed)
        self._first.setdefault(member, seen)
        if member not in self._newest or self._newest[member].blocks != blocks_replayed:
            self._newest[member] = seen

    def seconds_left(self, member: str, blocks_total: int) -> float | None:
        """Return how long a member will still take; None while that can't be told."""
        first, newest = self._first.get(member), self._newest.get(member)
        if first is None or newest is None:
            return None
        if newest.blocks >= blocks_total:
            return 0.0
        seconds = (newest.at - first.at).total_seconds()
        if newest.blocks <= first.blocks or seconds <= 0:
            return None
        return (blocks_total - newest.blocks) * seconds / (newest.blocks - first.blocks)
