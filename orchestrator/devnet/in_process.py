"""Calling a node of the devnet without a socket: for simulations that run everything in one process."""

from collections.abc import Callable, Sequence
from typing import Any

from orchestrator.devnet.clock import Clock
from orchestrator.devnet.rpc.dispatch import Caller, NodeApi
from orchestrator.devnet.rpc.subscriptions import Connection
from orchestrator.devnet.submission import Submission


class InProcessNode:
    """One node's methods.

    Args:
        api: the node's methods (``Emulation.apis``).
        clock: where a slow submission waits; a simulation brings its own.
        advance: brings the network to the clock's time before a call, for instance
            ``lambda: emulation.advance(clock.now())``.
    """

    def __init__(self, api: NodeApi, clock: Clock, advance: Callable[[], object]) -> None:
        self._api = api
        self._clock = clock
        self._advance = advance

    async def call(
        self,
        method: str,
        params: Sequence[Any] = (),
        *,
        tenant: str | None = None,
        connection: Connection | None = None,
    ) -> Any:
        """Call a method and return its result.

        Args:
            method: for instance "priv_call".
            params: positional parameters.
            tenant: enclave key that the call is made for; None for the node's own.
            connection: where frames of subscriptions go; None as over HTTP.

        Raises:
            RpcError: as the node answers.
        """
        self._advance()
        lag_seconds = 0.0 if connection is not None else self._api.next_lag()
        caller = Caller(tenant=tenant, connection=connection, lag_seconds=lag_seconds)
        result = self._api.call(method, list(params), caller)
        if not isinstance(result, Submission):
            return result
        try:
            if result.delay_seconds > 0:
                await self._clock.sleep(result.delay_seconds)
        finally:
            # A caller that leaves does not stop the node: what it took is finished.
            self._advance()
            answer = result.complete()
        return answer
