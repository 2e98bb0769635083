"""Every way in which a Besu node can fail a caller; refusals of transactions are in `transaction_errors`,
those of credentials in `credential_errors`. Pure.

::

    BesuError
    ├── TransportError              no answer
    │   ├── NodeUnreachableError    nothing was sent
    │   ├── NodeTimeoutError        sent, perhaps acted on
    │   ├── ConnectionLostError     sent, perhaps acted on
    │   ├── HostNotAllowedError     the node takes no requests under this host name
    │   ├── CredentialsRefusedError nothing at all is answered to our credentials
    │   └── HttpStatusError         a proxy or an overloaded node answered instead
    ├── CredentialError             what proves us to the node can't be had
    ├── ProtocolError               an answer that is no JSON-RPC, or not what the method answers
    │   └── BatchRefusedError       fewer requests at once may be answered
    ├── NotKnownError               null: the node has no answer to this, here or yet
    ├── VersionUnknownError         the version has to be configured
    └── RpcError                    the node answered with an error
        ├── UnauthorizedError
        ├── MethodNotFoundError
        ├── MethodNotEnabledError
        ├── InvalidRequestError
        ├── NotFoundError
        ├── LimitExceededError
        │   └── BatchTooLargeError
        ├── NodeNotReadyError
        ├── NodeInternalError
        ├── TransactionRefusedError
        │   ├── NonceTooLowError
        │   ├── WrongChainIdError
        │   ├── InsufficientBalanceError
        │   ├── GasRefusedError
        │   │   ├── IntrinsicGasError
        │   │   └── GasPriceTooLowError
        │   ├── AccountNotPermittedError
        │   ├── MarkerPoolError
        │   │   └── MarkerOutbidError
        │   └── MarkerKnownError
        ├── ExecutionRevertedError
        │   └── NotOwnerError
        ├── GroupUnknownError
        ├── PrivacyDisabledError
        ├── EnclaveError
        │   ├── EnclaveUnreachableError
        │   ├── EnclaveKeyUnknownError
        │   ├── EnclaveRecipientAwayError
        │   └── EnclaveKeyNotHostedError
        ├── UnrelatedRefusalError
        └── UnknownRpcError
"""

from enum import StrEnum
from typing import ClassVar, Final

from orchestrator.outside_text import presentable

_LONGEST_MESSAGE: Final = 500


class ErrorClass(StrEnum):
    """What an error means for whoever asked."""

    RETRY = "retry"
    """The same request may work later."""
    REFUSED = "refused"
    """This request cannot work; another one may."""
    OPERATOR = "operator"
    """A person has to change the node, the enclave or the configuration."""


class BesuError(Exception):
    """A request to a node failed.

    Attributes:
        reason: stable name of what went wrong.
        error_class: what it means for the caller.
        certain: True when the node surely did not act on the request; False when it may have.
    """

    reason: ClassVar[str] = "besu_error"
    error_class: ClassVar[ErrorClass] = ErrorClass.RETRY
    certain: ClassVar[bool] = True


class TransportError(BesuError):
    """No answer came: the node may or may not have acted on the request."""

    reason = "node_unreachable"
    certain = False


class NodeUnreachableError(TransportError):
    """No connection to the node: nothing was sent. Check its address, and that it runs."""

    certain = True


class NodeTimeoutError(TransportError):
    """No answer within the time allowed."""

    reason = "node_timeout"


class ConnectionLostError(TransportError):
    """The connection broke before the answer was whole."""

    reason = "connection_lost"


class HttpStatusError(TransportError):
    """An HTTP status without a JSON-RPC answer, from a proxy or an overloaded node.

    Attributes:
        status: the HTTP status.
    """

    reason = "http_status"

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class HostNotAllowedError(TransportError):
    """The node takes no requests under this host name (HTTP 403, ``Host not authorized.``): nothing was done."""

    reason = "host_not_allowed"
    error_class = ErrorClass.OPERATOR
    certain = True


class NotKnownError(BesuError):
    """The node answered null: it has no such block, receipt or state, here or yet. It is no answer to the question.

    A replica that is late answers so for a block beyond its head (docs/besu.md#looking-before-leaping).
    """

    reason = "not_known"
    certain = False


class ProtocolError(BesuError):
    """The answer is no JSON-RPC, too large, or not what the method answers. Check that the address is a Besu node's."""

    reason = "bad_answer"
    certain = False


class BatchRefusedError(ProtocolError):
    """The node, or what stands before it, takes no batch, or none so large; fewer at once, or one by one, may work."""

    reason = "batch_refused"


class VersionUnknownError(BesuError):
    """The node does not say which version of Besu it runs; methods and contracts differ between versions."""

    reason = "version_unknown"
    error_class = ErrorClass.OPERATOR


class RpcError(BesuError):
    """The node answered with an error.

    Attributes:
        code, message, data: as answered; the message is made fit to be told (``outside_text.presentable``).
    """

    reason = "rpc_error"
    error_class = ErrorClass.REFUSED
    remedy: ClassVar[str] = ""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        self.code = code
        self.message = presentable(message, _LONGEST_MESSAGE)
        self.data = data
        advice = f"; {self.remedy}" if self.remedy else ""
        super().__init__(f"{self.message} ({code}){advice}")


class UnauthorizedError(RpcError):
    """The token is missing, expired, lacks the permission, or its tenant is no member."""

    reason = "unauthorized"
    error_class = ErrorClass.OPERATOR
    remedy = "check that the node's token is valid, has the permission and names a member's enclave key"


class MethodNotFoundError(RpcError):
    """The node does not know the method: another version, or its API group is off."""

    reason = "method_not_found"
    error_class = ErrorClass.OPERATOR
    remedy = "check the Besu version and that --rpc-http-api and --rpc-ws-api list EEA, PRIV and ETH"


class MethodNotEnabledError(RpcError):
    """The node knows the method and has it off; expected of the offchain group methods on a flexible network."""

    reason = "method_not_enabled"
    error_class = ErrorClass.OPERATOR
    remedy = "check which API groups and which kind of privacy groups the node enables"


class InvalidRequestError(RpcError):
    """The node could not read the request; nodes up to 22.x also answer so to a simulation that fails."""

    reason = "invalid_params"


class NotFoundError(RpcError):
    """A block, a filter, a subscription or an account is not there (yet)."""

    reason = "not_found"
    error_class = ErrorClass.RETRY


class LimitExceededError(RpcError):
    """The request asks for more than the node gives at once."""

    reason = "limit_exceeded"


class BatchTooLargeError(LimitExceededError):
    """More requests in one batch than the node takes."""

    reason = "batch_too_large"
    remedy = "send smaller batches or raise --rpc-http-max-batch-size"


class NodeNotReadyError(RpcError):
    """The node is still synchronising, or a part that the request needs is not up."""

    reason = "node_not_ready"
    error_class = ErrorClass.RETRY


class NodeInternalError(RpcError):
    """The node failed inside; it may have acted on the request."""

    reason = "node_internal"
    error_class = ErrorClass.RETRY
    certain = False


class ExecutionRevertedError(RpcError):
    """A simulated call fails.

    Attributes:
        revert_reason: text of the contract's ``require``; None when it gave none.
    """

    reason = "execution_reverted"

    def __init__(self, code: int, message: str, data: object = None, *, revert_reason: str | None = None) -> None:
        super().__init__(code, message, data)
        self.revert_reason = revert_reason


class NotOwnerError(ExecutionRevertedError):
    """The account did not create the group; only its creator may change it."""

    reason = "not_owner"
    remedy = "use the account that created the group"


class GroupUnknownError(RpcError):
    """The node has no such group, or its enclave key is not in it, or it has not replayed so far."""

    reason = "group_unknown"


class PrivacyDisabledError(RpcError):
    """The node has no privacy, or another kind of privacy groups."""

    reason = "privacy_disabled"
    error_class = ErrorClass.OPERATOR
    remedy = "start the node with --privacy-enabled and --privacy-flexible-groups-enabled"


class EnclaveError(RpcError):
    """An enclave refused."""

    reason = "enclave_error"
    error_class = ErrorClass.OPERATOR


class EnclaveUnreachableError(EnclaveError):
    """The node's enclave, or the enclave of a member, does not answer."""

    reason = "enclave_unreachable"
    error_class = ErrorClass.RETRY
    remedy = "start the enclave of the node and of each member and check that they reach each other"


class EnclaveKeyUnknownError(EnclaveError):
    """No enclave in the network says that it hosts a member's key."""

    reason = "enclave_key_unknown"
    error_class = ErrorClass.REFUSED
    remedy = "check the member's key, and that its enclave runs and is connected to this one"


class EnclaveRecipientAwayError(EnclaveError):
    """No enclave that can be reached hosts a member's key: Tessera says the same of an unknown one and of one away."""

    reason = "enclave_recipient_away"
    error_class = ErrorClass.RETRY
    remedy = "start the enclave of each member, and check the member's key"


class EnclaveKeyNotHostedError(EnclaveError):
    """The sending node's enclave does not host the key that the transaction is sent from."""

    reason = "enclave_key_not_hosted"
    remedy = "send through the node whose enclave hosts the key, or correct enclave_keys in the configuration"


class UnrelatedRefusalError(RpcError):
    """An error of a part of Besu that membership changes never use (mining, permissioning, the engine API)."""

    reason = "unrelated"


class UnknownRpcError(RpcError):
    """An error that is not in the map."""

    reason = "unknown_rpc_error"
    error_class = ErrorClass.OPERATOR
    certain = False
