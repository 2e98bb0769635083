import pytest

from orchestrator.besu.codec.simulation import Forecast, Simulation, simulated_error, simulated_output
from orchestrator.besu.errors import (
    ExecutionRevertedError,
    InvalidRequestError,
    NotOwnerError,
    ProtocolError,
    UnauthorizedError,
)


@pytest.mark.parametrize(
    ("output", "forecast"),
    [
        (None, Forecast.NO_BLOCK),
        (b"", Forecast.EMPTY),
        ((1).to_bytes(32), Forecast.SUCCEEDS),
        ((0).to_bytes(32), Forecast.NOTHING_CHANGES),
    ],
)
def test_outputs_are_forecasts(output: bytes | None, forecast: Forecast) -> None:
    """Null, nothing, one and zero each mean something else."""
    assert simulated_output(output).forecast is forecast


@pytest.mark.parametrize("output", [b"\x01", (2).to_bytes(32), bytes(64)])
def test_other_outputs_are_refused(output: bytes) -> None:
    """An answer that is no Boolean is another contract's."""
    with pytest.raises(ProtocolError):
        simulated_output(output)


def test_errors_that_mean_failure_are_forecasts() -> None:
    """A revert, with or without its reason, and what old versions answer instead, are forecasts."""
    reason = "Origin not the owner."
    assert simulated_error(NotOwnerError(-32000, "x", revert_reason=reason)) == Simulation(
        Forecast.NOT_OWNER, revert_reason=reason
    )
    assert simulated_error(ExecutionRevertedError(-50100, "x")) == Simulation(Forecast.REVERTS)
    assert simulated_error(InvalidRequestError(-32602, "Invalid params")) == Simulation(Forecast.REVERTS)


def test_other_errors_are_raised() -> None:
    """An error that says nothing about the call is no forecast."""
    with pytest.raises(UnauthorizedError):
        simulated_error(UnauthorizedError(-40100, "Unauthorized"))
