"""How an attempt ended: wait for the block that mined it, then read the group's state there, not the status alone."""

import asyncio
from dataclasses import dataclass, replace

from orchestrator.engine.fleet import Fleet
from orchestrator.engine.node_ports import Block, NodeError, PmtOutcome
from orchestrator.engine.watcher import ChainWatcher, silence
from orchestrator.membership.facts import AttemptSettled, AttemptUnmined, Fact
from orchestrator.membership.model import Action, Attempt, AttemptStatus, Change, Effect, GroupView
from orchestrator.membership.reasons import Reason
from orchestrator.membership.retry import RESEND_AFTER_BLOCKS

SILENCE_SECONDS = 60.0
"""A chain that makes no block for this long is reported; blocks of consortium chains are seconds apart."""


async def settle(fleet: Fleet, change: Change, attempt: Attempt, *, search: bool, depth: int = 0) -> Fact:
    """Wait until the chain tells how an attempt ended, or until it is time to send it again.

    Args:
        fleet: The nodes.
        change: The change whose attempt it is.
        attempt: The attempt, sent or perhaps sent.
        search: Look for PMTs of it whose hash never came back.
        depth: How many blocks a reorganisation may take back: the new ones can hold a PMT under the number of a block
            that was there when the attempt was signed.

    Raises:
        NodeError: The node does not answer, or its chain stands still.
    """
    watcher = fleet.named(attempt.node)
    sent = attempt.sent_block if attempt.sent_block is not None else attempt.since_block
    until = sent + RESEND_AFTER_BLOCKS
    attempt = replace(attempt, since_block=max(attempt.since_block - depth, 0))
    found = await _search(watcher, attempt) if search else ()
    hashes = tuple(dict.fromkeys((*attempt.pmt_hashes, *found)))
    if not hashes:
        return await _settle_unfound(watcher, change, attempt, until)
    block = None if found else await watcher.wait_mined(hashes, until, SILENCE_SECONDS)
    outcomes, seen = await asyncio.gather(watcher.node.outcomes(hashes), _look(watcher, change, attempt, block))
    executed = next((outcome for outcome in outcomes if outcome.executed), None)
    if executed is not None:
        return await _settle_executed(watcher, change, attempt, executed, seen)
    refused = tuple(outcome for outcome in outcomes if outcome.block_number is not None)
    if len(refused) < len(outcomes):
        attempt = replace(attempt, pmt_hashes=hashes)
        return await _settle_waiting(fleet, change, attempt, until, found, refused)
    return await _settle_refused(watcher, change, attempt, outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """The group at the block that holds a PMT.

    Attributes:
        block_hash: That block's.
        view: The group there; of a lock only whether it holds.
        private_nonce: The account's, when the next transaction follows at once.
    """

    block_hash: str
    view: GroupView
    private_nonce: int | None = None


async def _look(watcher: ChainWatcher, change: Change, attempt: Attempt, block: Block | None) -> _Look | None:
    """Look at the group where a PMT of the attempt is, in the moment in which its receipt is read."""
    if block is None:
        return None
    node, group = watcher.node, change.privacy_group_id
    if attempt.action is not Action.LOCK:
        return _Look(block_hash=block.block_hash, view=await node.view(group, block.number))
    view, private_nonce = await asyncio.gather(
        node.lock_view(group, block.number), node.private_nonce(group, change.account)
    )
    return _Look(block_hash=block.block_hash, view=view, private_nonce=private_nonce)


async def _settle_executed(
    watcher: ChainWatcher, change: Change, attempt: Attempt, outcome: PmtOutcome, seen: _Look | None = None
) -> Fact:
    if outcome.block_number is None or outcome.block_hash is None:
        raise NodeError(Reason(slug="node_error", detail=f"node {watcher.node.name} executed a PMT in no block"))
    if seen is None or seen.block_hash != outcome.block_hash:
        view = await watcher.node.view(change.privacy_group_id, outcome.block_number)
        seen = _Look(block_hash=outcome.block_hash, view=view)
    if fulfils(seen.view, attempt):
        effect = Effect(block_number=outcome.block_number, block_hash=outcome.block_hash, view=seen.view)
        return AttemptSettled(effect=effect, private_nonce=seen.private_nonce)
    detail = f"{attempt.action} executed in block {outcome.block_number}, yet the group does not show it"
    return AttemptSettled(effect=None, reason=Reason(slug="group_moved", detail=detail))


async def _settle_refused(
    watcher: ChainWatcher, change: Change, attempt: Attempt, outcomes: tuple[PmtOutcome, ...]
) -> Fact:
    """Every known PMT was mined and none executed.

    A send whose answer was never stored (a crash came between) has a PMT that is not known: of two with the same bytes
    the other one may be the one that executed. And the intent may be fulfilled by somebody else's hand.
    """
    others = [found for found in await _search(watcher, attempt) if found not in {o.pmt_hash for o in outcomes}]
    for outcome in await watcher.node.outcomes(others) if others else ():
        if outcome.executed:
            return await _settle_executed(watcher, change, attempt, outcome)
    last = max(outcomes, key=lambda outcome: outcome.block_number or 0)
    if attempt.action is not Action.LOCK and last.block_number is not None and last.block_hash is not None:
        view = await watcher.node.view(change.privacy_group_id, last.block_number)
        if fulfils(view, attempt):
            return AttemptSettled(effect=Effect(block_number=last.block_number, block_hash=last.block_hash, view=view))
    reason = last.reason or Reason(slug="execution_refused", detail=f"{attempt.action} in block {last.block_number}")
    if attempt.status is AttemptStatus.SIGNED:
        # A PMT that nobody knows is waited for until the private nonce is used, and it may be used already.
        used = await watcher.node.private_nonce(change.privacy_group_id, change.account)
        if used > attempt.private_nonce:
            return AttemptSettled(effect=None, reason=_used_by_another(attempt))
    return AttemptSettled(effect=None, reason=reason)


def _used_by_another(attempt: Attempt) -> Reason:
    detail = f"private nonce {attempt.private_nonce} was used by another transaction"
    return Reason(slug="wrong_private_nonce", detail=detail)


async def _settle_waiting(
    fleet: Fleet, change: Change, attempt: Attempt, until: int, found: tuple[str, ...], refused: tuple[PmtOutcome, ...]
) -> Fact:
    """Some PMTs are not mined; they may never be, when a pool was lost."""
    watcher = fleet.named(attempt.node)
    head = await watcher.refresh()
    if head.number < until:
        newer = await watcher.wait_beyond(head.number, SILENCE_SECONDS)
        if newer is None:
            raise silence(watcher.node.name)
        pooled = newer.number >= until and await is_pooled(fleet, watcher, attempt)
        return AttemptUnmined(head=newer.number, found=found, pooled=pooled)
    used = await watcher.node.private_nonce(change.privacy_group_id, change.account)
    if used > attempt.private_nonce:
        return await _settle_unfound(watcher, change, attempt, until)
    pooled = await is_pooled(fleet, watcher, attempt)
    if refused and not pooled and (attempt.action is not Action.LOCK or used < attempt.private_nonce):
        # The others are in no block and in no pool. Sending it again and again would be refused for ever where somebody
        # else has done it, or where a reorganisation took back what was to be before it.
        return await _settle_refused(watcher, change, attempt, refused)
    return AttemptUnmined(head=head.number, found=found, pooled=pooled)


async def is_pooled(fleet: Fleet, watcher: ChainWatcher, attempt: Attempt) -> bool:
    """Return whether a known PMT of an attempt waits in the pool of a node; every node is asked for an addition's.

    Raises:
        NodeError: The node that is looked through does not answer.
    """
    if not attempt.pmt_hashes:
        return False
    if await watcher.node.pooled(attempt.pmt_hashes):
        return True
    others = [other for other in fleet.watchers if other is not watcher] if attempt.action is Action.ADD else []
    return any(await asyncio.gather(*(_is_pooled_at(other, attempt) for other in others)))


async def _is_pooled_at(watcher: ChainWatcher, attempt: Attempt) -> bool:
    try:
        return await watcher.node.pooled(attempt.pmt_hashes) is True
    except NodeError:
        return False  # what it has is out of reach for now, for the validators as for us


async def _settle_unfound(watcher: ChainWatcher, change: Change, attempt: Attempt, until: int) -> Fact:
    """No PMT of the attempt is known to be mined: its private nonce tells whether it still can be."""
    head = await watcher.refresh()
    used = await watcher.node.private_nonce(change.privacy_group_id, change.account)
    if used > attempt.private_nonce:
        # Something with this nonce executed. If it was ours the search finds it; the lag of one head is allowed for.
        found = await _search(watcher, attempt)
        for outcome in await watcher.node.outcomes(found) if found else ():
            if outcome.executed:
                return await _settle_executed(watcher, change, attempt, outcome)
        return AttemptSettled(effect=None, reason=_used_by_another(attempt))
    if head.number < until and await watcher.wait_beyond(head.number, SILENCE_SECONDS) is None:
        raise silence(watcher.node.name)
    newest = watcher.head or head
    return AttemptUnmined(head=newest.number, found=await _search(watcher, attempt))


async def _search(watcher: ChainWatcher, attempt: Attempt) -> tuple[str, ...]:
    """Return PMTs of the attempt that are in blocks since it was signed."""
    head = await watcher.refresh()
    return await watcher.node.markers(attempt.raw, attempt.since_block + 1, head.number)


def fulfils(view: GroupView, attempt: Attempt) -> bool:
    """Return whether the group's state is what an attempt was made for."""
    members = frozenset(view.participants)
    match attempt.action:
        case Action.CREATE:
            return view.exists and members.issuperset(attempt.members)
        case Action.LOCK:
            return view.locked
        case Action.ADD:
            return members.issuperset(attempt.members) and not view.locked
        case Action.REMOVE:
            return view.exists and members.isdisjoint(attempt.members)
        case Action.UNLOCK:
            return view.exists and not view.locked
