"""How far a node's chain is settled: blocks that it has had for so long that nothing in it works on them any more.

A node may process one block in two threads at once, for consensus and for the import (docs/besu.md#replay-measured, 6);
the later one still asks the enclave for what the earlier one has executed. That the two are minutes apart does not
happen while the node answers. Pure: time is passed in.
"""

from collections import deque
from datetime import datetime, timedelta
from typing import Final

SETTLED_AFTER: Final = timedelta(minutes=2)
LONGEST_SILENCE: Final = timedelta(seconds=10)
"""A node that did not answer for longer may have been stopped in the middle of something, with all its threads."""


class SettledHeads:
    """Notes a node's heads as they are seen.

    Args:
        after: A block is settled when the node has had it for so long.
        silence: When nothing was seen for longer, waiting begins anew.
    """

    def __init__(self, after: timedelta = SETTLED_AFTER, silence: timedelta = LONGEST_SILENCE) -> None:
        self._after = after
        self._silence = silence
        self._marks: deque[tuple[int, datetime]] = deque()
        self._seen_at: datetime | None = None

    @property
    def newest(self) -> int:
        """The newest head; 0 before the first."""
        return self._marks[-1][0] if self._marks else 0

    def seen(self, number: int, now: datetime) -> None:
        """Note that the node's head is this block.

        Args:
            number: The block.
            now: The present time.
        """
        late = self._seen_at is not None and now - self._seen_at > self._silence
        if late or number < self.newest:
            self._marks.clear()  # it synchronises anew, or went back: what it had is no matter
        self._seen_at = now
        if not self._marks or number > self.newest:
            self._marks.append((number, now))
        while len(self._marks) > 1 and now - self._marks[1][1] >= self._after:
            self._marks.popleft()

    def settled(self, now: datetime) -> int | None:
        """Return the newest block that is settled; None when none is known to be.

        Args:
            now: The present time.
        """
        if not self._marks or self._seen_at is None or now - self._seen_at > self._silence:
            return None
        return next((number for number, at in reversed(self._marks) if now - at >= self._after), None)
