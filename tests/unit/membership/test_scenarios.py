"""Each way through the table, as a short scenario; together they walk every row of it."""

from collections.abc import Callable

import pytest

from orchestrator.membership.machine import TRANSITIONS
from orchestrator.membership.model import State
from orchestrator.membership.triage.signals import Signal
from tests.fakes.scenarios import adding, creating, deciding, removing, reorganising, repairing
from tests.fakes.simulated_chain import DAEMON
from tests.fakes.simulated_daemon import SimulatedDaemon

Scenario = Callable[[], SimulatedDaemon]

SCENARIOS: tuple[Scenario, ...] = (
    *creating.SCENARIOS,
    *adding.SCENARIOS,
    *reorganising.SCENARIOS,
    *removing.SCENARIOS,
    *repairing.SCENARIOS,
    *deciding.SCENARIOS,
)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_scenario(scenario: Scenario) -> None:
    """Each scenario's docstring is its claim; at its end no lock of ours is left."""
    assert scenario().world.chain.head.state.locked_by != DAEMON


def test_every_row_of_the_table_is_walked() -> None:
    """No row of the table is there for nothing: the scenarios walk all of them."""
    walked: set[tuple[State, Signal]] = set()
    for scenario in SCENARIOS:
        walked |= scenario().walked
    assert not TRANSITIONS.keys() - walked
