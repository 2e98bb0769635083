"""How an attempt ended: wait for the block that mined its marker, then read the private receipt and the group there.

A node that doesn't know decides nothing: another member's node is asked, or the same one a block later.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from orchestrator.engine.attempts.broadcast import offered, targets
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher, silence
from orchestrator.engine.ports.nodes import Burning, NodeError, PmtOutcome
from orchestrator.membership.attempt import Action, Attempt
from orchestrator.membership.facts import AttemptSettled, AttemptUnmined, Fact, GroupMoved
from orchestrator.membership.model import Change, Effect, GroupView, Kind, Plan
from orchestrator.membership.proof.comparison import same_state
from orchestrator.membership.reasons.table import Reason
from orchestrator.membership.retry import NODE_MARKER_BLOCKS, RENEW_AFTER_BLOCKS, WIDEN_AFTER_BLOCKS

SILENCE_SECONDS = 60.0
"""A chain that makes no block for this long is reported; blocks of consortium chains are seconds apart."""

WITNESS_SECONDS = 5.0
"""How long another old member's node may take to import the block of an addition before the next one is looked at."""


def witnesses(fleet: Fleet, change: Change, attempt: Attempt) -> list[ChainWatcher]:
    """Return the nodes that can tell what became of an attempt: the one that distributed it, then other members'.

    Only nodes of members have the private receipt. One that stands behind the others comes last: a node that can't
    import a block answers calls all the same, and would never see the marker mined. Those that a change is to cure
    refuse what the group executes.
    """
    plan = change.plan
    fallen = change.members if change.kind is Kind.CURE_GROUP else ()
    keys = (*plan.participants, *attempt.members) if plan is not None else attempt.members
    hosts = [fleet.hosting(key) for key in keys if key not in fallen]
    nodes = list(dict.fromkeys([fleet.named(attempt.node), *(host for host in hosts if host is not None)]))
    newest = max((node.head.number for node in nodes if node.head is not None), default=0)
    return sorted(nodes, key=lambda node: newest - (node.head.number if node.head is not None else 0) > 2)


async def settle(fleet: Fleet, change: Change, attempt: Attempt) -> Fact:
    """Wait until the chain tells how an attempt ended, or until its marker should be broadcast more widely.

    Args:
        fleet: The nodes.
        change: The change whose attempt it is.
        attempt: The attempt, its marker broadcast or perhaps broadcast.

    Raises:
        NodeError: No node tells, or the chain stands still.
    """
    failure: NodeError | None = None
    for watcher in witnesses(fleet, change, attempt):
        try:
            return await _settle_at(fleet, watcher, change, attempt)
        except NodeError as error:
            # The first failure is the one to tell: it names the node that the attempt went through.
            failure = failure or error
    raise failure or NodeError(
        Reason(slug="node_unreachable", detail=f"node {attempt.node} is not configured any more")
    )


async def moved_under_lock(watcher: ChainWatcher, change: Change, number: int) -> GroupMoved | None:
    """Return what happened to a group under our lock up to a block; None when it is as the lock left it.

    The state root stands for the lock, the version and every private nonce at once, so one call compares them all.

    Raises:
        NodeError: The node does not tell.
    """
    plan, group = change.plan, change.privacy_group_id
    if plan is None or plan.lock_nonce is None:
        raise ValueError(f"change {change.change_id} holds no lock that somebody could have moved")
    if plan.lock_root:
        (seen,) = await watcher.node.roots(group, [number])
        if seen.exists and seen.state_root == plan.lock_root:
            return None
    # Private nonces are told at the head only: one that is newer than `number` makes a move show early, and hides none.
    view, private_nonce = await asyncio.gather(
        watcher.node.view(group, number), watcher.node.private_nonce(group, change.account)
    )
    return compared_with_lock(plan, view, private_nonce)


def compared_with_lock(plan: Plan, view: GroupView, private_nonce: int) -> GroupMoved | None:
    """Return what happened to a group since our lock, from its view and the account's private nonce at one block."""
    expected = (plan.lock_nonce or 0) + 1
    as_left = view.exists and view.locked and view.version == plan.version and private_nonce == expected
    if as_left and (not plan.lock_root or view.state_root in ("", plan.lock_root)):
        return None
    state = "locked" if view.locked else "not locked"
    what = f"{state}, at private nonce {private_nonce} where our lock left {expected}"
    if view.version != plan.version:
        what += ", with other members"
    detail = f"at block {view.block_number} the group is {what}"
    return GroupMoved(reason=Reason(slug="group_moved", detail=detail), private_nonce=private_nonce)


async def _settle_at(fleet: Fleet, watcher: ChainWatcher, change: Change, attempt: Attempt) -> Fact:
    sent = attempt.sent_block if attempt.sent_block is not None else attempt.since_block
    # A head that was overstated when the marker was sent is never reached.
    until = min(sent, (await watcher.current()).number) + WIDEN_AFTER_BLOCKS
    while True:
        # While an addition is on its way each block is looked at: what somebody else does under our lock harms it.
        head = await watcher.current()
        step = head.number + 1 if attempt.action is Action.ADD else max(until, head.number + 1)
        block = await watcher.wait_mined(attempt.pmt_hashes, step, SILENCE_SECONDS)
        # Asked for without a block as well: the marker may have been mined before this look, or in a block that a
        # reorganisation made the watcher forget.
        outcomes = await watcher.node.outcomes(attempt.pmt_hashes)
        mined = next((outcome for outcome in outcomes if outcome.block_number is not None), None)
        if mined is not None:
            return await _settle_mined(fleet, watcher, change, attempt, mined)
        if block is not None:
            detail = f"node {watcher.node.name} has block {block.number} and no receipt for the marker that it holds"
            raise NodeError(Reason(slug="outcome_unknown", detail=detail))
        newest = await watcher.current()
        if newest.number <= head.number:
            raise silence(watcher.node.name)
        if attempt.action is Action.ADD and change.plan is not None and change.plan.lock_nonce is not None:
            moved = await moved_under_lock(watcher, change, newest.number)
            if moved is not None:
                return await _unless_mined(fleet, watcher, change, attempt, moved)
        if newest.number >= until:
            return AttemptUnmined(head=newest.number)


async def _unless_mined(
    fleet: Fleet, watcher: ChainWatcher, change: Change, attempt: Attempt, moved: GroupMoved
) -> Fact:
    """What moved the group may be the attempt itself, mined in the block that was looked at."""
    if not attempt.pmt_hashes:
        return await _unless_shown(fleet, watcher, change, attempt, moved)
    for outcome in await watcher.node.outcomes(attempt.pmt_hashes):
        if outcome.block_number is not None:
            return await _settle_mined(fleet, watcher, change, attempt, outcome)
    return moved


async def _unless_shown(
    fleet: Fleet, watcher: ChainWatcher, change: Change, attempt: Attempt, moved: GroupMoved
) -> Fact:
    """The same where the answer with the marker's hash was lost: the group's state and private nonce tell."""
    head = await watcher.current()
    view = await watcher.node.view(change.privacy_group_id, head.number)
    done = view.exists and not view.locked and set(attempt.members) <= set(view.participants)
    if not done or moved.private_nonce != attempt.private_nonce + 1:
        return moved
    effect = Effect(block_number=head.number, block_hash=head.block_hash, view=view, witness=watcher.node.name)
    return await _seen_by_others(fleet, watcher, change, attempt, effect)


async def _settle_mined(
    fleet: Fleet, watcher: ChainWatcher, change: Change, attempt: Attempt, outcome: PmtOutcome
) -> Fact:
    if outcome.executed is None:
        outcome, watcher = await _seen_elsewhere(fleet, watcher, change, attempt, outcome)
    number, block_hash = outcome.block_number, outcome.block_hash
    if number is None or block_hash is None:
        raise NodeError(Reason(slug="outcome_unknown", detail=f"node {watcher.node.name} names no block of the marker"))
    if not outcome.executed:
        detail = f"{attempt.action} in block {number}"
        return AttemptSettled(effect=None, reason=outcome.reason or Reason(slug="execution_refused", detail=detail))
    view = await _view_of_effect(fleet, watcher, change, attempt, number)
    effect = Effect(block_number=number, block_hash=block_hash, view=view, witness=watcher.node.name)
    if attempt.action is not Action.ADD:
        return AttemptSettled(effect=effect)
    return await _seen_by_others(fleet, watcher, change, attempt, effect)


async def _seen_by_others(
    fleet: Fleet, watcher: ChainWatcher, change: Change, attempt: Attempt, effect: Effect
) -> AttemptSettled:
    """Look at an addition on an old member's node that did not send it: in a split group only the sender and the
    newcomer have executed it, each with a receipt that says so (docs/besu.md#stale-bundles)."""
    old = change.plan.participants if change.plan is not None else ()
    for key in old:
        other = fleet.hosting(key)
        if other is None or other.node.name in (attempt.node, watcher.node.name):
            continue
        # A silent witness decides nothing: the next one is looked at, and without any the proof finds out.
        if await other.wait_beyond(effect.block_number - 1, WITNESS_SECONDS) is None:
            continue
        try:
            (seen,) = await other.node.roots(change.privacy_group_id, [effect.block_number])
            if seen.state_root and seen.state_root == effect.view.state_root:
                return AttemptSettled(effect=replace(effect, witness=other.node.name))
            seen = await other.node.view(change.privacy_group_id, effect.block_number)
        except NodeError:
            continue
        if not seen.exists:
            continue  # a member that lost the group is the proof's to tell
        if same_state(seen, effect.view):
            return AttemptSettled(effect=replace(effect, view=seen, witness=other.node.name))
        await _require_same_block(watcher, other, effect)
        detail = (
            f"the addition was mined in block {effect.block_number} on an older state of the group: node "
            f"{watcher.node.name} and the new members executed it, node {other.node.name} did not"
        )
        return AttemptSettled(effect=effect, reason=Reason(slug="group_split", detail=detail, members=attempt.members))
    return AttemptSettled(effect=effect)


async def _require_same_block(watcher: ChainWatcher, other: ChainWatcher, effect: Effect) -> None:
    """Raise `NodeError` unless both nodes still have the block that executed the attempt.

    Groups are read by block number: when a reorganisation replaces the block between two reads, the difference between
    them is none between members.
    """
    for node in (watcher.node, other.node):
        if (await node.block(effect.block_number)).block_hash != effect.block_hash:
            detail = f"block {effect.block_number} is another one on node {node.name} than when the addition executed"
            raise NodeError(Reason(slug="outcome_unknown", detail=detail))


async def _seen_elsewhere(
    fleet: Fleet, watcher: ChainWatcher, change: Change, attempt: Attempt, outcome: PmtOutcome
) -> tuple[PmtOutcome, ChainWatcher]:
    """Ask other members' nodes for a private receipt that the first one does not have (yet)."""
    # A node that is replaying, or that got the payload late, has the marker's block without the receipt
    # (docs/besu.md#outcomes, 2).
    for other in witnesses(fleet, change, attempt):
        if other is watcher:
            continue
        try:
            (told,) = await other.node.outcomes([outcome.pmt_hash])
        except NodeError:
            continue
        if told.executed is not None:
            return told, other
    detail = f"the marker is in block {outcome.block_number}, and no node has its private receipt yet"
    raise NodeError(Reason(slug="outcome_unknown", detail=detail))


async def _view_of_effect(
    fleet: Fleet, watcher: ChainWatcher, change: Change, attempt: Attempt, number: int
) -> GroupView:
    """The group at the block in which the attempt executed.

    The receipt says that it did: a node that shows no group there does not know it yet, which makes nothing void.
    A lock changes neither members nor version, so that these are not asked for.
    """
    group = change.privacy_group_id
    for witness in (watcher, *witnesses(fleet, change, attempt)):
        read = witness.node.lock_view if attempt.action is Action.LOCK else witness.node.view
        try:
            view = await read(group, number)
        except NodeError:
            continue
        if view.exists:
            fleet.seen.note(witness, group, view)
            return view
    detail = f"{attempt.action} executed in block {number}, and no member's node shows the group there yet"
    raise NodeError(Reason(slug="outcome_unknown", detail=detail))


async def burn(
    fleet: Fleet,
    change: Change,
    attempt: Attempt,
    forms: Sequence[Burning],
    depth: int,
) -> Fact | None:
    """Broadcast what burns an attempt's marker through every node, and see which of the two is mined.

    A pending burn is nothing: a pool that holds the marker, or a cut-off node's, can bring it back, so the burn is sent
    again in every block until one of them is mined. Like a marker, one that came through a non-validator first may
    never be offered for a block, so its form changes every few blocks (docs/besu.md#markers).

    Args:
        fleet: The nodes.
        change: The change whose attempt it is.
        attempt: The attempt that is given up.
        forms: What burns it, in several forms of which one can be mined; none for a marker that a node signed, which
            can only be outlasted.
        depth: How many blocks below the head count as mined for good.

    Returns:
        `AttemptSettled` when the marker was mined, `AttemptUnmined` when neither is yet; None when it is burnt.

    Raises:
        NodeError: No node tells, or the chain stands still.
        LeaseLostError: The lane was lost; nothing was sent from then on.
    """
    if not forms:
        return await _outlast(fleet, change, attempt)
    failure: NodeError | None = None
    # By the head and not by a count: every replica, and one that was restarted, takes the same.
    burning = forms[fleet.newest_head() // RENEW_AFTER_BLOCKS % len(forms)]
    for nodes in await targets(fleet, fleet.named(attempt.node)):
        # Who refuses holds the marker, or a block of its has it: what is in the blocks decides.
        await offered(nodes, burning.raw, burning.transaction_hash)
    for watcher in witnesses(fleet, change, attempt):
        try:
            head = await watcher.current()
            if await watcher.wait_beyond(head.number, SILENCE_SECONDS) is None:
                raise silence(watcher.node.name)
            hashes = (*attempt.pmt_hashes, *(form.transaction_hash for form in forms))
            mined = [o for o in await watcher.node.outcomes(hashes) if o.block_number is not None]
            newest = await watcher.current()
            for outcome in mined:
                if outcome.pmt_hash in attempt.pmt_hashes:
                    return await _settle_mined(fleet, watcher, change, attempt, outcome)
                if outcome.block_number is not None and outcome.block_number + depth <= newest.number:
                    return None
            return AttemptUnmined(head=newest.number)
        except NodeError as error:
            failure = failure or error
    raise failure or NodeError(Reason(slug="node_unreachable", detail="no member's node is configured"))


async def _outlast(fleet: Fleet, change: Change, attempt: Attempt) -> Fact | None:
    """Wait until the marker that a node signed is mined, or until so long that nobody has it any more."""
    fact = await settle(fleet, change, attempt)
    if isinstance(fact, AttemptSettled):
        return fact
    head = await fleet.named(attempt.node).current()
    if head.number < attempt.since_block + NODE_MARKER_BLOCKS:
        return AttemptUnmined(head=head.number)
    asked = await asyncio.gather(*(_is_pooled(watcher, attempt) for watcher in fleet.watchers))
    return AttemptUnmined(head=head.number) if any(asked) else None


async def _is_pooled(watcher: ChainWatcher, attempt: Attempt) -> bool:
    try:
        return bool(attempt.pmt_hashes) and await watcher.node.pooled(attempt.pmt_hashes) is True
    except NodeError:
        return False  # what it has is out of reach for now, for the validators as for us
