"""Triggers as a stand-in for a queue hands them out."""

from collections.abc import Awaitable, Callable

from orchestrator.engine.ports.queues import Trigger


def trigger_of(
    body: bytes,
    delivery: int,
    settle: Callable[[str], Awaitable[None]],
    postpone: Callable[[float], Awaitable[None]],
    *,
    inlet: str = "",
) -> Trigger:
    """Return a message without headers, which is settled with ``"accepted"`` or with the reason why it is buried."""
    return Trigger(
        body=body,
        headers={},
        acknowledge=lambda: settle("accepted"),
        postpone=postpone,
        bury=settle,
        delivery=delivery,
        inlet=inlet,
    )
