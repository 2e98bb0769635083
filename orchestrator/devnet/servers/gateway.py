"""From bytes to answers: parsing bodies, batches, tokens, waiting for slow submissions.

Source: the recorded raw HTTP bodies; docs/besu.md#multi-tenancy.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.devnet import errors
from orchestrator.devnet.clock import Clock
from orchestrator.devnet.encoding import to_json
from orchestrator.devnet.errors import RpcError
from orchestrator.devnet.rpc.dispatch import Answer, Caller, NodeApi
from orchestrator.devnet.rpc.subscriptions import Connection
from orchestrator.devnet.servers.in_process import waited_for
from orchestrator.devnet.servers.jwt_auth import Principal, TokenVerifier

MAX_BATCH_REQUESTS: Final = 100_000
"""More than any body within the size limits holds in earnest; the rest is not answered."""
_PRIVACY_NAMESPACES: Final = frozenset({"eea", "priv", "privx"})


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back: an HTTP status, and the JSON or nothing."""

    status: int
    text: str


class _NotJsonError(ValueError):
    """The body is no JSON, or is too deep."""


def parse_json(body: bytes | str) -> Any:
    """Read JSON strictly.

    Raises:
        ValueError: it is none, or nested too deep, or holds a number that is none in JSON.
    """
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise _NotJsonError("the body is nested too deep") from error


def _refuse_constant(text: str) -> Any:
    raise _NotJsonError(f"{text} is no number in JSON")


def methods_of(request: Any) -> list[str]:
    """Names of the methods that a body calls, for choosing faults."""
    items = request if isinstance(request, list) else [request]
    return [item["method"] for item in items if isinstance(item, dict) and isinstance(item.get("method"), str)]


class Gateway:
    """Answers the bodies that reach one node."""

    def __init__(
        self,
        api: NodeApi,
        clock: Clock,
        verifier: TokenVerifier | None,
        advance: Callable[[], None],
        on_activity: Callable[[], None],
    ) -> None:
        self.api = api
        self._advance = advance
        self._clock = clock
        self._verifier = verifier
        self._on_activity = on_activity

    async def reply(self, body: bytes | str, authorization: str | None, connection: Connection | None) -> Reply:
        """Answer a body; never raises for what is in it."""
        try:
            request = parse_json(body)
        except ValueError:
            return _refusal(self._unreadable(connection), 400)
        return await self.reply_to(request, authorization, connection)

    async def reply_to(self, request: Any, authorization: str | None, connection: Connection | None) -> Reply:
        """Answer a body that was parsed."""
        principal = self._verifier.principal(authorization) if self._verifier is not None else None
        if self._verifier is not None and authorization is None and connection is None:
            methods = methods_of(request)
            if not methods or not all(method.startswith("devnet_") for method in methods):
                return _refusal(errors.unauthorized(), 401)
        if isinstance(request, list):
            return await self._reply_to_batch(request, principal, connection)
        if not isinstance(request, dict):
            return _refusal(self._unreadable(connection), 400)
        lag_seconds = 0.0 if connection is not None else self.api.next_lag()
        answer = await self._answer(request, principal, connection, lag_seconds)
        return Reply(answer.status, "" if answer.response is None else to_json(answer.response))

    async def _reply_to_batch(
        self, requests: list[Any], principal: Principal | None, connection: Connection | None
    ) -> Reply:
        if connection is not None:
            return Reply(200, to_json(await self._responses(requests, principal, connection)))
        if not requests:
            return _refusal(errors.invalid_request(), 400)
        own_limit = self.api.network.config.max_batch_requests
        limit = self.api.network.behaviour.max_batch_requests if own_limit is None else own_limit
        if limit and len(requests) > limit:
            return _refusal(errors.batch_too_large(), 200)
        return Reply(200, to_json(await self._responses(requests, principal, connection)))

    def _unreadable(self, connection: Connection | None) -> RpcError:
        """What a body is answered that is no request at all; over WebSocket it depends on the version."""
        if connection is None:
            return errors.parse_error()
        unreadable_frame_is_internal = self.api.network.behaviour.unreadable_frame_is_internal
        return errors.internal_error() if unreadable_frame_is_internal else errors.invalid_request()

    async def _responses(
        self, requests: list[Any], principal: Principal | None, connection: Connection | None
    ) -> list[Any]:
        # One replica answers the whole batch.
        lag_seconds = 0.0 if connection is not None else self.api.next_lag()
        responses = []
        for request in requests[:MAX_BATCH_REQUESTS]:
            answer = await self._answer(request, principal, connection, lag_seconds)
            if answer.response is not None:
                responses.append(answer.response)
        return responses

    async def _answer(
        self, request: Any, principal: Principal | None, connection: Connection | None, lag_seconds: float
    ) -> Answer:
        tenant = None
        if self._verifier is not None and isinstance(request, dict):
            method = request.get("method")
            if isinstance(method, str) and not method.startswith("devnet_"):
                if principal is None or not principal.may_call(method):
                    return self.api.unauthorized(request.get("id"))
                if principal.key is None and method.partition("_")[0] in _PRIVACY_NAMESPACES:
                    return self.api.refuse(request.get("id"), errors.invalid_request())
                tenant = principal.key
        self._advance()
        answer = self.api.handle(request, Caller(tenant=tenant, connection=connection, lag_seconds=lag_seconds))
        if answer.later is not None and answer.finish is not None:
            finish = answer.finish
            try:
                await waited_for(answer.later, self.api.node, self._clock)
            finally:
                # A client that leaves does not stop the node: what it took is finished.
                self._advance()
                answer = finish()
        self._on_activity()
        return answer


def _refusal(error: RpcError, status: int) -> Reply:
    return Reply(status, to_json({"jsonrpc": "2.0", "id": None, "error": error.body()}))
