"""A member's node as the forecast sees it."""

from dataclasses import dataclass

from orchestrator.engine.history.replays import NodeRecord
from orchestrator.engine.node_ports import Head
from orchestrator.engine.nodes.watcher import ChainWatcher


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
