"""Fixtures for every test: the real servers of ``tests/servers``; logging as it was; and how Hypothesis searches."""

import logging
import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.servers.fixtures"]

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


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A test that runs the command line sets logging up for a stream that is closed after it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
