"""Fixtures for every test: the real servers of ``tests/servers``; logging as it was; and how Hypothesis searches."""

import gc
import logging
import os
from collections.abc import Generator, Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from tests.processor_time import settle
from tests.servers.late_connections import close_late_connections

pytest_plugins = ["tests.servers.fixtures"]
close_late_connections()

# How long an example takes says more about the machine than about the code. Where nobody looks at single runs, the same
# examples are tried each time: a run that fails then fails again.
settings.register_profile(
    "project",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    derandomize="CI" in os.environ,
)
settings.load_profile("project")


class Groups(LoadScopeScheduling):  # type: ignore[misc] # it has no types
    """Gives tests that belong together to one test process, and each other one to whichever is free.

    By their names: pytest-xdist writes the groups of its marks into the tests' ids, where pytest 9.2 does not look.
    """

    def _split_scope(self, nodeid: str) -> str:
        # A RabbitMQ takes 6 s to start, a Kafka 3 s. Two tests of a matrix at once would run a dozen daemons on two
        # processors.
        together = ("tests/integration/crash/", "tests/integration/faults/", "rabbitmq", "kafka")
        return next((name for name in together if name in nodeid), nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Groups:
    """Spread the tests over the test processes."""
    return Groups(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leave what is imported for good out of all collections of garbage: one of it all stops a test for a second."""
    gc.disable()
    try:
        return (yield)
    finally:
        settle()
        gc.enable()


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A test that runs the command line sets logging up for a stream that is closed after it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
