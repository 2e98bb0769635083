"""What may go on at the same time on one node: replays, re-additions and markers of one account."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from orchestrator.membership.forecast.verdict import Forecast
from orchestrator.membership.reasons import Reason

REPLAYED_IN: timedelta = timedelta(milliseconds=4)
"""What replaying a transaction takes: 1,500 took 4 to 6 s, 6,000 16 s (docs/besu.md#replay-measured)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRules:
    """How replays on one node are kept apart.

    Attributes:
        block_period: The time between two blocks.
        apart: Whether replays that are expected to outlast the block period wait for each other.
        per_block: What replaying a block of a group is expected to take.
    """

    block_period: timedelta
    apart: bool = True
    per_block: timedelta = REPLAYED_IN


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAddition:
    """An addition under way that makes a node replay: from its forecast until the node has imported its block.

    Attributes:
        change_id: The change.
        privacy_group_id: The group.
        node: Name of the node that replays.
        former: Whether the node has part of the group already.
        blocks: How many of the group's blocks it has to replay.
    """

    change_id: str
    privacy_group_id: str
    node: str
    former: bool
    blocks: int


def additions_of(change_id: str, forecast: Forecast) -> tuple[NodeAddition, ...]:
    """Return what an addition makes nodes replay, as far as their names are known.

    Args:
        change_id: The change.
        forecast: What was forecast of it.
    """
    return tuple(
        NodeAddition(
            change_id=change_id,
            privacy_group_id=forecast.privacy_group_id,
            node=expected.node,
            former=expected.former,
            blocks=expected.blocks,
        )
        for expected in forecast.replays
        if expected.node is not None and (expected.blocks > 0 or expected.former)
    )


def addition_obstacle(wanted: NodeAddition, others: Iterable[NodeAddition], rules: ReplayRules) -> Reason | None:
    """Return why an addition has to wait for another one of the same node; None when it may begin now.

    Adding a former member is safe only while nothing else is added to its node between the look at its roots and the
    addition's block (docs/besu.md#former-members): another replay makes the maps anew that this
    one begins from. Replays on top of each other write the same maps without a lock.

    Args:
        wanted: The addition to begin.
        others: Additions under way, of any node and group.
        rules: How replays are kept apart.
    """
    for other in others:
        if other.node != wanted.node or other.change_id == wanted.change_id:
            continue
        if wanted.former or other.former:
            who = wanted.privacy_group_id if wanted.former else other.privacy_group_id
            detail = (
                f"node {wanted.node} was a member of group {who} before: while it is added again nothing else is "
                f"added to the node; change {other.change_id} is under way"
            )
            return Reason(slug="newcomer_busy", detail=detail)
        longest = max(wanted.blocks, other.blocks)
        if rules.apart and longest * rules.per_block > rules.block_period:
            detail = f"node {wanted.node} replays {longest} blocks of a group; change {other.change_id} is under way"
            return Reason(slug="newcomer_busy", detail=detail)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingMarker:
    """A private transaction whose marker one account signs, sent and not known to be mined.

    Attributes:
        account: The account that signs the markers of the sending node.
        change_id: Whose it is.
    """

    account: str
    change_id: str


def marker_obstacle(account: str | None, pending: Iterable[PendingMarker]) -> Reason | None:
    """Return why a private transaction has to wait for another one's block; None when it may be sent now.

    Two markers of one account in one block make the block unreplayable for every group in it
    (docs/besu.md#what-a-replay-needs); one that is sent after the other's block can't be in it.

    Args:
        account: The account of the node's fixed marker key; None when the node draws a key for each marker.
        pending: What was sent and is not known to be mined, through any node.
    """
    if account is None:
        return None
    other = next((marker for marker in pending if marker.account == account), None)
    if other is None:
        return None
    detail = f"account {account} signs the markers; that of change {other.change_id} is not mined yet"
    return Reason(slug="marker_account_busy", detail=detail)
