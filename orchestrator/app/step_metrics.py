"""What the steps of changes come to: how long states and waits take, and why changes are tried again or parked."""

import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from orchestrator.bounded_dicts import BoundedDict
from orchestrator.membership.model import RESTING, Change, State
from orchestrator.membership.reasons.table import RULES

MOST_FOLLOWED: Final = 10_000
"""Changes whose states are timed at once: more than lanes are driven."""

_SECONDS: Final = (0.5, 1, 2, 5, 10, 20, 60, 120, 300, 900, 3600, 14400)
_LOCK_BLOCKS: Final = (1, 2, 3, 5, 8, 13, 21, 34, 55)
_UNKNOWN: Final = "node_error"


class StepMetrics:
    """Counts committed steps.

    Args:
        registry: Where the metrics go.
        seconds: A clock that never goes back.
        now: Returns the present time.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        seconds: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._seconds = seconds
        self._now = now
        self._entered: BoundedDict[str, float] = BoundedDict(MOST_FOLLOWED)
        self._steps = Counter(
            "orchestrator_transitions_total", "Steps that changed a state.", ["state"], registry=registry
        )
        self._took = Histogram(
            "orchestrator_state_seconds",
            "How long changes were in a state that they left, as far as this replica saw them enter it.",
            ["state"],
            buckets=_SECONDS,
            registry=registry,
        )
        for state in State:
            self._steps.labels(state.value)
            if state not in RESTING:
                self._took.labels(state.value)
        self._waited = Histogram(
            "orchestrator_waiting_seconds",
            "How long changes waited from their acceptance to their first turn.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._locked = Histogram(
            "orchestrator_lock_blocks",
            "For how many blocks a group was locked by us.",
            buckets=_LOCK_BLOCKS,
            registry=registry,
        )
        self._again = Counter(
            "orchestrator_retries_total", "Changes that were queued again, by reason.", ["reason"], registry=registry
        )
        self._parked = Counter(
            "orchestrator_parked_total", "Changes that were parked, by reason.", ["reason"], registry=registry
        )
        for slug in RULES:
            self._again.labels(slug)
            self._parked.labels(slug)

        self._held: dict[str, float] = {}

    def held_seconds(self, driven: Collection[str]) -> float:
        """Return for how long the oldest of our locks was seen held, of groups that this replica works on now.

        Args:
            driven: Their ids: of what another replica took over nothing is heard here.
        """
        for group in [group for group in self._held if group not in driven]:
            del self._held[group]
        now = self._seconds()
        return now - min(self._held.values(), default=now)

    def on_step(self, before: Change, after: Change) -> None:
        """Count a committed step."""
        # Those that follow share their lead's lock: it is counted once.
        if after.leads and after.lock_block is not None and after.state not in RESTING:
            self._held.setdefault(after.privacy_group_id, self._seconds())
        elif before.leads:
            self._held.pop(after.privacy_group_id, None)
        if before.lock_block is not None and after.lock_block is None and before.leads and after.effect is not None:
            self._locked.observe(after.effect.block_number - before.lock_block)
        if after.state is before.state:
            return
        self._steps.labels(after.state.value).inc()
        entered = self._entered.pop(after.change_id, None)
        if entered is not None and before.state not in RESTING:
            self._took.labels(before.state.value).observe(self._seconds() - entered)
        if after.state not in RESTING:
            self._entered[after.change_id] = self._seconds()
        if before.state is State.QUEUED and before.tries == 0 and after.state is State.PREFLIGHT:
            self._waited.observe(max(0.0, (self._now() - after.created_at).total_seconds()))
        if after.reason is not None:
            # Stored by another release: labels that nobody bounds would grow the metrics without end.
            slug = after.reason.slug if after.reason.slug in RULES else _UNKNOWN
            if after.state is State.QUEUED:
                self._again.labels(slug).inc()
            elif after.state is State.PARKED:
                self._parked.labels(slug).inc()
