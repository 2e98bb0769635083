"""One call of a method, and reading its parameters as Besu does. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from orchestrator.devnet.errors import INVALID_PARAMS, RpcError
from orchestrator.devnet.network.network import Network
from orchestrator.devnet.nodes.node import Node
from orchestrator.devnet.rpc.filters import FilterStore
from orchestrator.devnet.rpc.subscriptions import Connection, SubscriptionStore

_HEX_DIGITS: Final = frozenset("0123456789abcdefABCDEF")
_MAX_HEX_QUANTITY: Final = 66


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    Attributes:
        network, node: who is asked.
        method: the method's name.
        params: positional parameters.
        tenant: enclave key of the caller's token; None without multi-tenancy.
        connection: the WebSocket connection that it came on; None over HTTP.
        filters, subscriptions: of the node.
    """

    network: Network
    node: Node
    method: str
    params: list[Any]
    tenant: str | None
    connection: Connection | None
    filters: FilterStore
    subscriptions: SubscriptionStore

    @property
    def key(self) -> str:
        """The enclave key that the call reads as."""
        return self.tenant or self.node.key

    def invalid(self, detail: str) -> RpcError:
        """The error for a parameter, worded as this version does."""
        message = f"Invalid {detail}" if self.network.behaviour.detailed_params else "Invalid params"
        return RpcError(INVALID_PARAMS, message)

    def optional(self, index: int) -> Any:
        """A parameter as it came; None when it was left out."""
        return self.params[index] if index < len(self.params) else None

    def text(self, index: int, detail: str) -> str:
        """A required text."""
        value = self.optional(index)
        if not isinstance(value, str):
            raise self.invalid(detail)
        return value

    def texts(self, index: int, detail: str) -> list[str]:
        """A required list of texts."""
        value = self.optional(index)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.invalid(detail)
        return value

    def mapping(self, index: int, detail: str) -> Mapping[str, Any]:
        """A required object."""
        value = self.optional(index)
        if not isinstance(value, dict):
            raise self.invalid(detail)
        return value

    def flag(self, index: int) -> bool:
        """A required Boolean."""
        value = self.optional(index)
        if not isinstance(value, bool):
            raise self.invalid("return complete transaction params")
        return value

    def address(self, index: int, detail: str = "address params") -> str:
        """A required address, returned in lower case."""
        found = read_address(self.optional(index))
        if found is None:
            raise self.invalid(detail)
        return found

    def hash(self, index: int, detail: str = "transaction hash params") -> bytes:
        """A required hash of 32 bytes."""
        found = read_hash(self.optional(index))
        if found is None:
            raise self.invalid(detail)
        return found

    def block_number(
        self, index: int, *, default: str | None = None, detail: str = "block param (block not found)"
    ) -> int:
        """A required block number or name; the head for "latest" and "pending"."""
        value = self.optional(index)
        number = read_block_number(default if value is None else value, self.node.head.number)
        if number is None:
            raise self.invalid(detail)
        return number


def read_address(value: Any) -> str | None:
    """Read an address, "0x" and 40 digits; None when it is none."""
    if isinstance(value, str) and len(value) == 42 and value[:2] == "0x" and _HEX_DIGITS.issuperset(value[2:]):
        return value.lower()
    return None


def read_hash(value: Any) -> bytes | None:
    """Read a hash, "0x" and 64 digits; None when it is none."""
    if isinstance(value, str) and len(value) == 66 and value[:2] == "0x" and _HEX_DIGITS.issuperset(value[2:]):
        return bytes.fromhex(value[2:])
    return None


def read_bytes(value: Any) -> bytes | None:
    """Read bytes, "0x" and an even number of digits; None when they are none."""
    if isinstance(value, str) and value[:2] == "0x" and len(value) % 2 == 0 and _HEX_DIGITS.issuperset(value[2:]):
        return bytes.fromhex(value[2:])
    return None


def read_quantity(value: Any) -> int | None:
    """Read a number, "0x…" or decimal digits; None when it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value >= 0 else None
    if not isinstance(value, str) or len(value) > _MAX_HEX_QUANTITY:
        return None
    if value[:2] == "0x":
        return int(value, 16) if len(value) > 2 and _HEX_DIGITS.issuperset(value[2:]) else None
    return int(value) if value.isascii() and value.isdigit() else None


def read_block_number(value: Any, head: int) -> int | None:
    """Read a block number or name; None when it is neither."""
    if value in {"latest", "pending", "safe", "finalized"} if isinstance(value, str) else False:
        return head
    return 0 if isinstance(value, str) and value == "earliest" else read_quantity(value)


Method: TypeAlias = Callable[[Call], Any]
MethodTable: TypeAlias = Mapping[str, Method]
