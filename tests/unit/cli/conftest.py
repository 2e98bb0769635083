"""The command line against the HTTP API over parts in memory."""

from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner, Result

from orchestrator.cli.main import app
from tests.fakes.http_api import FakeParts, serving

Run = Callable[..., Result]


@pytest.fixture
def parts() -> FakeParts:
    """What the API talks to."""
    return FakeParts()


@pytest.fixture
def daemon_url(parts: FakeParts) -> Iterator[str]:
    """Address of the API."""
    with serving(parts) as url:
        yield url


@pytest.fixture
def run(daemon_url: str) -> Run:
    """Run a verb against that API."""

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env={"ORCHESTRATOR_URL": daemon_url})

    return invoke
