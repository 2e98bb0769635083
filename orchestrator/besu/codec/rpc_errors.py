"""The one map from what a node answers, (code, message), to typed errors. Pure.

Codes are shared by many messages (docs/besu.md#outcomes), so both are matched. The messages are those of Besu 20.10 to
25.5.0 (``RpcErrorType.java``, before 23.10 ``JsonRpcError.java``), of Orion and of Tessera.
"""

import re
from dataclasses import dataclass
from typing import Final

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from orchestrator.besu.codec.identifiers import InvalidIdentifierError, hex_to_bytes
from orchestrator.besu.codec.management_contract import NOT_OWNER_MESSAGE, selector
from orchestrator.besu.errors import (
    BatchTooLargeError,
    EnclaveError,
    EnclaveKeyNotHostedError,
    EnclaveKeyUnknownError,
    EnclaveRecipientAwayError,
    EnclaveUnreachableError,
    ExecutionRevertedError,
    GroupUnknownError,
    InvalidRequestError,
    LimitExceededError,
    MethodNotEnabledError,
    MethodNotFoundError,
    NodeInternalError,
    NodeNotReadyError,
    NotFoundError,
    NotOwnerError,
    PrivacyDisabledError,
    RpcError,
    UnauthorizedError,
    UnknownRpcError,
    UnrelatedRefusalError,
)
from orchestrator.besu.transaction_errors import (
    AccountNotPermittedError,
    GasPriceTooLowError,
    GasRefusedError,
    InsufficientBalanceError,
    IntrinsicGasError,
    MarkerKnownError,
    MarkerOutbidError,
    MarkerPoolError,
    NonceTooLowError,
    TransactionRefusedError,
    WrongChainIdError,
)
from orchestrator.outside_text import presentable

_LONGEST_MATCHED: Final = 500
_LONGEST_REVERT_BYTES: Final = 4096
_ERROR_SELECTOR: Final = selector("Error(string)")


@dataclass(frozen=True, slots=True)
class _Rule:
    code: int
    pattern: re.Pattern[str]
    error: type[RpcError]


def _rule(code: int, pattern: str, error: type[RpcError]) -> _Rule:
    return _Rule(code, re.compile(pattern, re.IGNORECASE), error)


_RULES: Final = (
    _rule(-40100, "", UnauthorizedError),
    _rule(-32700, "", InvalidRequestError),
    _rule(-32600, "", InvalidRequestError),
    _rule(-32601, "", MethodNotFoundError),
    _rule(-32602, "", InvalidRequestError),
    _rule(-32603, "", NodeInternalError),
    _rule(-32604, "", MethodNotEnabledError),
    # Sending.
    _rule(-32001, "nonce too low", NonceTooLowError),
    _rule(-32006, "", MarkerPoolError),
    _rule(-32002, "transaction pool", NodeNotReadyError),
    _rule(-32002, "signature", TransactionRefusedError),
    _rule(-32003, "", IntrinsicGasError),
    _rule(-32004, "", InsufficientBalanceError),
    _rule(-32005, "batch size", BatchTooLargeError),
    _rule(-32005, "range", LimitExceededError),
    _rule(-32005, "gas limit", GasRefusedError),
    _rule(-32007, "", AccountNotPermittedError),
    _rule(-32008, "", NodeNotReadyError),
    _rule(-32009, "", GasPriceTooLowError),
    _rule(-32000, "wrong chainid", WrongChainIdError),
    _rule(-32000, "chainid (not supported|is required)", WrongChainIdError),
    _rule(-32000, "^known transaction", MarkerKnownError),
    _rule(-32000, "replacement transaction", MarkerOutbidError),
    _rule(-32000, "nonce i[st] too distant|lower nonce", MarkerPoolError),  # "it": up to 22.10
    _rule(-32000, "fee cap|max priority fee|blob gas", GasRefusedError),
    _rule(32000, "max priority fee", GasRefusedError),
    _rule(-32000, "plugin has marked", TransactionRefusedError),
    _rule(-3200, "gasprice must be", GasPriceTooLowError),
    # Simulating and reading.
    _rule(-32000, "^execution reverted.*" + re.escape(NOT_OWNER_MESSAGE), NotOwnerError),
    _rule(-32000, "^execution reverted|due to an exception", ExecutionRevertedError),
    _rule(-32000, "not found", NotFoundError),
    _rule(-32000, "world state unavailable", NodeNotReadyError),
    _rule(-39001, "", NotFoundError),
    # Privacy.
    _rule(-50100, "communicating with enclave", EnclaveUnreachableError),
    _rule(-50100, "(onchain|flexible) privacy group does not exist", GroupUnknownError),
    _rule(-50100, "error finding .*privacy group", GroupUnknownError),
    _rule(-50100, "unable to determine nonce", GroupUnknownError),
    _rule(-50100, "offchain privacy group does not exist", GroupUnknownError),
    _rule(-50100, "not enabled|can't be used with", PrivacyDisabledError),
    _rule(-50100, "private from does not match", EnclaveKeyNotHostedError),
    _rule(-50100, "intrinsic gas", IntrinsicGasError),
    _rule(-50100, "^private transaction failed", ExecutionRevertedError),
    _rule(-50100, "unable to decode|ether|must use privacygroupid|transaction type", TransactionRefusedError),
    _rule(-50100, "private transaction invalid|goquorum", TransactionRefusedError),
    _rule(-50100, "error (creating|deleting) privacy group", EnclaveError),
    _rule(-50200, "^NodeMissingPeerUrl", EnclaveKeyUnknownError),
    _rule(-50200, "^recipient not found", EnclaveRecipientAwayError),  # Tessera, also while a peer is down
    _rule(-50200, "^EnclaveNoMatchingPrivateKey|^NoSenderKey", EnclaveKeyNotHostedError),
    _rule(-50200, "^NodePushingToPeer|^NodePropagatingToAllPeers", EnclaveUnreachableError),
    _rule(-50200, "^PrivacyGroupNotFound", GroupUnknownError),
    _rule(-50200, "", EnclaveError),
    # What membership changes never ask for; named so that a new message stands out as unknown.
    _rule(
        -32000,
        "allowlist|permi(tted|ssion)|list of (accounts|nodes)|(invalid|duplicate) (account|node)",
        UnrelatedRefusalError,
    ),
    _rule(
        -32000,
        "disabled|p2p network is not running|mining|coinbase|filter|rlp|import block|node id|invalid input",
        UnrelatedRefusalError,
    ),
    _rule(-32001, "payload", UnrelatedRefusalError),
    _rule(-32002, "terminal block", UnrelatedRefusalError),
    _rule(-32010, "", UnrelatedRefusalError),
    _rule(-32011, "", UnrelatedRefusalError),
    _rule(-32100, "", UnrelatedRefusalError),
    _rule(-38002, "", UnrelatedRefusalError),
    _rule(-38003, "", UnrelatedRefusalError),
    _rule(-38004, "", UnrelatedRefusalError),
    _rule(-38005, "", UnrelatedRefusalError),
    _rule(-60000, "", UnrelatedRefusalError),
)


def rpc_error(code: int, message: str, data: object = None) -> RpcError:
    """Return the typed error of what a node answered; an ``UnknownRpcError`` when no version is known to answer it."""
    for rule in _RULES:
        if rule.code == code and rule.pattern.search(message[:_LONGEST_MATCHED]):
            if issubclass(rule.error, ExecutionRevertedError):
                return rule.error(code, message, data, revert_reason=revert_reason_of(data))
            return rule.error(code, message, data)
    return UnknownRpcError(code, message, data)


def revert_reason_of(data: object) -> str | None:
    """Read the text out of what a contract reverted with, ``Error(string)`` as "0x…" text; None when there is none."""
    if not isinstance(data, str):
        return None
    try:
        reverted = hex_to_bytes(data, max_bytes=_LONGEST_REVERT_BYTES)
        if reverted[:4] != _ERROR_SELECTOR:
            return None
        (text,) = decode(["string"], reverted[4:])
    except (InvalidIdentifierError, DecodingError, UnicodeDecodeError, OverflowError):
        return None
    return presentable(str(text))
