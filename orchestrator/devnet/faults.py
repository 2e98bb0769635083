"""Answers that go wrong on purpose: slow, refused, cut off, an error or nothing. Pure.

A fault is armed by ``devnet_rpcFault`` and taken by the servers, or by the node's methods, when a matching call comes.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from enum import Enum
from typing import Final

MAX_FAULTS: Final = 1_000


class FaultKind(Enum):
    """What happens to the answer.

    ``error`` and ``null`` are answers of the node itself, so calls without a socket meet them, too; the node does
    nothing for such a call. A ``lost`` answer is the worst for a client: the node does what it was asked and the
    connection ends without a word, so the client cannot know.
    """

    LATENCY = "latency"
    STATUS = "status"
    RESET = "reset"
    HALF = "half"
    LOST = "lost"
    ERROR = "error"
    NULL = "null"


ANSWERS: Final = frozenset({FaultKind.ERROR, FaultKind.NULL})
TRANSPORT: Final = frozenset(FaultKind) - ANSWERS


@dataclass(slots=True)
class RpcFault:
    """One armed fault.

    Attributes:
        kind: what happens.
        node: on which node (from 1); None for all.
        methods: to which methods; none for all but those of the devnet itself.
        remaining: how often; None until it is cleared.
        seconds: of a delay.
        status: HTTP status of a refusal.
        code, message: of an error.
        batches: only requests in a batch meet it.
    """

    kind: FaultKind
    node: int | None = None
    methods: frozenset[str] = frozenset()
    remaining: int | None = 1
    seconds: float = 0.0
    status: int = 503
    code: int = -32603
    message: str = "Internal error"
    batches: bool = False


class RpcFaults:
    """The faults that are armed."""

    def __init__(self) -> None:
        self._armed: list[RpcFault] = []

    def arm(self, fault: RpcFault) -> None:
        """Arm a fault; the oldest goes when there are too many."""
        self._armed.append(fault)
        del self._armed[:-MAX_FAULTS]

    def clear(self) -> int:
        """Disarm all and return how many there were."""
        count = len(self._armed)
        self._armed.clear()
        return count

    def take(
        self, node: int, methods: Sequence[str], kinds: Set[FaultKind] = TRANSPORT, *, in_batch: bool = False
    ) -> RpcFault | None:
        """The first armed fault of these kinds that a request of these methods meets; it is used up once."""
        wanted = [method for method in methods if not method.startswith("devnet_")]
        if not wanted and methods:
            return None
        for fault in self._armed:
            if fault.kind not in kinds or (fault.batches and not in_batch) or fault.node not in {None, node}:
                continue
            if fault.methods and fault.methods.isdisjoint(wanted):
                continue
            if fault.remaining is not None:
                fault.remaining -= 1
                if fault.remaining <= 0:
                    self._armed.remove(fault)
            return fault
        return None
