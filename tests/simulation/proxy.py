"""A proxy between the replicas and the nodes that counts calls, and at one of them does not say what a node would."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.besu.codec.json_rpc import Call


class Silence(StrEnum):
    """A way of saying "not known", once.

    Attributes:
        NULL: The call is answered `null`, whatever the node did for it.
        LATE_REPLICA: The call, and those that travel with it, are answered by a replica that lacks the newest blocks.
        LATE_ANSWER: The node does it, and its answer comes after everybody's patience.
        LOST_ANSWER: The node does it, and the connection breaks before its answer.
    """

    NULL = "null"
    LATE_REPLICA = "late replica"
    LATE_ANSWER = "late answer"
    LOST_ANSWER = "lost answer"


@dataclass(frozen=True, slots=True)
class Point:
    """Where a proxy is silent.

    Attributes:
        number: Of the call, from 0.
        silence: How.
    """

    number: int
    silence: Silence


@dataclass(frozen=True, slots=True)
class Seen:
    """A call that a proxy saw.

    Attributes:
        node: Whom it was for.
        method: What was called.
        first: Whether it is the first of those that travel together.
    """

    node: str
    method: str
    first: bool


class Proxy:
    """Stands before all nodes.

    Args:
        point: Where it is silent; None for nowhere.

    Attributes:
        seen: All calls so far, in order.
        silenced: The call that it was silent at; None as long as that has not come.
    """

    def __init__(self, point: Point | None) -> None:
        self._point = point
        self.seen: list[Seen] = []
        self.silenced: Seen | None = None

    def pass_on(self, node: str, calls: Sequence[Call]) -> tuple[Silence | None, int]:
        """Count calls that travel together; return how they are not answered (None: they are), and at which of them."""
        first = len(self.seen)
        self.seen += [Seen(node, call.method, first=place == 0) for place, call in enumerate(calls)]
        if self._point is None or not first <= self._point.number < len(self.seen):
            return None, 0
        self.silenced = self.seen[self._point.number]
        return self._point.silence, self._point.number - first
