"""Whether nodes are on the chain that they were on before: findings from what was remembered of them."""

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.doctor.findings import Finding, Level, NodeSeen, NodeSilent
from orchestrator.engine.nodes.chain_guard import WAY_OUT, NodeChain, difference

CHECK = "chain-before"


def chain_findings(seen: Sequence[NodeSeen | NodeSilent], remembered: Mapping[str, NodeChain]) -> Iterator[Finding]:
    """Yield a finding for each node of which something is remembered.

    Args:
        seen: What was seen of the nodes.
        remembered: Which chain each was on, by name.
    """
    for node in seen:
        known = remembered.get(node.name)
        if known is None or not isinstance(node, NodeSeen):
            continue
        if not isinstance(node.chain_id, int) or not isinstance(node.genesis, str):
            continue  # that it does not say has a finding of its own
        # Chain id and first block were read anyhow; for the remembered block each node would be asked once more.
        now = NodeChain(chain_id=node.chain_id, genesis_hash=node.genesis, number=0, block_hash=node.genesis)
        trouble = difference(node.name, known, now, None)
        if not trouble:
            yield Finding(check=CHECK, level=Level.OK, node=node.name, what="is on the chain that it was on before")
            continue
        yield Finding(
            check=CHECK,
            level=Level.ERROR,
            node=node.name,
            what=trouble.removeprefix(f"node {node.name} "),
            why="What the database knows of groups, locks and transactions holds on the chain from before: the daemon "
            "leaves the node out, and does not start when all nodes are on another one.",
            remedy=WAY_OUT,
        )
