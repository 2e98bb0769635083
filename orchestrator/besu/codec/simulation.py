"""Reading a simulated call: what ``priv_call`` as an account says would happen. Pure.

Source: docs/besu.md#looking-before-leaping.
"""

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.besu.errors import ExecutionRevertedError, InvalidRequestError, NotOwnerError, ProtocolError, RpcError


class Forecast(StrEnum):
    """What would happen."""

    SUCCEEDS = "succeeds"
    """The call would do what it says."""
    NOTHING_CHANGES = "nothing_changes"
    """The call would execute and answer 0: a key is a member already, or the one to remove is none."""
    EMPTY = "empty"
    """The answer is empty: success of ``lock`` and ``unlock``, or the node has no such group."""
    NOT_OWNER = "not_owner"
    """The account did not create the group."""
    REVERTS = "reverts"
    """The call would fail: the wrong lock state, or another condition of the contract."""
    NO_BLOCK = "no_block"
    """The node does not have the block that was asked about."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a simulated call answered.

    Attributes:
        forecast: what would happen.
        output: what the contract answered, when it would not fail.
        revert_reason: text of the contract's ``require``, when it gave one.
    """

    forecast: Forecast
    output: bytes = b""
    revert_reason: str | None = None


def simulated_output(output: bytes | None) -> Simulation:
    """Read an answer without error; None is what a node says of a block that it does not have.

    Raises:
        ProtocolError: the contract answered something else than a Boolean or nothing.
    """
    if output is None:
        return Simulation(Forecast.NO_BLOCK)
    if not output:
        return Simulation(Forecast.EMPTY)
    flag = int.from_bytes(output)
    if len(output) != 32 or flag > 1:
        raise ProtocolError(f"a simulated change answered {len(output)} bytes that are no Boolean")
    return Simulation(Forecast.SUCCEEDS if flag else Forecast.NOTHING_CHANGES, output)


def simulated_error(error: RpcError) -> Simulation:
    """Read an error that says that the call would fail.

    Besu up to 22.x answers "Invalid params" to every call that fails, so there the reason is unknown, and an account
    that is not the owner cannot be told from a wrong lock state; ``canUpgrade`` can
    (docs/besu.md#looking-before-leaping).

    Raises:
        RpcError: the error says something else; it is raised as it is.
    """
    if isinstance(error, NotOwnerError):
        return Simulation(Forecast.NOT_OWNER, revert_reason=error.revert_reason)
    if isinstance(error, ExecutionRevertedError):
        return Simulation(Forecast.REVERTS, revert_reason=error.revert_reason)
    if isinstance(error, InvalidRequestError):
        return Simulation(Forecast.REVERTS)
    raise error
