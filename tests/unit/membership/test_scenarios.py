"""Each way through the table, told as a short story; together they walk every row of it."""

from collections.abc import Callable

import pytest

from orchestrator.membership.machine import TRANSITIONS
from orchestrator.membership.model import State
from orchestrator.membership.triage.signals import Signal
from tests.fakes.simulated_chain import DAEMON
from tests.fakes.simulated_daemon import SimulatedDaemon
from tests.fakes.stories import adding, creating, deciding, removing, reorganising, repairing

Story = Callable[[], SimulatedDaemon]

STORIES: tuple[Story, ...] = (
    *creating.STORIES,
    *adding.STORIES,
    *reorganising.STORIES,
    *removing.STORIES,
    *repairing.STORIES,
    *deciding.STORIES,
)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_story(story: Story) -> None:
    """Each story's docstring is its claim; at its end no lock of ours is left."""
    assert story().world.chain.head.state.locked_by != DAEMON


def test_every_row_of_the_table_is_walked() -> None:
    """No row of the table is there for nothing: the stories walk all of them."""
    walked: set[tuple[State, Signal]] = set()
    for story in STORIES:
        walked |= story().walked
    assert not TRANSITIONS.keys() - walked
