"""A node that stands still while others move: what holds it, what to do, and what is told of it. Pure.

One table for the daemon and for the doctor. The facts are docs/besu.md#enclaves-that-fail, #replay-measured and
#what-a-replay-needs.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from orchestrator.membership.news.status import EventType, Json, StatusEvent
from orchestrator.membership.reasons.cures import RESTART_BESU


class Hold(StrEnum):
    """What holds a node, as far as it can be seen."""

    ENCLAVE = "enclave"
    """Its enclave does not answer."""
    PEERS = "peers"
    """It has no peers, so that no block reaches it."""
    ADDITION = "addition"
    """The block that it has to import next brings a group's history: it replays it, or can't."""
    PAYLOAD = "payload"
    """That block holds private transactions, which its enclave has to hand over."""
    UNKNOWN = "unknown"
    """None of these: its log tells."""


REMEDIES: dict[Hold, str] = {
    Hold.ENCLAVE: "Start the enclave; the node catches up by itself within seconds. If it has no peers then, restart "
    "its Besu, too.",
    Hold.PEERS: RESTART_BESU,
    Hold.ADDITION: "Wait while it moves. If it does not, `orchestrator rescue` says which block it can't replay, and "
    "brings it past. Deleting its database does not help: it meets the same block again.",
    Hold.PAYLOAD: "Look at its enclave, which must answer /receive, not only /upcheck, and at its log.",
    Hold.UNKNOWN: "Look at its log (`Invalid block`, BREACH_OF_PROTOCOL) and at its peers; restart its Besu.",
}


def hold_of(*, enclave_down: bool, peers: int | None, additions: int, markers: int) -> Hold:
    """Return what holds a node.

    Args:
        enclave_down: Whether its enclave is known not to answer.
        peers: How many it has; None when it does not tell.
        additions: Markers with a history in the block that it has to import next.
        markers: All markers in it.
    """
    # First what would also cause the rest: a node without its enclave loses its peers (docs/besu.md#enclaves-that-fail,
    # 3), and stands before additions as before all private transactions.
    if enclave_down:
        return Hold.ENCLAVE
    if peers == 0:
        return Hold.PEERS
    if additions:
        return Hold.ADDITION
    return Hold.PAYLOAD if markers else Hold.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Standstill:
    """A node that stands still.

    Attributes:
        node: Its name.
        head: Where it stands.
        newest: The newest block that others have.
        since: When its head moved last.
        hold: What holds it.
        detail: What was seen, for a person.
    """

    node: str
    head: int
    newest: int
    since: datetime
    hold: Hold
    detail: str


def standing_event(found: Standstill) -> StatusEvent:
    """Return the event of a node that stands still."""
    return StatusEvent(
        type=EventType.NODE_STANDING_STILL,
        privacy_group_id="",
        data={
            "node": found.node,
            "head": found.head,
            "newest_head": found.newest,
            "since": found.since.isoformat(),
            "hold": found.hold.value,
            "detail": found.detail,
            "remedy": REMEDIES[found.hold],
        },
    )


def moving_event(node: str, head: int) -> StatusEvent:
    """Return the event of a node that moves again."""
    return StatusEvent(type=EventType.NODE_MOVING, privacy_group_id="", data={"node": node, "head": head})


AHEAD_REMEDY = (
    "Nothing is decided by what only this node shows. Compare the hash of one of its blocks with the others' "
    "(eth_getBlockByNumber), and look whether it is on a branch of its own, or all the others stand still."
)


def ahead_event(node: str, head: int, newest: int) -> StatusEvent:
    """Return the event of a node whose head is far beyond what any other node shows."""
    data: dict[str, Json] = {"node": node, "head": head, "newest_head": newest, "remedy": AHEAD_REMEDY}
    return StatusEvent(type=EventType.NODE_AHEAD, privacy_group_id="", data=data)


def ahead_after(announced: frozenset[str], event: StatusEvent) -> frozenset[str]:
    """Return which nodes subscribers take to be far ahead, after an event; the arguments are as of `holds_after`."""
    node = str(event.data.get("node"))
    return announced | {node} if event.type is EventType.NODE_AHEAD else announced - {node}


def holds_after(announced: dict[str, Hold], event: StatusEvent) -> dict[str, Hold]:
    """Return which nodes subscribers take to stand still, and why, after an event.

    Args:
        announced: The same before it.
        event: A stored event about a node.
    """
    node = str(event.data.get("node"))
    # The newest event of a node says all about it: another hold takes the place of the earlier one.
    rest = {name: hold for name, hold in announced.items() if name != node}
    if event.type is EventType.NODE_STANDING_STILL:
        rest[node] = Hold(str(event.data.get("hold")))
    return rest
