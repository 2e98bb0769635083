"""Judging why a node stands still while others move. Pure; causes and remedies: `membership.damage.standstill`."""

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.doctor.findings import EnclaveSeen, Finding, Level, NextBlock, NodeSeen, Unanswered
from orchestrator.membership.damage.standstill import REMEDIES, Hold, hold_of
from orchestrator.membership.reasons.cures import RESTART_BESU

CHECK = "stands-still"


def standstill_findings(
    nodes: Sequence[NodeSeen],
    standing: Mapping[str, NextBlock | Unanswered],
    unreplayable: Mapping[str, str],
) -> tuple[Finding, ...]:
    """Return why nodes stand still, as far as it can be told.

    Args:
        nodes: All that answer.
        standing: By name, the block that each that stands still has to import next.
        unreplayable: By group that is known to have such a block, the first one and why, for a person.
    """
    return tuple(f for node in nodes for f in _of(node, standing.get(node.name), nodes, unreplayable))


def _of(
    seen: NodeSeen,
    ahead: NextBlock | Unanswered | None,
    nodes: Sequence[NodeSeen],
    unreplayable: Mapping[str, str],
) -> Iterator[Finding]:
    if ahead is None:
        if len(nodes) > 1:
            yield Finding(check=CHECK, level=Level.OK, node=seen.name, what="moves with the others")
        return
    groups = ahead.groups if isinstance(ahead, NextBlock) else ()
    halted = "; ".join(unreplayable[group] for group in groups if group in unreplayable)
    hold = hold_of(
        enclave_down=_enclave_is_down(seen),
        peers=None if isinstance(seen.peers, Unanswered) else seen.peers,
        additions=ahead.additions if isinstance(ahead, NextBlock) else 0,
        markers=ahead.markers if isinstance(ahead, NextBlock) else 0,
    )
    newest = max((node.head.number for node in nodes), default=seen.head.number)
    stands = f"stands at block {seen.head.number} while others have {newest}"
    if isinstance(ahead, NextBlock):
        stands = f"stands at block {ahead.number - 1} while others have {ahead.newest}"
    yield Finding(
        check=CHECK,
        # A long replay looks just like this and ends by itself (docs/besu.md#replay-measured, 1), unless its history is
        # known to have a block that can't be replayed.
        level=Level.WARNING if hold is Hold.ADDITION and not halted else Level.ERROR,
        node=seen.name,
        what=f"{stands}: {_cause(hold, ahead, halted)}",
        why="It imports nothing: nothing can be sent through it or proven of it, and changes with its member wait.",
        remedy=_remedy(hold, seen),
        copy=_commands(hold, seen, nodes),
    )


def _enclave_is_down(seen: NodeSeen) -> bool:
    return isinstance(seen.enclave, Unanswered) or (
        isinstance(seen.enclave, EnclaveSeen) and seen.enclave.status != 200
    )


def _cause(hold: Hold, ahead: NextBlock | Unanswered, halted: str) -> str:
    match hold:
        case Hold.ENCLAVE:
            return "its enclave does not answer"
        case Hold.PEERS:
            return "it has no peers, so that no block reaches it"
    if isinstance(ahead, Unanswered):
        return f"what the next block holds can't be told ({ahead.message})"
    match hold:
        case Hold.ADDITION:
            names = f" to {', '.join(ahead.groups)}" if ahead.groups else ""
            cause = f"block {ahead.number} adds it or another node{names}"
            if halted:
                return f"{cause}, whose history can't be replayed ({halted})"
            return f"{cause}: it replays that group's history, or can't"
        case Hold.PAYLOAD:
            return (
                f"block {ahead.number} holds {ahead.markers} private transaction(s), which its enclave must hand over"
            )
    return f"block {ahead.number} holds no private transaction, so that neither a replay nor the enclave holds it"


def _remedy(hold: Hold, seen: NodeSeen) -> str:
    if hold is Hold.ENCLAVE and seen.peers == 0:
        return f"Start the enclave. Then, as the node has no peers: {RESTART_BESU}"
    if hold is Hold.PAYLOAD and seen.enclave is None:
        return f"{REMEDIES[hold]} Give its address as nodes.enclave to have it asked."
    return REMEDIES[hold]


def _commands(hold: Hold, seen: NodeSeen, nodes: Sequence[NodeSeen]) -> tuple[str, ...]:
    if hold is not Hold.ADDITION:
        return ()
    neighbour = next((node.url for node in nodes if node is not seen), "URL")
    asked = f"--node {seen.url} --enclave {seen.enclave_url or 'URL-OF-ITS-ENCLAVE'} --neighbour {neighbour}"
    return (f"orchestrator rescue {asked} --dry-run",)
