"""Fixtures for every test: the real servers of ``tests/servers``; and how Hypothesis searches."""

import os

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
