"""Admission: how much of one sender's, and of one account's, may be unfinished at a time.

Without a bound one sender's thousands of requests are all in front of everybody else's. What is over the bound waits in
the queue (back-pressure) or is rejected with the reason, as configured; over HTTP it is always told at once.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from orchestrator.engine.ports.clock import Clock
from orchestrator.outside_text import presentable

COUNT_EVERY: Final = timedelta(seconds=1)
"""How old the count of what is unfinished may be; what this process accepted since is added to it."""

RETRY_SECONDS: Final = 5.0
LONGEST_SHOWN: Final = 64


class TooManyUnfinishedError(Exception):
    """A sender, or an account, has as many unfinished changes as it may; the same request works later."""


class Backlog(Protocol):
    """What of `orchestrator.engine.ports.store.ChangeStore` admission uses. Every method may raise `StoreError`."""

    async def unfinished(self) -> Mapping[tuple[str, str], int]:
        """Return how many changes are neither ended nor parked, by source and account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionRules:
    """How much may be unfinished.

    Attributes:
        per_source: Changes of one source.
        per_account: Changes of one account.
        when_full: What becomes of a message over a bound: it waits in the queue, or is rejected.
        of_source: Changes of a source by its name, where it has a bound of its own.
    """

    per_source: int = 10_000
    per_account: int = 20_000
    when_full: Literal["wait", "reject"] = "wait"
    of_source: Mapping[str, int] = field(default_factory=dict)


class Admission:
    """Tells whether one more may be accepted.

    Args:
        backlog: The store of changes.
        clock: Time.
        rules: The bounds.
    """

    def __init__(self, backlog: Backlog, clock: Clock, rules: AdmissionRules | None = None) -> None:
        self.rules = rules or AdmissionRules()
        self.turned_away = 0
        self._backlog = backlog
        self._clock = clock
        self._stored: Counter[tuple[str, str]] = Counter()
        self._coming: Counter[tuple[str, str]] = Counter()
        self._counted_at: datetime | None = None

    @property
    def largest(self) -> int:
        """How many unfinished changes the source with the most had when they were last counted."""
        return max((number for (what, _), number in self._stored.items() if what == "source"), default=0)

    @asynccontextmanager
    async def place(self, source: str, account: str) -> AsyncIterator[None]:
        """Have a place for one more change of a source and an account while it is stored.

        Raises:
            TooManyUnfinishedError: There is none now.
            StoreError: What is unfinished could not be counted.
        """
        await self._count()
        for what, name, most in (
            ("source", source, self.rules.of_source.get(source, self.rules.per_source)),
            ("account", account, self.rules.per_account),
        ):
            # What is being stored counts, too: a hundred requests at once would all find the last place free.
            unfinished = self._stored[what, name] + self._coming[what, name]
            if unfinished >= most:
                self.turned_away += 1
                raise TooManyUnfinishedError(
                    f"the {what} {presentable(name, LONGEST_SHOWN)} has {unfinished} unfinished changes, {most} are "
                    f"allowed (admission.per_{what}): send it again when some have ended"
                )
        both = (("source", source), ("account", account))
        self._coming.update(both)
        try:
            yield
            # Until the next count, which is a second old at the most.
            self._stored.update(both)
        finally:
            self._coming.subtract(both)
            for pair in both:
                if not self._coming[pair]:
                    del self._coming[pair]

    async def _count(self) -> None:
        now = self._clock.now()
        # A clock that was set back counts anew.
        if self._counted_at is not None and timedelta(0) <= now - self._counted_at < COUNT_EVERY:
            return
        self._counted_at = now  # whoever comes meanwhile uses the older count instead of counting too
        stored: Counter[tuple[str, str]] = Counter()
        for (source, account), number in (await self._backlog.unfinished()).items():
            stored["source", source] += number
            stored["account", account] += number
        self._stored = stored
