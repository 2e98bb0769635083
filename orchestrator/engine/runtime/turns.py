"""Turns at work: what many lanes of one sender do at the same moment does not slow the single lane of another.

All lanes share one event loop and one store. A block wakes every lane that waits for it, and where five hundred of
them are one sender's, each step of anybody else's lane takes as long as five hundred steps. So while lanes of several
senders are driven, a bounded number is at work at a time, and senders get free places in turn. A lane that only waits
(for a block, for the next try) has no place; one that works for long, on a node that does not answer, loses its place
and goes on without. The lanes of a single sender are not held back: they would only wait for each other.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Final

AT_WORK: Final = 48
"""Lanes at work at a time while several senders have lanes: a step of each takes the loop about a tenth of a second."""

LONGEST_SECONDS: Final = 0.25
"""For how long a place is kept."""


Sender = str | None
"""A source of requests; None for the intake, which works for all of them."""

INTAKE: Final = None


class Turns:
    """Places at work, given to senders in turn.

    Args:
        at_work: How many there are; a sender gets its part of them at once, whoever has the others.
        shares: What parts senders have whose part is more than that of others, which is 1.
    """

    def __init__(self, at_work: int = AT_WORK, shares: Mapping[str, int] | None = None) -> None:
        self._at_work = at_work
        self._shares = shares or {}
        self._present: Counter[Sender] = Counter()
        self._working: Counter[Sender] = Counter()
        self._waiting: dict[Sender, deque[asyncio.Future[None]]] = {}
        self._in_turn: Counter[Sender] = Counter()
        self._parts = 0

    @property
    def waiting(self) -> int:
        """How many lanes wait for a place."""
        return sum(map(len, self._waiting.values()))

    @contextmanager
    def present(self, sender: Sender) -> Iterator[None]:
        """Count one more lane of a sender among those that are driven, at work or not."""
        self._count_parts(sender, +1)
        self._present[sender] += 1
        try:
            yield
        finally:
            _less(self._present, sender)
            self._count_parts(sender, -1)
            self._admit()  # who is alone now is not held back any more

    @asynccontextmanager
    async def turn(self, sender: Sender) -> AsyncIterator[None]:
        """Wait for a place and have it."""
        turn = _Turn(self, sender)
        await turn.take()
        before = _turn.set(turn)
        try:
            yield
        finally:
            _turn.reset(before)
            turn.end()

    async def enter(self, sender: Sender) -> None:
        """Wait for a place and take it."""
        if not self._waiting.get(sender) and self._has_room(sender):
            self._working[sender] += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(sender, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave(sender)  # the place came in the moment in which it was given up
            raise

    def leave(self, sender: Sender) -> None:
        """Give a place back."""
        _less(self._working, sender)
        self._admit()

    def _has_room(self, sender: Sender) -> bool:
        return (
            len(self._present) < 2
            or self._working.total() < self._at_work
            or self._working[sender] < max(1, self._at_work * self._share(sender) // max(1, self._parts))
        )

    def _count_parts(self, sender: Sender, sign: int) -> None:
        """Count what all senders' shares come to, when one comes or has gone."""
        if sender not in self._present:
            self._parts += sign * self._share(sender)

    def _share(self, sender: Sender) -> int:
        return 1 if sender is None else self._shares.get(sender, 1)

    def _admit(self) -> None:
        """Give free places to senders in turn, to each as many as its share: who got them goes behind the others."""
        admitted = True
        while admitted and self._waiting:
            admitted = False
            for sender in list(self._waiting):
                while self._has_room(sender):
                    admitted = True
                    if self._admit_first(sender):
                        break

    def _admit_first(self, sender: Sender) -> bool:
        """Give a sender's first lane a place; returns whether it is the next sender's turn."""
        places = self._waiting[sender]
        while places:
            place = places.popleft()
            if not place.done():
                self._working[sender] += 1
                place.set_result(None)
                break
        self._in_turn[sender] += 1
        over = not places or self._in_turn[sender] >= self._share(sender)
        if over:
            del self._in_turn[sender], self._waiting[sender]
            if places:
                self._waiting[sender] = places
        return over


class _Turn:
    """One lane's place, as long as it has it."""

    __slots__ = ("_ended", "_held", "_rests", "_sender", "_timer", "_turns")

    def __init__(self, turns: Turns, sender: Sender) -> None:
        self._turns = turns
        self._sender = sender
        self._ended = False
        self._held = False
        self._rests = 0
        self._timer: asyncio.TimerHandle | None = None

    async def take(self) -> None:
        if not self._wanted():
            return
        await self._turns.enter(self._sender)
        if not self._wanted():  # what rested beside it was quicker, or the work is over
            self._turns.leave(self._sender)
            return
        self._held = True
        self._timer = asyncio.get_running_loop().call_later(LONGEST_SECONDS, self.give_back)

    def _wanted(self) -> bool:
        return not self._held and not self._ended

    def give_back(self) -> None:
        if self._held:
            self._held = False
            if self._timer is not None:
                self._timer.cancel()
            self._turns.leave(self._sender)

    def end(self) -> None:
        self._ended = True
        self.give_back()

    def rest(self) -> None:
        self._rests += 1
        self.give_back()

    async def resume(self) -> None:
        """Take a place again, unless another part of the same work still rests."""
        self._rests -= 1
        if not self._rests:
            await self.take()


_turn: Final[ContextVar[_Turn | None]] = ContextVar("turn", default=None)


@asynccontextmanager
async def resting() -> AsyncIterator[None]:
    """Have no place while something is waited for that takes its time; does nothing where nobody has one."""
    turn = _turn.get()
    if turn is None:
        yield
        return
    turn.rest()
    try:
        yield
    except Exception:
        await turn.resume()
        raise
    await turn.resume()


def _less(counter: Counter[Sender], name: Sender) -> None:
    counter[name] -= 1
    if counter[name] <= 0:
        del counter[name]
