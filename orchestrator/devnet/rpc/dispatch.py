"""From a request to an answer: finding the method, calling it, wording what goes wrong. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.devnet import errors
from orchestrator.devnet.accounts import validator_address_of
from orchestrator.devnet.chain.chain import Block
from orchestrator.devnet.encoding import data
from orchestrator.devnet.errors import RpcError
from orchestrator.devnet.faults import ANSWERS, FaultKind
from orchestrator.devnet.network.network import Network
from orchestrator.devnet.network.submission import Submission
from orchestrator.devnet.nodes.node import Node
from orchestrator.devnet.private.node_logs import NodeLog
from orchestrator.devnet.rpc import eth, priv, priv_logs, public_accounts, subscribe
from orchestrator.devnet.rpc.call import Call
from orchestrator.devnet.rpc.control import Controls
from orchestrator.devnet.rpc.filters import FilterStore
from orchestrator.devnet.rpc.subscriptions import Connection, SubscriptionStore

_METHODS: Final = {**eth.METHODS, **public_accounts.METHODS, **priv.METHODS, **priv_logs.METHODS, **subscribe.METHODS}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        tenant: of the token; None without multi-tenancy.
        connection: the WebSocket connection; None over HTTP.
        lag_seconds: how late the replica is that the call meets.
    """

    tenant: str | None = None
    connection: Connection | None = None
    lag_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node answers.

    Attributes:
        response: the JSON-RPC response; None for a notification, and while ``later`` is set.
        status: HTTP status of a single request.
        later: a submission that is not answered before its delay: then call ``finish``.
        finish: returns the final answer; call it exactly once.
    """

    response: dict[str, Any] | None
    status: int = 200
    later: Submission | None = None
    finish: Callable[[], "Answer"] | None = None


_API_OF: Final = {"privx": "priv"}
"""By the beginning of a method's name the API that enables it, where that has another name."""


class NodeApi:
    """The methods of one node, with its filters and subscriptions."""

    def __init__(self, network: Network, node: Node, controls: Controls) -> None:
        self.network = network
        self.node = node
        self.filters = FilterStore()
        self.subscriptions = SubscriptionStore(
            lambda: network.behaviour, tuple(validator_address_of(item.number) for item in network.validators)
        )
        self._controls = controls
        node.observer = _Observers(self.subscriptions, self.filters)
        network.on_pool_change(node, self.subscriptions.pool_changed)

    def call(self, method: str, params: list[Any], caller: Caller = Caller()) -> Any:
        """Call a method and return its result, or a ``Submission`` that is under way.

        Raises:
            RpcError: as the node answers.
        """
        call = Call(
            network=self.network,
            node=self.network.replicas[self.node.number].view(caller.lag_seconds, self.network.now),
            method=method,
            params=params,
            tenant=caller.tenant,
            connection=caller.connection,
            filters=self.filters,
            subscriptions=self.subscriptions,
        )
        if method.startswith("devnet_"):
            return self._controls.call(call)
        fault = self._controls.faults.take(self.node.number, [method], ANSWERS)
        if fault is not None:
            if fault.kind is FaultKind.ERROR:
                raise RpcError(fault.code, fault.message)
            return None
        is_find = method in self.network.behaviour.find_methods
        found = priv.find_groups if is_find else _METHODS.get(method)
        if found is None:
            raise errors.method_not_found()
        if not self._enables(method):
            raise errors.method_not_enabled()
        return found(call)

    def _enables(self, method: str) -> bool:
        enabled, api = self.network.config.rpc_apis, method.partition("_")[0]
        return not enabled or api == "rpc" or _API_OF.get(api, api) in enabled

    def next_lag(self) -> float:
        """How late the replica is that the next request over HTTP meets, in seconds."""
        return self.network.replicas[self.node.number].next_lag()

    def handle(self, request: Any, caller: Caller = Caller()) -> Answer:
        """Answer one request object. Never raises: whatever it is, there is an answer to it."""
        if not isinstance(request, dict):
            return Answer(self._error(None, errors.invalid_request()), 400)
        request_id = request.get("id")
        if not isinstance(request_id, str | int | float | None) or isinstance(request_id, bool):
            return Answer(self._error(None, errors.invalid_request()), 400)
        method, params = request.get("method"), request.get("params")
        if not isinstance(method, str):
            return Answer(self._error(request_id, errors.invalid_request()), 400)
        if "id" not in request:
            return Answer(None)
        if params is not None and not isinstance(params, list):
            return Answer(self._error(request_id, errors.invalid_request()), 400)
        try:
            result = self.call(method, params or [], caller)
        except RpcError as error:
            return self.refuse(request_id, error)
        if not isinstance(result, Submission):
            return Answer({"jsonrpc": "2.0", "id": request_id, "result": result})
        submission = result

        def finish() -> Answer:
            try:
                return Answer({"jsonrpc": "2.0", "id": request_id, "result": submission.complete()})
            except RpcError as error:
                return self.refuse(request_id, error)

        return Answer(None, later=submission, finish=finish)

    def unauthorized(self, request_id: Any) -> Answer:
        """The answer to a call without the permission for it."""
        return self.refuse(request_id, errors.unauthorized())

    def refuse(self, request_id: Any, error: RpcError) -> Answer:
        """The answer to a call that fails with an error."""
        if error.unauthorized:
            status = 401
        elif error.code in {errors.PARSE, errors.INVALID_REQUEST}:
            status = 400
        else:
            status = self.network.behaviour.invalid_params_status if error.code == errors.INVALID_PARAMS else 200
        return Answer(self._error(request_id, error), status)

    @staticmethod
    def _error(request_id: Any, error: RpcError) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": request_id, "error": error.body()}


class _Observers:
    """Passes on what a node imports to its subscriptions and filters."""

    def __init__(self, subscriptions: SubscriptionStore, filters: FilterStore) -> None:
        self._subscriptions = subscriptions
        self._filters = filters

    def block_imported(self, block: Block, logs: list[NodeLog]) -> None:
        self._filters.arrived(data(block.hash), logs)
        self._subscriptions.block_imported(block, logs)

    def logs_removed(self, logs: list[NodeLog]) -> None:
        self._subscriptions.logs_removed(logs)

    def member_removed(self, privacy_group_id: bytes, enclave_key: str) -> None:
        self._subscriptions.member_removed(privacy_group_id, enclave_key)
