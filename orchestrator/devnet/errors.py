"""The errors that emulated nodes answer, each with Besu's own code and message.

``RpcError`` is one answer; everything that a node refuses is one of the constants or functions below. Errors of the
devnet itself (a wrong configuration) are ``DevnetError``.
"""

from typing import Any, Final


class DevnetError(Exception):
    """The devnet cannot do what was asked; the message says what, why and what to do."""


class RpcError(Exception):
    """A JSON-RPC error as a node answers it.

    Attributes:
        code, message, data: as in the answer; ``data`` None is left out.
        unauthorized: the answer also has HTTP status 401.
    """

    def __init__(self, code: int, message: str, *, data: Any = None, unauthorized: bool = False) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.data = data
        self.unauthorized = unauthorized

    def body(self) -> dict[str, Any]:
        """The ``error`` member of the answer."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return error


PARSE: Final = -32700
INVALID_REQUEST: Final = -32600
INVALID_PARAMS: Final = -32602
PRIVACY: Final = -50100
ENCLAVE: Final = -50200


def parse_error() -> RpcError:
    """The body is no JSON."""
    return RpcError(PARSE, "Parse error")


def invalid_request() -> RpcError:
    """The body is JSON and no request."""
    return RpcError(INVALID_REQUEST, "Invalid Request")


def method_not_found() -> RpcError:
    """No version of Besu has such a method."""
    return RpcError(-32601, "Method not found")


def method_not_enabled() -> RpcError:
    """The method is for networks of another kind (docs/besu.md#versions)."""
    return RpcError(-32604, "Method not enabled")


def internal_error() -> RpcError:
    """Besu's answer when it could not answer."""
    return RpcError(-32603, "Internal error")


def batch_too_large() -> RpcError:
    """More requests in one batch than the version takes."""
    return RpcError(-32005, "Number of requests exceeds max batch size")


def unauthorized() -> RpcError:
    """No token, a bad one, or a tenant that is no member (docs/besu.md#multi-tenancy)."""
    return RpcError(-40100, "Unauthorized", unauthorized=True)


def filter_not_found() -> RpcError:
    """No filter of that number."""
    return RpcError(-32000, "Filter not found")


def subscription_not_found() -> RpcError:
    """This connection has no subscription of that number."""
    return RpcError(-32000, "Subscription not found")


def privacy(message: str) -> RpcError:
    """An error of the privacy code."""
    return RpcError(PRIVACY, message)


def enclave_unreachable() -> RpcError:
    """The node's own enclave, or a recipient's, did not answer."""
    return privacy("Error communicating with enclave")


def undecodable() -> RpcError:
    """The raw private transaction is none."""
    return privacy("Unable to decode the private signed raw transaction")


def nonce_unknown() -> RpcError:
    """``priv_getTransactionCount`` cannot tell."""
    return privacy("Unable to determine nonce for account in group.")


def group_not_found() -> RpcError:
    """``priv_debugGetStateRoot`` of a group that this node, or this tenant, does not know."""
    return privacy("Error finding privacy group")
