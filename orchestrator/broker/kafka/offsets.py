"""How far one partition of a topic is worked through. Pure.

Kafka remembers one number for each partition and consumer group: the next message to give out. Messages are settled in
any order, so that number stays at the oldest one that is not; a text beside it, which Kafka keeps with it, says which
of those behind it are settled, and how often the oldest was given out. Kafka itself counts no deliveries.
"""

from collections.abc import Iterator
from typing import Final

MOST_TEXT: Final = 2000
"""Characters of the text: a server takes 4096 unless told otherwise."""

_VERSION: Final = "1"
_MOST_COUNT: Final = 1_000_000


class Progress:
    """What is known of one partition while it is ours.

    Args:
        base: The committed offset; None when none is.
        text: What was committed beside it; one that can't be read is none.
    """

    def __init__(self, base: int | None, text: str = "") -> None:
        self._base = base
        self._given: dict[int, None] = {}
        self._starts, self._fresh, ahead, left = _parsed(text)
        self._position = None if base is None else base + ahead
        self._left = set() if base is None else {base + offset for offset in left}
        self._known = self._position
        self._begun_old = self._begun_new = False
        self.dirty = False

    @property
    def unsettled(self) -> int:
        """How many messages were given out and are not settled."""
        return len(self._given)

    def wants(self, offset: int) -> bool:
        """Return whether a message is still to be given out: one settled before the partition came to us is not.

        They come in order. One before the committed offset is of another log, in which the same numbers mean others.
        """
        if self._base is not None and offset < self._base:
            self.forget()
        return self._position is None or offset >= self._position or offset in self._left

    def forget(self) -> None:
        """Know nothing any more: the partition's log is not the one that this was said of."""
        self._base = self._position = self._known = None
        self._left.clear()
        self._given.clear()
        self._starts = self._fresh = 0
        self._begun_old = self._begun_new = False

    @property
    def ahead(self) -> int | None:
        """The offset behind the last one that was given out, where some before it are settled; None when none are."""
        return self._position if self._position != self._base else None

    def begins(self, offset: int) -> bool:
        """Return whether giving out a message has to be counted first, which is to be stored before it is given out.

        It has once for what was given out before the partition came to us, and once for what may have been.
        """
        # Nothing was ever committed: the first message that comes is where this group begins.
        if self._base is None:
            self._base = self._position = self._known = offset
        if self._is_old(offset):
            began, self._begun_old = self._begun_old, True
            self._starts += not began
        else:
            began, self._begun_new = self._begun_new, True
            self._fresh += not began
        self.dirty = self.dirty or not began
        return not began

    def give(self, offset: int) -> int:
        """Count a message as given out; returns how often that was, as far as it is known."""
        times = self._starts if self._is_old(offset) else self._fresh
        # What should have come before this one and did not is there no longer: its time in the topic was over.
        self._left = {left for left in self._left if left > offset}
        self._given[offset] = None
        # One that was left over lies behind the position, which it must not take back.
        self._position = max(self._position or 0, offset + 1)
        self.dirty = True
        return max(1, times)

    def settle(self, offset: int) -> None:
        """Count a message as settled."""
        if offset in self._given:
            del self._given[offset]
            self.dirty = True

    def mark(self) -> tuple[int, str] | None:
        """Return what to commit now, an offset and the text beside it; None when nothing is known yet."""
        self.dirty = False
        if self._position is None or self._base is None:
            return None
        waiting = sorted({*self._given, *self._left})
        base = waiting[0] if waiting else self._position
        known = self._position if self._known is None else self._known
        if not waiting:
            self._starts = 0
        elif base >= known:
            self._starts = max(1, self._fresh)
        elif base > self._base:
            self._starts = 1  # whoever was in the way is settled; how often this one came is not known
        self._base = base
        fresh = self._fresh if self._position == known else 0
        return base, _text(self._starts, fresh, self._position - base, [offset - base for offset in waiting])

    def stored(self) -> None:
        """Take note that what `mark` returned last is stored."""
        if self._position != self._known:
            self._known, self._fresh = self._position, 0

    def _is_old(self, offset: int) -> bool:
        return offset in self._left


def _text(starts: int, fresh: int, ahead: int, waiting: list[int]) -> str:
    head = f"{_VERSION} {min(starts, _MOST_COUNT)} {min(fresh, _MOST_COUNT)}"
    # As ranges: what is left over after a long outage of the store is one run of thousands.
    ranges: list[str] = []
    room = MOST_TEXT - len(head) - 24
    for first, last in _ranges(waiting):
        shown = str(first) if first == last else f"{first}-{last}"
        room -= len(shown) + 1
        if room < 0:
            # What does not fit comes again, and is recognised by its id.
            ahead = first
            break
        ranges.append(shown)
    return f"{head} {ahead} {','.join(ranges)}"


def _ranges(numbers: list[int]) -> Iterator[tuple[int, int]]:
    first = last = None
    for number in numbers:
        if last is None or first is None:
            first = last = number
        elif number == last + 1:
            last = number
        else:
            yield first, last
            first = last = number
    if first is not None and last is not None:
        yield first, last


def _parsed(text: str) -> tuple[int, int, int, set[int]]:
    """Return starts, fresh starts, how far beyond the offset was given out, and what of that is not settled."""
    nothing: tuple[int, int, int, set[int]] = (0, 0, 0, set())
    words = text.split(" ")
    if len(words) != 5 or words[0] != _VERSION or len(text) > MOST_TEXT:  # others' tools write other texts
        return nothing
    try:
        starts, fresh, ahead = (int(word) for word in words[1:4])
        left: set[int] = set()
        for part in words[4].split(",") if words[4] else ():
            first, _, last = part.partition("-")
            low, high = int(first), int(last or first)
            # Checked like any input: whoever may commit for the group may write anything here.
            if not 0 <= low <= high < ahead or high - low > _MOST_COUNT:
                return nothing
            left.update(range(low, high + 1))
    except ValueError:
        return nothing
    if min(starts, fresh, ahead) < 0 or max(starts, fresh) > _MOST_COUNT or len(left) > _MOST_COUNT:
        return nothing
    return starts, fresh, ahead, left
