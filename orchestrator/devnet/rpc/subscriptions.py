"""WebSocket subscriptions of one node, and the frames that they are sent. Pure.

Source: transcripts: numbers count on over all connections of a node; docs/besu.md#addresses-and-events.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from orchestrator.devnet.chain.chain import Block
from orchestrator.devnet.chain.public_transaction import PublicTransaction
from orchestrator.devnet.encoding import data, quantity, to_base64, to_json
from orchestrator.devnet.private.node_logs import NodeLog, matches
from orchestrator.devnet.rpc.filters import LogQuery
from orchestrator.devnet.rpc.views import block_view, log_view, public_transaction_view
from orchestrator.devnet.versions import BesuBehaviour

MAX_SUBSCRIPTIONS: Final = 1_000


class Connection(Protocol):
    """A WebSocket connection as the subscriptions see it."""

    def push(self, frame: str) -> None:
        """Queue a frame; never waits and never raises."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription.

    Attributes:
        number: "0x…", unique on the node.
        connection: where its frames go.
        kind: "newHeads", "logs", "newPendingTransactions", "droppedPendingTransactions" or "syncing".
        details: full transactions instead of hashes.
        query: which logs.
        privacy_group_id: 32 bytes; None for public subscriptions.
        key: enclave key of the member that a private one belongs to.
    """

    number: str
    connection: Connection
    kind: str
    details: bool = False
    query: LogQuery = field(default_factory=LogQuery)
    privacy_group_id: bytes | None = None
    key: str | None = None


class SubscriptionStore:
    """The subscriptions of one node; also the node's observer."""

    def __init__(self, behaviour: Callable[[], BesuBehaviour], validators: tuple[str, ...]) -> None:
        self._behaviour = behaviour
        self._validators = validators
        self._subscriptions: dict[str, Subscription] = {}
        self._given = 0

    def add(self, make: Callable[[str], Subscription]) -> str:
        """Keep the subscription that ``make(number)`` returns, and return its number."""
        self._given += 1
        number = quantity(self._given)
        self._subscriptions[number] = make(number)
        return number

    def count(self, connection: Connection) -> int:
        """How many a connection has."""
        return sum(1 for subscription in self._subscriptions.values() if subscription.connection is connection)

    def remove(self, number: str, connection: Connection) -> bool:
        """End a subscription of this connection; False when it has none of that number."""
        found = self._subscriptions.get(number)
        if found is None or found.connection is not connection:
            return False
        del self._subscriptions[number]
        return True

    def forget(self, connection: Connection) -> None:
        """The connection is gone, and with it its subscriptions."""
        self._subscriptions = {
            number: kept for number, kept in self._subscriptions.items() if kept.connection is not connection
        }

    def block_imported(self, block: Block, logs: list[NodeLog]) -> None:
        """Tell of private logs, then of the new head."""
        self._send_logs(logs)
        heads: dict[bool, Any] = {}
        for subscription in self._of("newHeads"):
            if subscription.details not in heads:
                heads[subscription.details] = block_view(
                    block, self._behaviour(), self._validators, full=subscription.details
                )
            self._send(subscription, heads[subscription.details])

    def logs_removed(self, logs: list[NodeLog]) -> None:
        """Tell of logs whose block was reorganised away."""
        self._send_logs(logs)

    def member_removed(self, privacy_group_id: bytes, enclave_key: str) -> None:
        """Drop a removed member's private subscriptions without a word."""
        self._subscriptions = {
            number: kept
            for number, kept in self._subscriptions.items()
            if kept.privacy_group_id != privacy_group_id or kept.key != enclave_key
        }

    def pool_changed(self, transactions: list[PublicTransaction], dropped: bool) -> None:
        """Tell of transactions that entered or left the pool."""
        kind = "droppedPendingTransactions" if dropped else "newPendingTransactions"
        for subscription in self._of(kind):
            for transaction in transactions:
                details = subscription.details and not dropped
                self._send(
                    subscription,
                    public_transaction_view(transaction, None, None, self._behaviour())
                    if details
                    else data(transaction.hash),
                )

    def _send_logs(self, logs: list[NodeLog]) -> None:
        for subscription in self._of("logs"):
            for log in logs:
                if log.privacy_group_id == subscription.privacy_group_id and matches(
                    log.log, subscription.query.addresses, subscription.query.topics
                ):
                    self._send(subscription, log_view(log))

    def _of(self, kind: str) -> list[Subscription]:
        return [subscription for subscription in self._subscriptions.values() if subscription.kind == kind]

    def _send(self, subscription: Subscription, result: Any) -> None:
        params: dict[str, Any] = {"subscription": subscription.number}
        method = "eth_subscription"
        if subscription.privacy_group_id is not None:
            method = "priv_subscription"
            params["privacyGroupId"] = to_base64(subscription.privacy_group_id)
        params["result"] = result
        subscription.connection.push(to_json({"jsonrpc": "2.0", "method": method, "params": params}))
