"""Where the states of a group on two nodes part, and which transactions one of them knows nothing of."""

import asyncio
from collections.abc import Mapping

from orchestrator.engine.nodes.bisection import first_block
from orchestrator.engine.ports.nodes import NodePort
from orchestrator.membership.model import Verdict

MOST_RECEIPTS = 100
"""Transactions of a block that are looked into."""


async def first_difference(odd: NodePort, reference: NodePort, group: str, block: int, verdict: Verdict) -> int:
    """Return the first block at which a node differs from another one, by binary search: two calls a step.

    Args:
        odd: The node that differs at `block`.
        reference: The node that it is compared with.
        group: The group.
        block: A block at which they differ.
        verdict: `Verdict.MISSING` to look for where the group went, otherwise for where the state roots part.

    Raises:
        NodeError: A node does not answer.
    """

    async def differs(at: int) -> bool:
        if verdict is Verdict.MISSING:
            (there,), (expected,) = await asyncio.gather(odd.has_state(group, [at]), reference.has_state(group, [at]))
            return expected and not there
        (one,), (other,) = await asyncio.gather(odd.roots(group, [at]), reference.roots(group, [at]))
        return one.state_root != other.state_root

    return await first_block(-1, block, differs)


async def lacking(members: Mapping[str, NodePort], block_number: int) -> dict[str, tuple[str, ...]]:
    """Return by member which private transactions of a block its node knows nothing of while another's knows them.

    It is the one trace of a transaction that a member's node missed: the node has the block, and no private receipt of
    the marker in it. A member that a replay rolled back has the receipts all the same
    (docs/besu.md#how-replay-damages-other-groups).

    Args:
        members: By enclave key the member's node.
        block_number: The block at which their states part.

    Raises:
        NodeError: A node does not answer.
    """
    nodes = {node.name: node for node in members.values()}
    if not nodes:
        return {}
    hashes = (await next(iter(nodes.values())).block(block_number)).transactions[:MOST_RECEIPTS]
    if not hashes:
        return {}
    told = await asyncio.gather(*(node.outcomes(hashes) for node in nodes.values()))
    known = {
        name: {outcome.pmt_hash for outcome in outcomes if outcome.executed is not None}
        for name, outcomes in zip(nodes, told, strict=True)
    }
    somewhere: frozenset[str] = frozenset().union(*known.values())
    missed = {key: tuple(h for h in hashes if h in somewhere - known[node.name]) for key, node in members.items()}
    return {key: hashes for key, hashes in missed.items() if hashes}


def most_lacking_calls(nodes: int) -> int:
    """Return how many calls `lacking` takes at most on so many nodes."""
    return 1 + 2 * MOST_RECEIPTS * nodes
