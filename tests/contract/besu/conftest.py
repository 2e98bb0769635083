"""Recorded exchanges with real nodes, and devnets that the client library is tried on."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "devnet/recordings"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One recorded request and what a real node answered.

    Attributes:
        besu: version of the nodes.
        step: what the scenario was doing.
        node: from 1; None where it is not recorded.
        method, params: the request; empty for what the node sent by itself.
        response: the JSON-RPC object.
    """

    besu: str
    step: str
    node: int | None
    method: str
    params: list[Any]
    response: dict[str, Any]

    @property
    def result(self) -> Any:
        """The result; None for errors too."""
        return self.response.get("result")


@cache
def _exchanges(pattern: str) -> tuple[Exchange, ...]:
    return tuple(
        exchange
        for path in sorted(FOLDER.glob(pattern))
        for exchange in map(_exchange, path.read_text().splitlines())
        if exchange is not None
    )


def _exchange(line: str) -> Exchange | None:
    row = json.loads(line)
    response = row.get("response")
    if response is None and row.get("text"):
        try:
            response = json.loads(row["text"])
        except ValueError:  # long answers are recorded cut off
            return None
    if not isinstance(response, dict):
        return None
    request = row.get("request") or {}
    return Exchange(
        besu=row["besu"],
        step=row["step"],
        node=row.get("node"),
        method=request.get("method", ""),
        params=request.get("params", []),
        response=response,
    )


@pytest.fixture(scope="session")
def recorded() -> tuple[Exchange, ...]:
    """Every recorded exchange."""
    found = _exchanges("*.jsonl")
    assert found
    return found


@pytest.fixture(scope="session")
def scenario() -> Callable[[str], tuple[Exchange, ...]]:
    """The exchanges of the main scenario by version."""

    def of(version: str) -> tuple[Exchange, ...]:
        return _exchanges(f"besu-{version}.jsonl")

    return of


@pytest.fixture(scope="session")
def simulations() -> Callable[[str], tuple[Exchange, ...]]:
    """The exchanges of the simulation scenario by version."""

    def of(version: str) -> tuple[Exchange, ...]:
        return _exchanges(f"simulation-{version}.jsonl")

    return of
