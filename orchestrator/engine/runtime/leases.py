"""Until when this process may act on its lanes, as it knows without asking anybody.

The store decides who holds a lane, and is asked before each command. A process that is stopped after that answer and
woken a minute later would still send what it was about to send: so the time is looked at once more by who writes to
the node, when nothing is left to be waited for but the write itself. Any look before it leaves room: for a place among
the calls under way, for a connection, for credentials. Another replica takes a lane over when the lease is over and not
before.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.store import LeaseLostError

LATEST_ANSWER: Final = timedelta(seconds=30)
"""So late the store's answer may be at most: then it was given up."""

_required: ContextVar[Callable[[], None] | None] = ContextVar("required", default=None)


class Leases:
    """The leases of one process.

    Args:
        clock: Time, the same that leases are reckoned by.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[str, datetime] = {}

    def prolong(self, groups: Iterable[str], until: datetime) -> None:
        """Keep in mind that lanes are held until then.

        Args:
            groups: Their groups.
            until: The moment at which the lease began, read before the store was asked, and its length.
        """
        for group in groups:
            # A renewal that was asked for earlier may be answered later; it shortens nothing. What lies further ahead
            # than an answer can be late is of a clock that was set back since: others reckon by the new time.
            known = self._until.get(group, until)
            self._until[group] = known if until < known <= until + LATEST_ANSWER else until

    def end(self, group: str) -> None:
        """Forget a lane that is not driven any more."""
        self._until.pop(group, None)

    @contextmanager
    def acting(self, group: str) -> Iterator[None]:
        """Have `require_to_send` require a lane within the context, and in the tasks that are begun in it."""
        before = _required.set(partial(self.require, group))
        try:
            yield
        finally:
            _required.reset(before)

    def require(self, group: str) -> None:
        """Make sure that a lane is ours now.

        Raises:
            LeaseLostError: Its lease is over, or was never taken.
        """
        until = self._until.get(group)
        if until is None or self._clock.now() >= until:
            raise LeaseLostError(
                f"the lease on lane {group!r} is over and was not renewed: another replica may send now, so this one "
                "does not; it goes on when it has the lane again"
            )


def require_to_send() -> None:
    """Make sure that what is about to be written to a node may still be sent; outside of `Leases.acting` anything may.

    Raises:
        LeaseLostError: It is sent for a lane whose lease is over, or was never taken.
    """
    require = _required.get()
    if require is not None:
        require()
