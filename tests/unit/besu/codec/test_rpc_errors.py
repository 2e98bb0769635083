import json
from pathlib import Path

import pytest

from orchestrator.besu import errors, transaction_errors
from orchestrator.besu.codec.rpc_errors import revert_reason_of, rpc_error
from orchestrator.besu.errors import (
    ErrorClass,
    ExecutionRevertedError,
    RpcError,
    UnknownRpcError,
)

# Code and message of each entry of Besu's own list of errors, with the versions that have it.
TYPES = Path(__file__).parents[3] / "contract/besu/rpc_error_types.jsonl"
KNOWN = [(row["code"], row["message"]) for row in map(json.loads, TYPES.read_text().splitlines())]
NOT_OWNER = (
    "0x08c379a00000000000000000000000000000000000000000000000000000000000000020"
    "00000000000000000000000000000000000000000000000000000000000000154f726967696e206e6f7420746865206f776e65722e"
    "0000000000000000000000"
)


@pytest.mark.parametrize(("code", "message"), KNOWN)
def test_every_error_that_besu_can_answer_is_mapped(code: int, message: str) -> None:
    """No entry of Besu's list of errors, from 20.10 to 25.5.0, is unknown."""
    error = rpc_error(code, message)
    assert type(error) is not UnknownRpcError
    assert (error.code, error.message) == (code, message)


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (-32001, "Nonce too low", transaction_errors.NonceTooLowError),
        (-32000, "Wrong chainId", transaction_errors.WrongChainIdError),
        (-32004, "Upfront cost exceeds account balance", transaction_errors.InsufficientBalanceError),
        (-32005, "Transaction gas limit exceeds block gas limit", transaction_errors.GasRefusedError),
        (-32005, "Number of requests exceeds max batch size", errors.BatchTooLargeError),
        (-32601, "Method not found", errors.MethodNotFoundError),
        (-32604, "Method not enabled", errors.MethodNotEnabledError),
        (-40100, "Unauthorized", errors.UnauthorizedError),
        (-50100, "Flexible Privacy group does not exist.", errors.GroupUnknownError),
        (-50100, "Onchain Privacy group does not exist.", errors.GroupUnknownError),
        (-50100, "Error finding privacy group", errors.GroupUnknownError),
        (-50100, "Unable to determine nonce for account in group.", errors.GroupUnknownError),
        (-50100, "Error communicating with enclave", errors.EnclaveUnreachableError),
        (-50100, "Private from does not match enclave public key", errors.EnclaveKeyNotHostedError),
        (-50100, "Unable to decode the private signed raw transaction", transaction_errors.TransactionRefusedError),
        (-50100, "Private transaction failed", errors.ExecutionRevertedError),
        (
            -50100,
            "Privacy Marker Transaction failed due to intrinsic gas exceeding …",
            transaction_errors.IntrinsicGasError,
        ),
        (
            -50100,
            "Private Marker Transaction failed due to intrinsic gas exceeding …",
            transaction_errors.IntrinsicGasError,
        ),
        (-50200, "NodeMissingPeerUrl", errors.EnclaveKeyUnknownError),
        (
            -50200,
            "Recipient not found for key: A1aVtMxLCUHmAVHXoZzzBgPbW/wj5axDpW9X8l91SGo=",
            errors.EnclaveRecipientAwayError,
        ),
        (-50200, "EnclaveNoMatchingPrivateKey", errors.EnclaveKeyNotHostedError),
        (-50200, "NodePushingToPeer", errors.EnclaveUnreachableError),
        (-50200, "SomethingNewInAnEnclave", errors.EnclaveError),
        (-32000, "Execution reverted: Origin not the owner.", errors.NotOwnerError),
        (-32000, "Execution reverted (Origin not the owner.)", errors.NotOwnerError),
        (-32000, "Execution reverted", errors.ExecutionRevertedError),
        (-32000, "Execution reverted: Something of an application", errors.ExecutionRevertedError),
        (-32000, "Known transaction", transaction_errors.MarkerKnownError),
        (-32000, "Replacement transaction underpriced", transaction_errors.MarkerOutbidError),
        (-32000, "Transaction nonce is too distant from current sender nonce", transaction_errors.MarkerPoolError),
        (-32000, "Transaction nonce it too distant from current sender nonce", transaction_errors.MarkerPoolError),
        (-32007, "Sender account not authorized to send transactions", transaction_errors.AccountNotPermittedError),
        (-32009, "Gas price below configured minimum gas price", transaction_errors.GasPriceTooLowError),
    ],
)
def test_what_a_change_can_meet_is_told_apart(code: int, message: str, kind: type[RpcError]) -> None:
    """Errors that share a code and mean different things become different classes."""
    assert type(rpc_error(code, message)) is kind


@pytest.mark.parametrize(("code", "message"), [(-1, "Whatever"), (-32000, "Entirely new"), (-50100, "Entirely new")])
def test_an_error_that_nobody_knows_is_left_to_a_person(code: int, message: str) -> None:
    """An unknown error is neither retried nor taken for a refusal."""
    error = rpc_error(code, message)
    assert type(error) is UnknownRpcError
    assert error.error_class is ErrorClass.OPERATOR
    assert not error.certain


def test_a_long_message_is_cut() -> None:
    """What a node writes cannot flood a log."""
    assert len(str(rpc_error(-1, "x" * 100_000))) < 1_000


def test_the_text_of_a_revert_is_read() -> None:
    """The reason that the contract gave is taken from the data, whatever the message says."""
    error = rpc_error(-32000, "Execution reverted", NOT_OWNER)
    assert isinstance(error, ExecutionRevertedError)
    assert error.revert_reason == "Origin not the owner."


@pytest.mark.parametrize(
    "data", [None, 5, "0x", "zz", "0x08c379a0", NOT_OWNER[:-2], "0x" + "00" * 40, "0x" + "00" * 9000]
)
def test_data_that_are_no_reason_are_left_alone(data: object) -> None:
    """Missing, cut off and foreign revert data give no reason, and no error."""
    assert revert_reason_of(data) is None
