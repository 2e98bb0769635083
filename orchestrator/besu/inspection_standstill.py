"""Judging why a node stands still while others move. Pure.

The facts are docs/besu.md#replay-measured, #what-a-replay-needs, #enclaves-that-fail.
"""

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.besu.inspection import EnclaveSeen, Finding, Level, NextBlock, NodeSeen, Unanswered

CHECK = "stands-still"

_RESTART = (
    "Restart this node's Besu: one whose enclave refused connections drops its peers, and may take none again when the "
    "enclave is back."
)
_NOT_CURES = "Deleting its database does not help: it meets the same block again."


def standstill_findings(
    nodes: Sequence[NodeSeen], standing: Mapping[str, NextBlock | Unanswered]
) -> tuple[Finding, ...]:
    """Return why nodes stand still, as far as it can be told.

    Args:
        nodes: All that answer.
        standing: By name, the block that each that stands still has to import next.
    """
    return tuple(finding for node in nodes for finding in _of(node, standing.get(node.name), nodes))


def _of(seen: NodeSeen, ahead: NextBlock | Unanswered | None, nodes: Sequence[NodeSeen]) -> Iterator[Finding]:
    if ahead is None:
        if len(nodes) > 1:
            yield Finding(check=CHECK, level=Level.OK, node=seen.name, what="moves with the others")
        return
    if isinstance(ahead, Unanswered):
        what, level = f"stands at block {seen.head.number}; what comes next can't be told: {ahead.message}", Level.ERROR
        why, remedy = "The others move on.", "Look at its peers, its enclave and its log."
    else:
        stands = f"stands at block {ahead.number - 1} while others have {ahead.newest}"
        level, cause, remedy = _cause(seen, ahead, nodes)
        what = f"{stands}: {cause}"
        why = "It imports nothing: nothing can be sent through it or proven of it, and changes with its member wait."
    yield Finding(check=CHECK, level=level, node=seen.name, what=what, why=why, remedy=remedy)


def _cause(seen: NodeSeen, ahead: NextBlock, nodes: Sequence[NodeSeen]) -> tuple[Level, str, str]:
    held = _in_words(ahead)
    down = isinstance(seen.enclave, Unanswered) or (
        isinstance(seen.enclave, EnclaveSeen) and seen.enclave.status != 200
    )
    alone = seen.peers == 0
    if down:
        after = (
            f" Then, as it has no peers: {_RESTART}" if alone else " If it has no peers then, restart its Besu, too."
        )
        remedy = "Start the enclave; the node catches up by itself within seconds." + after
        return Level.ERROR, f"its enclave does not answer; {held}", remedy
    if alone:
        return Level.ERROR, "it has no peers, so that no block reaches it", _RESTART
    if ahead.additions:
        names = f" to {', '.join(ahead.groups)}" if ahead.groups else ""
        cause = f"block {ahead.number} adds it or another node{names}: it replays that group's history, or can't"
        remedy = f"Wait if it moves (`orchestrator watch`). If it does not: {_rescue(seen, nodes)} {_NOT_CURES}"
        return Level.WARNING, cause, remedy
    if ahead.markers:
        remedy = "Look at its enclave (it must answer /receive, not only /upcheck) and at its log; give its address as "
        remedy += "nodes.enclave to have it asked." if seen.enclave is None else "nodes.enclave is well."
        return Level.ERROR, f"{held}, which its enclave must hand over", remedy
    return (
        Level.ERROR,
        held,
        "Look at its log (`Invalid block`, BREACH_OF_PROTOCOL) and at its peers; restart its Besu.",
    )


def _in_words(ahead: NextBlock) -> str:
    if not ahead.markers:
        return f"block {ahead.number} holds no private transaction, so that neither a replay nor the enclave holds it"
    return f"block {ahead.number} holds {ahead.markers} private transaction(s)"


def _rescue(seen: NodeSeen, nodes: Sequence[NodeSeen]) -> str:
    neighbour = next((node.url for node in nodes if node is not seen), "URL")
    enclave = seen.enclave_url or "URL-OF-ITS-ENCLAVE"
    return f"`orchestrator rescue --node {seen.url} --enclave {enclave} --neighbour {neighbour} --dry-run`."
