"""What may go on at the same time on one node: replays, re-additions and markers of one account."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from orchestrator.membership.attempt import Action
from orchestrator.membership.model import Change, ExpectedReplay, State
from orchestrator.membership.reasons.table import Reason

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


def additions_of(change_id: str, privacy_group_id: str, replays: Iterable[ExpectedReplay]) -> tuple[NodeAddition, ...]:
    """Return what an addition makes nodes replay, as far as their names are known.

    Args:
        change_id: The change.
        privacy_group_id: The group.
        replays: What was forecast of it.
    """
    return tuple(
        NodeAddition(
            change_id=change_id,
            privacy_group_id=privacy_group_id,
            node=expected.node,
            former=expected.former,
            blocks=expected.blocks,
        )
        for expected in replays
        if expected.node is not None and (expected.blocks > 0 or expected.former)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Precedence:
    """Another addition that goes first.

    Attributes:
        reason: Why this one waits.
        yields: This one gives way at once: the other one waits for it in turn, or was broadcast.
    """

    reason: Reason
    yields: bool


ADDS: frozenset[State] = frozenset({State.LOCKING, State.ADDING, State.UNLOCKING, State.REPLAYING})
"""States in which a change may make a node replay."""


def precedence(change: Change, other: Change, rules: ReplayRules) -> Precedence | None:
    """Return whether another addition goes before one whose attempt is stored and about to be broadcast.

    Each lane stores its attempt first and looks at the others' then, so that of two that begin at the same time at
    least one sees the other. Both may: then the younger one gives way, and the older one waits until it has. For one
    that was broadcast each gives way: behind its replay nothing holds that was forecast before.

    Args:
        change: The change, its addition signed.
        other: A change in a state of `ADDS`, as it is stored.
        rules: How replays are kept apart.
    """
    # Who only holds a lock is no obstacle here: it looks at the others after it has stored its own addition, and sees
    # this one.
    if other.change_id == change.change_id or not may_replay(other):
        return None
    reason = busy(_left_to_replay(change), other, rules)
    if reason is None:
        return None
    # Ids are ordered by age, so that both lanes come to the same end without speaking to each other.
    sent = other.state is State.REPLAYING or other.in_flight is not None
    return Precedence(reason=reason, yields=sent or other.change_id < change.change_id)


def busy(mine: Sequence[NodeAddition], other: Change, rules: ReplayRules) -> Reason | None:
    """Return why a change should not lock its group yet: another addition to the same node is on its way.

    Args:
        mine: What the change would make nodes replay.
        other: A change in a state of `ADDS`, as it is stored.
        rules: How replays are kept apart.
    """
    # Followers' replays are in the lead's plan already.
    ahead = _left_to_replay(other) if other.leads else ()
    return next(filter(None, (addition_obstacle(addition, ahead, rules) for addition in mine)), None)


def bundling_obstacle(change_id: str, node: str, other: Change) -> Reason | None:
    """Return why what a node bundled while a block came is not to be used: it may replay another group for that block.

    A replay makes the maps anew that a bundle is collected through (docs/besu.md#torn-bundles). What a node replayed
    is known of the blocks that it has imported; while it is at it, it answers as before.

    Args:
        change_id: The change whose addition the node is to send.
        node: The node's name.
        other: A change in a state of `ADDS`, as it is stored.
    """
    replays = other.change_id != change_id and other.leads and may_replay(other)
    if not replays or all(addition.node != node for addition in _left_to_replay(other)):
        return None
    detail = f"node {node}, through which the addition goes, replays a group; change {other.change_id} is under way"
    return Reason(slug="newcomer_busy", detail=detail)


def may_replay(other: Change) -> bool:
    """Return whether an addition is signed, or was sent, that may make nodes replay; else a change only holds a lock.

    Args:
        other: A change in a state of `ADDS`, as it is stored.
    """
    attempt = other.attempt
    # Also one that is to be burnt: until that is mined its marker may be, and the node would replay.
    adds = attempt is not None and attempt.live and attempt.action is Action.ADD
    return adds or other.state is State.REPLAYING


def _left_to_replay(change: Change) -> tuple[NodeAddition, ...]:
    plan = change.plan
    # A member that was seen in sync has replayed: its node is free, though its change is not proven yet.
    done = {entry.enclave_key for entry in change.progress if entry.in_sync_through is not None}
    replays = [expected for expected in (plan.replays if plan is not None else ()) if expected.enclave_key not in done]
    return additions_of(change.change_id, change.privacy_group_id, replays)


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
        # Whatever the configuration says: another replay makes anew the maps that this one would begin from, and the
        # node halts for good (docs/besu.md#former-members, 2).
        if wanted.former or other.former:
            who = wanted.privacy_group_id if wanted.former else other.privacy_group_id
            detail = (
                f"node {wanted.node} was a member of group {who} before: while it is added again nothing else is "
                f"added to the node; change {other.change_id} is under way"
            )
            return Reason(slug="newcomer_busy", detail=detail)
        # A short one is over before the next block can bring another. Longer ones might lose an update of a map, which
        # was never seen and is not risked either (docs/besu.md#replay-measured, 6).
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
    # Of any group and through any node: a block does not care whose markers they are.
    other = next((marker for marker in pending if marker.account == account), None)
    if other is None:
        return None
    detail = f"account {account} signs the markers; that of change {other.change_id} is not mined yet"
    return Reason(slug="marker_account_busy", detail=detail)
