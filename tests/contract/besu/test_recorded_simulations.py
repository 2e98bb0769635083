"""Every recorded simulation forecasts what the transaction would do."""

from typing import Any

import pytest

from orchestrator.besu.codec import answers
from orchestrator.besu.codec.rpc_errors import rpc_error
from orchestrator.besu.codec.simulation import Forecast, Simulation, simulated_error, simulated_output

UNLOCKED = {
    "lock": Forecast.EMPTY,
    "unlock": Forecast.REVERTS,
    "can upgrade": Forecast.SUCCEEDS,
    "add member 3": Forecast.REVERTS,
    "add member 2": Forecast.REVERTS,
    "remove member 2": Forecast.SUCCEEDS,
    "remove member 3": Forecast.NOTHING_CHANGES,
}
LOCKED = {
    "lock": Forecast.REVERTS,
    "unlock": Forecast.EMPTY,
    "can upgrade": Forecast.SUCCEEDS,
    "add member 3": Forecast.SUCCEEDS,
    "add member 2": Forecast.NOTHING_CHANGES,
    "remove member 2": Forecast.REVERTS,
    "remove member 3": Forecast.REVERTS,
}


def simulated(exchange: Any) -> Simulation:
    error = exchange.response.get("error")
    if error is not None:
        return simulated_error(rpc_error(error["code"], error["message"], error.get("data")))
    return simulated_output(answers.optional(answers.read_data, exchange.result))


@pytest.mark.parametrize("version", ["21.1.7", "23.10.3", "25.5.0"])
@pytest.mark.parametrize(("state", "expected"), [("unlocked", UNLOCKED), ("locked", LOCKED)])
def test_the_owner_is_told_what_would_happen(
    simulations: Any, version: str, state: str, expected: dict[str, Forecast]
) -> None:
    """As the owner, each call is forecast as the transaction then behaves, in both lock states."""
    by_step = {exchange.step: exchange for exchange in simulations(version)}
    told = {call: simulated(by_step[f"{state}: simulate {call} as owner"]).forecast for call in expected}
    assert told == expected


@pytest.mark.parametrize("version", ["21.1.7", "23.10.3", "25.5.0"])
@pytest.mark.parametrize("who", ["other account", "no account"])
def test_others_are_told_that_they_do_not_own_the_group(simulations: Any, version: str, who: str) -> None:
    """Any other account cannot upgrade in any lock state, and where the node explains, it says who may."""
    by_step = {exchange.step: exchange for exchange in simulations(version)}
    for state in ("unlocked", "locked"):
        assert simulated(by_step[f"{state}: simulate can upgrade as {who}"]).forecast is Forecast.NOTHING_CHANGES
    refused = simulated(by_step[f"unlocked: simulate lock as {who}"])
    if version == "21.1.7":
        assert refused == Simulation(Forecast.REVERTS)
    else:
        assert refused == Simulation(Forecast.NOT_OWNER, revert_reason="Origin not the owner.")


@pytest.mark.parametrize("version", ["21.1.7", "23.10.3", "25.5.0"])
def test_unknown_groups_and_blocks_are_told(simulations: Any, version: str) -> None:
    """A group that the node does not have answers nothing, and a block beyond the head is no block."""
    by_step = {exchange.step: exchange for exchange in simulations(version)}
    for step in ("can of an unknown group", "can asked of a node that is no member", "version at block earliest"):
        assert simulated(by_step[step]).forecast is Forecast.EMPTY
    assert simulated(by_step["version at block 0xfffff"]).forecast is Forecast.NO_BLOCK
