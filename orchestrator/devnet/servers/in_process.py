"""Calling a node of the devnet without a socket: for simulations that run everything in one process."""

from collections.abc import Callable, Sequence
from typing import Any

from orchestrator.devnet.clock import Clock
from orchestrator.devnet.enclaves.link import held_over_http
from orchestrator.devnet.network.submission import Submission
from orchestrator.devnet.nodes.node import Node
from orchestrator.devnet.rpc.dispatch import Caller, NodeApi
from orchestrator.devnet.rpc.subscriptions import Connection


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
            await waited_for(result, self._api.node, self._clock)
        finally:
            # A caller that leaves does not stop the node: what it took is finished.
            self._advance()
            answer = result.complete()
        return answer


async def waited_for(submission: Submission, node: Node, clock: Clock) -> None:
    """Come back when a submission can be completed: where it goes over HTTP its enclave has answered, its time is up.

    Args:
        submission: the submission.
        node: the node that took it.
        clock: where it takes its time.
    """
    if submission.exchange is not None and node.link is not None:
        await held_over_http(submission.exchange, node.link.client)
    if submission.delay_seconds > 0:
        await clock.sleep(submission.delay_seconds)
