"""What surrounds each request of the engine's port to a node: what a failure means, and when it is asked again."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from orchestrator.besu.adapter.reasons import read_failure
from orchestrator.besu.errors import BesuError
from orchestrator.engine.ports.nodes import NodeError, Said
from orchestrator.membership.reasons.table import Reason


class AskedPort(Protocol):
    """What of `orchestrator.besu.adapter.port.BesuNode` is looked at around a request."""

    name: str
    barred: str
    look_again_seconds: float


P = ParamSpec("P")
R = TypeVar("R")
N = TypeVar("N", bound=AskedPort)

LOOKS: Final = 6
LOOK_AGAIN: Final = timedelta(milliseconds=200)
_OF_LATE_REPLICAS: Final = frozenset({"not_known_here", "node_error"})
"""What a replica answers about a block that it lacks: null, no group, or an internal error."""

OF_ITS_CHAIN: Final = frozenset({"traits", "head", "block"})
"""What a node is asked that is on another chain: whether it still is."""


def meaning(
    failure: Callable[[BesuError, str], NodeError],
) -> Callable[
    [Callable[Concatenate[N, P], Coroutine[Any, Any, R]]],
    Callable[Concatenate[N, P], Coroutine[Any, Any, R]],
]:
    """Raise what a failure of the client library means for the kind of request that failed."""

    def translated(
        method: Callable[Concatenate[N, P], Coroutine[Any, Any, R]],
    ) -> Callable[Concatenate[N, P], Coroutine[Any, Any, R]]:
        @wraps(method)
        async def call(self: N, /, *args: P.args, **kwargs: P.kwargs) -> R:
            # A node of another chain answers everything rightly, and nothing that it says is about our groups.
            if self.barred and method.__name__ not in OF_ITS_CHAIN:
                raise NodeError(Reason(slug="node_on_other_chain", detail=self.barred), Said.REFUSED)
            try:
                return await method(self, *args, **kwargs)
            except BesuError as error:
                raise failure(error, self.name) from error

        return call

    return translated


def read_again(
    method: Callable[Concatenate[N, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[N, P], Coroutine[Any, Any, R]]:
    """Read, and read again a few times what is not known: behind a load balancer the next replica may know it."""
    once = meaning(read_failure)(method)

    @wraps(method)
    async def call(self: N, /, *args: P.args, **kwargs: P.kwargs) -> R:
        for _ in range(LOOKS - 1):
            try:
                return await once(self, *args, **kwargs)
            except NodeError as error:
                # All else is not better a moment later: the rules try it again, with growing pauses.
                if error.reason.slug not in _OF_LATE_REPLICAS:
                    raise
            await asyncio.sleep(self.look_again_seconds)
        return await once(self, *args, **kwargs)

    return call
