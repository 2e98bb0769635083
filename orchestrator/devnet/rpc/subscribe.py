"""Methods of subscriptions; they exist on WebSocket connections only."""

from typing import Any, Final

from orchestrator.devnet import errors
from orchestrator.devnet.encoding import from_base64, quantity
from orchestrator.devnet.rpc.call import Call, MethodTable, read_quantity
from orchestrator.devnet.rpc.filters import LogQuery, read_log_query
from orchestrator.devnet.rpc.priv import check_tenant, group_of
from orchestrator.devnet.rpc.subscriptions import MAX_SUBSCRIPTIONS, Connection, Subscription

_PUBLIC_KINDS: Final = frozenset(
    {"newHeads", "logs", "newPendingTransactions", "droppedPendingTransactions", "syncing"}
)


def _connection(call: Call) -> Connection:
    if call.connection is None:
        raise errors.method_not_enabled()
    if call.subscriptions.count(call.connection) >= MAX_SUBSCRIPTIONS:
        raise errors.invalid_request()
    return call.connection


def _query(given: Any) -> LogQuery:
    query = read_log_query(given) if isinstance(given, dict) else None
    if query is None:
        raise errors.invalid_request()
    return query


def _subscribe(call: Call) -> str:
    connection = _connection(call)
    kind, options = call.optional(0), call.optional(1)
    if not isinstance(kind, str) or kind not in _PUBLIC_KINDS:
        raise errors.invalid_request()
    details = False
    query = LogQuery()
    if kind == "logs":
        query = _query(options)
    elif options is not None:
        details = isinstance(options, dict) and options.get("includeTransactions") is True
    return call.subscriptions.add(lambda number: Subscription(number, connection, kind, details=details, query=query))


def _subscribe_privately(call: Call) -> str:
    connection = _connection(call)
    if call.optional(1) != "logs":
        raise errors.invalid_request()
    query = _query(call.optional(2))
    # Besu looks at the group's id only when there is something to tell.
    group = group_of(call) if call.tenant is not None else from_base64(call.text(0, "privacy group params")) or b""
    check_tenant(call, group)
    key = call.key
    return call.subscriptions.add(
        lambda number: Subscription(number, connection, "logs", query=query, privacy_group_id=group, key=key)
    )


def _end(call: Call, given: Any) -> bool:
    if call.connection is None:
        raise errors.method_not_enabled()
    number = read_quantity(given)
    if number is None:
        raise errors.invalid_request()
    if not call.subscriptions.remove(quantity(number), call.connection):
        raise errors.subscription_not_found()
    return True


def _unsubscribe(call: Call) -> bool:
    return _end(call, call.optional(0))


def _unsubscribe_privately(call: Call) -> bool:
    check_tenant(call, group_of(call))
    return _end(call, call.optional(1))


METHODS: Final[MethodTable] = {
    "eth_subscribe": _subscribe,
    "eth_unsubscribe": _unsubscribe,
    "priv_subscribe": _subscribe_privately,
    "priv_unsubscribe": _unsubscribe_privately,
}
