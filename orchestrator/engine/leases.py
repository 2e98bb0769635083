"""Until when this process may act on its lanes, as it knows without asking anybody.

The store decides who holds a lane, and is asked before each command. A process that is stopped after that answer and
woken a minute later would still send what it was about to send: so the time is looked at once more, right before
anything leaves for a node. Another replica takes a lane over when the lease is over and not before.
"""

from collections.abc import Iterable
from datetime import datetime

from orchestrator.engine.ports import Clock, LeaseLostError


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
            # A renewal that was asked for earlier may be answered later; it shortens nothing.
            self._until[group] = max(until, self._until.get(group, until))

    def end(self, group: str) -> None:
        """Forget a lane that is not driven any more."""
        self._until.pop(group, None)

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
