"""What steps are counted as."""

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from orchestrator.app.step_metrics import MOST_FOLLOWED, StepMetrics
from orchestrator.membership.model import Effect, GroupView, State
from orchestrator.membership.reasons.table import Reason
from tests.fakes.changes import a_change
from tests.fakes.clock import START


class Counted:
    """Metrics with a clock that the test sets."""

    def __init__(self) -> None:
        self.at = 0.0
        self.registry = CollectorRegistry()
        self.metrics = StepMetrics(self.registry, lambda: self.at, lambda: START + timedelta(seconds=self.at))

    def step(self, before: State, after: State, name: str = "1", **fields: Any) -> None:
        self.metrics.on_step(a_change(name, state=before), a_change(name, state=after, **fields))

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def counted() -> Counted:
    return Counted()


def test_each_state_is_timed(counted: Counted) -> None:
    """What a change spends in a state is observed when it leaves; waiting in the queue is no state of its own."""
    counted.at = 4.0
    counted.step(State.QUEUED, State.PREFLIGHT)
    counted.at = 6.5
    counted.step(State.PREFLIGHT, State.LOCKING)
    assert counted.value("orchestrator_state_seconds_sum", state="preflight") == 2.5
    assert counted.value("orchestrator_state_seconds_count", state="queued") is None
    assert counted.value("orchestrator_waiting_seconds_sum") == 4.0


def test_a_state_that_was_entered_elsewhere_is_not_timed(counted: Counted) -> None:
    """A replica that took a change over does not know since when it is there, and guesses nothing."""
    counted.step(State.LOCKING, State.ADDING)
    assert counted.value("orchestrator_state_seconds_count", state="locking") == 0


def test_reasons_are_counted(counted: Counted) -> None:
    """Each retry and each parking counts under its reason; one that nobody knows counts as a node's error."""
    counted.step(State.PREFLIGHT, State.QUEUED, reason=Reason(slug="node_unreachable"))
    counted.step(State.PREFLIGHT, State.PARKED, reason=Reason(slug="member_missing"))
    counted.step(State.PREFLIGHT, State.PARKED, reason=Reason(slug="what a node made up"))
    assert counted.value("orchestrator_retries_total", reason="node_unreachable") == 1
    assert counted.value("orchestrator_parked_total", reason="member_missing") == 1
    assert counted.value("orchestrator_parked_total", reason="node_error") == 1


def test_locks_are_measured_in_blocks(counted: Counted) -> None:
    """When a lock is gone by what was asked for, the blocks that it was held are observed."""
    adding = a_change("1", state=State.ADDING, lead_id="change-1", lock_block=9)
    view = GroupView(block_number=11, exists=True, participants=(), version="", state_root="")
    added = a_change(
        "1",
        state=State.REPLAYING,
        lead_id="change-1",
        effect=Effect(block_number=11, block_hash="0x", view=view),
    )
    counted.metrics.on_step(adding, added)
    assert counted.value("orchestrator_lock_blocks_sum") == 2


def test_what_is_remembered_is_bounded(counted: Counted) -> None:
    """Changes that never leave a state here are forgotten, the oldest first."""
    for number in range(MOST_FOLLOWED + 1):
        counted.step(State.QUEUED, State.PREFLIGHT, str(number))
    counted.step(State.PREFLIGHT, State.LOCKING, "0")
    assert counted.value("orchestrator_state_seconds_count", state="preflight") == 0
    counted.step(State.PREFLIGHT, State.LOCKING, "2")
    assert counted.value("orchestrator_state_seconds_count", state="preflight") == 1


def test_a_lock_that_is_held_is_told_while_its_lane_is_here(counted: Counted) -> None:
    """The oldest lock counts, until its change gives it back or another replica works on the group."""
    lead: dict[str, Any] = {"lead_id": "change-1", "lock_block": 9}
    assert counted.metrics.held_seconds(["g"]) == 0.0
    counted.at = 10.0
    counted.metrics.on_step(a_change("1", state=State.LOCKING), a_change("1", state=State.ADDING, **lead))
    group = a_change("1").privacy_group_id
    counted.at = 30.0
    counted.metrics.on_step(a_change("1", state=State.ADDING, **lead), a_change("1", state=State.UNLOCKING, **lead))
    assert counted.metrics.held_seconds([group]) == 20.0
    unlocked = a_change("1", state=State.QUEUED)
    counted.metrics.on_step(a_change("1", state=State.UNLOCKING, **lead), unlocked)
    assert counted.metrics.held_seconds([group]) == 0.0
    counted.metrics.on_step(a_change("1", state=State.LOCKING), a_change("1", state=State.ADDING, **lead))
    assert counted.metrics.held_seconds([]) == 0.0
    assert counted.metrics.held_seconds([group]) == 0.0, "what was given up is not taken up again unseen"
