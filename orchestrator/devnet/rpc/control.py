"""The devnet's own methods: making blocks, and making things go wrong (docs/devnet.md)."""

from collections.abc import Callable
from typing import Any, Final

from orchestrator.devnet import errors
from orchestrator.devnet.config import MAX_REPLICAS
from orchestrator.devnet.enclaves.enclave import Condition
from orchestrator.devnet.encoding import data, from_base64, quantity
from orchestrator.devnet.errors import INVALID_PARAMS, RpcError
from orchestrator.devnet.faults import FaultKind, RpcFault, RpcFaults
from orchestrator.devnet.network.network import Network
from orchestrator.devnet.network.public_traffic import MAX_ACCOUNTS, MAX_PER_BLOCK, PublicTraffic
from orchestrator.devnet.nodes.divergence import diverge
from orchestrator.devnet.nodes.node import Node
from orchestrator.devnet.rpc.call import Call, read_address, read_bytes, read_quantity

MAX_MINED_AT_ONCE: Final = 10_000
CONDITIONS: Final = {condition.value: condition for condition in Condition}
_MAX_SECONDS: Final = 3_600.0


class Controls:
    """What can be done to the network as a whole.

    Attributes:
        network: the devnet.
        faults: armed RPC faults, for the servers.
        block_period_seconds: 0 for blocks on demand; the block maker follows it.
        on_change: called after everything that may let nodes go on or changes the period.
        on_node: called with a node's number and whether it runs now.
        on_websocket_drop: called with a node's number (None: all).
        move_time: moves virtual time by seconds; None in real time.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.faults = RpcFaults()
        self.block_period_seconds = network.config.block_period_seconds
        self.on_change: Callable[[], None] = _nothing
        self.on_node: Callable[[int, bool], None] = _nothing
        self.on_websocket_drop: Callable[[int | None], None] = _nothing
        self.move_time: Callable[[float], None] | None = None

    def call(self, call: Call) -> Any:
        """Run a ``devnet_`` method.

        Raises:
            RpcError: there is no such method, or a parameter is wrong; the message says which.
        """
        found = _METHODS.get(call.method)
        if found is None:
            raise errors.method_not_found()
        result = found(self, call)
        self.network.advance(self.network.now)
        self.on_change()
        return result


def _nothing(*_: Any) -> None:
    """Nobody listens."""


def _wrong(what: str) -> RpcError:
    return RpcError(INVALID_PARAMS, f"Invalid params: {what}")


def _node(call: Call, index: int) -> Node:
    number = read_quantity(call.optional(index))
    if number is None or not 1 <= number <= len(call.network.nodes):
        raise _wrong(f"parameter {index + 1} must be the number of a node, 1 to {len(call.network.nodes)}")
    return call.network.nodes[number - 1]


def _flag(call: Call, index: int) -> bool:
    value = call.optional(index)
    if not isinstance(value, bool):
        raise _wrong(f"parameter {index + 1} must be true or false")
    return value


def _seconds(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_SECONDS:
        raise _wrong(f"{what} must be seconds, 0 to {_MAX_SECONDS:.0f}")
    return float(value)


def _group(call: Call, index: int) -> bytes:
    value = call.optional(index)
    group = from_base64(value) if isinstance(value, str) else None
    if group is None or len(group) != 32:
        raise _wrong(f"parameter {index + 1} must be a privacy group id, base64 of 32 bytes")
    return group


def _mine(controls: Controls, call: Call) -> str:
    count = read_quantity(1 if call.optional(0) is None else call.optional(0))
    if count is None or not 1 <= count <= MAX_MINED_AT_ONCE:
        raise _wrong(f"parameter 1 must be a number of blocks, 1 to {MAX_MINED_AT_ONCE}")
    for _ in range(count):
        controls.network.make_block(controls.network.now, even_without_quorum=True)
    return quantity(controls.network.chain.head.number)


def _set_block_period(controls: Controls, call: Call) -> bool:
    controls.block_period_seconds = _seconds(call.optional(0), "parameter 1")
    return True


def _set_congested(controls: Controls, call: Call) -> bool:
    controls.network.congested = _flag(call, 0)
    return True


def _set_enclave(controls: Controls, call: Call) -> bool:
    node, given = _node(call, 0), call.optional(1)
    condition = CONDITIONS.get(given) if isinstance(given, str) else None
    if isinstance(given, bool):
        condition = Condition.UP if given else Condition.FROZEN
    if condition is None:
        raise _wrong(f"parameter 2 must be true, false (frozen), or one of {', '.join(CONDITIONS)}")
    if condition is Condition.FROZEN:
        seconds = None if call.optional(2) is None else _seconds(call.optional(2), "parameter 3")
        controls.network.set_enclave(node, condition)
        node.enclave.thaws_at = None if seconds is None else controls.network.now + seconds
        return True
    loses_peers = None if call.optional(2) is None else _flag(call, 2)
    controls.network.set_enclave(node, condition, None if loses_peers is None else float(loses_peers))
    return True


def _slow_enclave(_: Controls, call: Call) -> bool:
    _node(call, 0).enclave.slow_seconds = _seconds(call.optional(1), "parameter 2")
    return True


def _set_enclave_url(controls: Controls, call: Call) -> bool:
    node, url = _node(call, 0), call.optional(1)
    if node.link is None:
        raise _wrong("enclaves have no addresses here; start the devnet with --enclave-http")
    if not isinstance(url, str | None) or (
        url is not None and not url.startswith(("http://127.0.0.1", "http://localhost"))
    ):
        raise _wrong("parameter 2 must be an http address on this machine, or null for the enclave's own")
    node.link.url = node.link.own_url if url is None else url
    node.restart(controls.network.now)
    return True


def _set_node(controls: Controls, call: Call) -> bool:
    node, up = _node(call, 0), _flag(call, 1)
    controls.network.set_up(node, up)
    controls.on_node(node.number, up)
    return True


def _set_propagation(controls: Controls, call: Call) -> bool:
    node, transactions = _node(call, 0), _flag(call, 1)
    blocks = True if call.optional(2) is None else _flag(call, 2)
    controls.network.set_propagation(node, transactions=transactions, blocks=blocks)
    return True


def _permit_accounts(controls: Controls, call: Call) -> bool:
    given = call.optional(0)
    if given is None:
        controls.network.permitted = None
        return True
    accounts = [read_address(item) for item in given] if isinstance(given, list) else [None]
    if None in accounts:
        raise _wrong("parameter 1 must be a list of accounts, or null to permit all")
    controls.network.permitted = frozenset(account for account in accounts if account is not None)
    return True


def _public_traffic(controls: Controls, call: Call) -> list[str]:
    accounts, per_block = read_quantity(call.optional(0)), call.optional(1)
    if accounts is None or accounts > MAX_ACCOUNTS:
        raise _wrong(f"parameter 1 must be a number of accounts, 0 to {MAX_ACCOUNTS}")
    per_block = (1 if accounts else 0) if per_block is None else per_block
    if isinstance(per_block, bool) or not isinstance(per_block, int | float) or not 0 <= per_block <= MAX_PER_BLOCK:
        raise _wrong(f"parameter 2 must be how many transactions each has in a block, 0 to {MAX_PER_BLOCK}")
    payload = b"" if call.optional(2) is None else read_bytes(call.optional(2))
    if payload is None:
        raise _wrong("parameter 3 must be the data of a call, 0x…")
    controls.network.traffic = PublicTraffic.of(accounts, float(per_block), payload)
    return [account.address for account in controls.network.traffic.accounts]


def _set_replicas(controls: Controls, call: Call) -> bool:
    node, lags = _node(call, 0), call.optional(1)
    if not isinstance(lags, list) or len(lags) > MAX_REPLICAS:
        raise _wrong(f"parameter 2 must be a list of at most {MAX_REPLICAS} seconds, how late each replica is")
    controls.network.replicas[node.number].set([_seconds(lag, "each lag") for lag in lags])
    return True


def _delay_private_receipts(controls: Controls, call: Call) -> bool:
    controls.network.receipts_late_seconds[_node(call, 0).number] = _seconds(call.optional(1), "parameter 2")
    return True


def _drop_pending(controls: Controls, _: Call) -> list[str]:
    return [data(transaction.hash) for transaction in controls.network.drop_pending()]


def _reorganise(controls: Controls, call: Call) -> list[str]:
    depth = read_quantity(call.optional(0))
    if not depth:
        raise _wrong("parameter 1 must be a number of blocks, from 1")
    drops = call.optional(1) is True
    blocks = controls.network.reorganise(depth, controls.network.now, drop_transactions=drops)
    return [data(block.hash) for block in blocks]


def _diverge(_: Controls, call: Call) -> bool:
    node, group = _node(call, 0), _group(call, 1)
    if not diverge(node, group):
        raise _wrong("the node has no state of this group to diverge from")
    return True


def _miss_next_transaction(_: Controls, call: Call) -> bool:
    _node(call, 0).faults.missed_groups.add(_group(call, 1))
    return True


def _rpc_fault(controls: Controls, call: Call) -> bool:
    given = call.optional(0)
    if not isinstance(given, dict):
        raise _wrong("parameter 1 must be an object with kind, node, methods, count, seconds, status, code, message")
    kinds = {kind.value: kind for kind in FaultKind}
    kind = kinds.get(given["kind"]) if isinstance(given.get("kind"), str) else None
    if kind is None:
        raise _wrong(f"kind must be one of {', '.join(kinds)}")
    methods = given.get("methods") or []
    if not isinstance(methods, list) or not all(isinstance(method, str) for method in methods):
        raise _wrong("methods must be a list of method names")
    node = None if given.get("node") is None else read_quantity(given["node"])
    if given.get("node") is not None and (node is None or not 1 <= node <= len(call.network.nodes)):
        raise _wrong(f"node must be 1 to {len(call.network.nodes)}")
    count = given.get("count", 1)
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
        raise _wrong("count must be a number from 1, or null until the faults are cleared")
    status = given.get("status", 503)
    if isinstance(status, bool) or not isinstance(status, int) or not 400 <= status <= 599:
        raise _wrong("status must be from 400 to 599")
    code, message, batches = (
        given.get("code", -32603),
        given.get("message", "Internal error"),
        given.get("batches", False),
    )
    if isinstance(code, bool) or not isinstance(code, int) or not isinstance(message, str):
        raise _wrong("code must be a number and message a text")
    if not isinstance(batches, bool):
        raise _wrong("batches must be true or false")
    seconds = _seconds(given.get("seconds", 0), "seconds")
    fault = RpcFault(kind, node, frozenset(methods), count, seconds, status, code, message, batches)
    controls.faults.arm(fault)
    return True


def _clear_faults(controls: Controls, _: Call) -> int:
    return controls.faults.clear()


def _drop_websockets(controls: Controls, call: Call) -> bool:
    controls.on_websocket_drop(_node(call, 0).number if call.optional(0) is not None else None)
    return True


def _status(controls: Controls, _: Call) -> list[dict[str, Any]]:
    return [
        {
            "node": node.number,
            "up": node.up,
            "enclaveUp": node.enclave.up,
            "enclave": node.enclave.kind.name,
            "enclaveCondition": node.enclave.condition.value,
            "peers": controls.network.peers_of(node),
            "enclaveKeys": list(node.enclave.keys),
            "head": quantity(node.head.number),
            "halted": node.halted or node.misreads,
            "replayed": node.replaying.applied if node.replaying is not None else None,
            "toReplay": len(node.replaying.records) if node.replaying is not None else None,
        }
        for node in controls.network.nodes
    ]


def _node_log(_: Controls, call: Call) -> list[str]:
    return list(_node(call, 0).log)


def _advance_time(controls: Controls, call: Call) -> bool:
    seconds = _seconds(call.optional(0), "parameter 1")
    if controls.move_time is None:
        raise _wrong("time moves by itself here; start the devnet with virtual time")
    controls.move_time(seconds)
    return True


def _set_besu_version(controls: Controls, call: Call) -> str:
    version = call.optional(0)
    if not isinstance(version, str):
        raise _wrong("parameter 1 must be a Besu version")
    try:
        controls.network.upgrade(version)
    except ValueError as error:
        raise _wrong(str(error)) from error
    return controls.network.behaviour.version


_METHODS: Final[dict[str, Callable[[Controls, Call], Any]]] = {
    "devnet_mine": _mine,
    "devnet_setBlockPeriod": _set_block_period,
    "devnet_setCongested": _set_congested,
    "devnet_setEnclave": _set_enclave,
    "devnet_slowEnclave": _slow_enclave,
    "devnet_setEnclaveUrl": _set_enclave_url,
    "devnet_setNode": _set_node,
    "devnet_setPropagation": _set_propagation,
    "devnet_permitAccounts": _permit_accounts,
    "devnet_publicTraffic": _public_traffic,
    "devnet_setReplicas": _set_replicas,
    "devnet_delayPrivateReceipts": _delay_private_receipts,
    "devnet_dropPendingTransactions": _drop_pending,
    "devnet_reorg": _reorganise,
    "devnet_diverge": _diverge,
    "devnet_missNextTransaction": _miss_next_transaction,
    "devnet_rpcFault": _rpc_fault,
    "devnet_clearFaults": _clear_faults,
    "devnet_dropWebSockets": _drop_websockets,
    "devnet_status": _status,
    "devnet_nodeLog": _node_log,
    "devnet_advanceTime": _advance_time,
    "devnet_setBesuVersion": _set_besu_version,
}
