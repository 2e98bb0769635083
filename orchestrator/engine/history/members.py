"""A member's node as the forecast sees it."""

from collections.abc import Collection
from dataclasses import dataclass

from orchestrator.engine.history.replays import NodeRecord
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Head


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenMember:
    """A member whose node can be seen.

    Attributes:
        enclave_key: The member.
        watcher: Its node.
        head: The node's head.
        record: What the node went through.
    """

    enclave_key: str
    watcher: ChainWatcher
    head: Head
    record: NodeRecord


def most_trusted(members: Collection[SeenMember], odd: Collection[str]) -> SeenMember:
    """Return the member on whose node a group's history is read: one that agrees with most, and rather never replayed.

    Args:
        members: One at least; the first of equals is returned.
        odd: The members whose state is another than most members'.
    """
    # What a node that never got a group by replay shows of the past is right (docs/besu.md#torn-bundles, 5).
    return min(members, key=lambda member: (member.enclave_key in odd, not member.record.first_hand))
