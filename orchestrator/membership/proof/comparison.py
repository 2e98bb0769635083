"""Comparing the members' nodes: how far each is, and whether the group is proven equal on all that can be seen.

The reference is an old member (one that was in the group before the change) whose node did not send: where a group is
split, the sender and the newcomer agree with each other and with nobody else (docs/besu.md#stale-bundles). A new member
may be equal at the effect's block and lose the group one block later, so the proof wants further blocks.

A later replay of another group rewrites what a node shows of the past, and leaves what it has now alone
(docs/besu.md#how-replay-damages-other-groups). So a difference in the past is none while the newest blocks agree.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.membership.facts import ConvergenceObserved, Sighting
from orchestrator.membership.model import Change, Effect, GroupView, Mark, MemberProgress, Plan, Verdict
from orchestrator.membership.repair import ADDING
from orchestrator.membership.replay_time import TimeLeft, estimate, reported

RATE_WINDOW = timedelta(minutes=1)
"""What a replay's rate is read from."""

MARK_EVERY = timedelta(seconds=10)

LEAST_PROOF_BLOCKS = 2
"""Blocks after an addition's at which it is compared at the least: a rolled-back member can be right in the addition's
block and wrong from the next on (docs/besu.md#how-replay-damages-other-groups)."""

SETTLED_BLOCKS = 2
"""Equal blocks behind one that differs after which the difference is one of the past: a node that really lost a group
hands the loss on from each block to the next."""

TROUBLES = frozenset({Verdict.DIVERGED, Verdict.MISSING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What an observation says.

    Attributes:
        rolled_back: The effect's block is no longer on the chain.
        proven: Every observed member is equal at every block of the proof, and the effect is deep enough.
        progress: The members, in the order of the sightings.
    """

    rolled_back: bool
    proven: bool
    progress: tuple[MemberProgress, ...]


def watched(change: Change) -> tuple[str, ...]:
    """Return the enclave keys whose nodes have to agree: the group's members at the effect, the change's own first.

    Members that came in by another change of the same batch are that change's to prove.
    """
    if change.effect is None:
        return change.members
    members = change.effect.view.participants
    before = change.plan.participants if change.plan is not None else ()
    own = tuple(key for key in change.members if key in members)
    shared = change.batch > 1
    return own + tuple(key for key in members if key not in own and (key in before or not shared))


def needs_further_blocks(change: Change) -> bool:
    """Return whether members are compared beyond the effect's block: only additions can be lost after it."""
    return change.kind in ADDING


def last_proof_block(effect: Effect, change: Change, observed: ConvergenceObserved) -> int:
    """Return the last block at which members are compared."""
    return proof_end(change, effect, observed.proof_blocks)


def proof_end(change: Change, effect: Effect, proof_blocks: int) -> int:
    """Return the last block of a change's proof.

    Args:
        change: The change.
        effect: Where it had its effect.
        proof_blocks: How many further blocks are configured.
    """
    return effect.block_number + (max(proof_blocks, LEAST_PROOF_BLOCKS) if needs_further_blocks(change) else 0)


def assess(change: Change, observed: ConvergenceObserved, now: datetime) -> Assessment:
    """Return what an observation of the members' nodes says about a change whose effect was seen.

    Args:
        change: The change; its `effect` is set.
        observed: The sightings; those of members that are not this change's to prove are passed over.
        now: The present time.
    """
    effect = change.effect
    if effect is None:
        raise ValueError("a change without an effect has nothing to be compared")
    if observed.effect_block_hash is not None and observed.effect_block_hash != effect.block_hash:
        return Assessment(rolled_back=True, proven=False, progress=change.progress)
    if observed.effect_block_hash is None and observed.head >= effect.block_number:
        return Assessment(rolled_back=True, proven=False, progress=change.progress)

    last = last_proof_block(effect, change, observed)
    concerned = frozenset(watched(change))
    sightings = tuple(s for s in observed.sightings if s.enclave_key in concerned)
    reference = _reference(change.plan, effect, sightings)
    before = {entry.enclave_key: entry for entry in change.progress}
    patience = timedelta(seconds=observed.stalled_after_seconds)
    kept = _kept(sightings, before)
    progress = tuple(
        kept.get(s.enclave_key) or progress_of(s, reference, before.get(s.enclave_key), now, patience)
        for s in sightings
    )
    seen = [entry for entry in progress if entry.verdict is not Verdict.UNOBSERVED]
    deep_enough = observed.head >= max(last, effect.block_number + observed.confirmations)
    proven = (
        deep_enough
        and concerned.isdisjoint(observed.awaited)
        and bool(seen)
        and all(e.verdict is Verdict.IN_SYNC and (e.in_sync_through or 0) >= last for e in seen)
    )
    return Assessment(rolled_back=False, proven=proven, progress=progress)


def _kept(sightings: tuple[Sighting, ...], before: dict[str, MemberProgress]) -> dict[str, MemberProgress]:
    """Return whose standing stays as it is: all that were compared, while they differ and one of them shows nothing.

    Who is silent now may be the one that was the reference, and wrong: compared without it the others would agree, and
    it would still count as equal to itself.
    """
    compared = {key: entry for key, entry in before.items() if entry.verdict in (Verdict.IN_SYNC, *TROUBLES)}
    silent = any(sighting.enclave_key in compared and not sighting.views for sighting in sightings)
    return compared if silent and in_trouble(tuple(before.values())) else {}


def _reference(plan: Plan | None, effect: Effect, sightings: tuple[Sighting, ...]) -> dict[int, GroupView]:
    views: dict[int, GroupView] = {}
    for sighting in sorted(sightings, key=lambda s: _distance(plan, s)):
        if sighting.views and sighting.attested_by is None:
            shown = Counter(view.block_number for other in sightings for view in other.views)
            alone = sum(other.node is not None or other.attested_by is not None for other in sightings) == 1
            # What only one of several members shows is compared with nobody's: it waits for a second one.
            views = {view.block_number: view for view in sighting.views if alone or shown[view.block_number] > 1}
            break
    # At the effect's block the view was read when the effect was found, on an old member's node that did not send where
    # there is one (`engine.attempts.settlement`).
    views[effect.block_number] = effect.view
    return views


def _distance(plan: Plan | None, sighting: Sighting) -> tuple[bool, bool]:
    """How far a member is from one who executed the history at first hand and had no part in the change."""
    if plan is None:
        return True, True
    return sighting.enclave_key not in plan.participants, sighting.node == plan.node


def in_trouble(progress: tuple[MemberProgress, ...]) -> bool:
    """Return whether some member was last seen to differ: then only the newest blocks tell whether it does."""
    return any(entry.verdict in TROUBLES for entry in progress)


def is_settled(entry: MemberProgress, last: int, now: datetime, patience: timedelta) -> bool:
    """Return whether a member that differs has been looked at in blocks that no replay has touched since.

    Args:
        entry: How far it is.
        last: The last block of the proof.
        now: The present time.
        patience: After how long without movement a node is taken to stand.
    """
    # What somebody else says of a member ends with the proof's last block: nothing newer of it will come.
    beyond = entry.attested_by is not None or entry.head is None or entry.head >= last + SETTLED_BLOCKS
    return entry.verdict in TROUBLES and (beyond or now - entry.moved_at >= patience)


def is_independent(change: Change) -> bool:
    """Return whether the effect was seen on an old member's node that did not send the change.

    Without one, a proof compares nodes that would agree with each other in a split group, too.
    """
    effect, plan = change.effect, change.plan
    return effect is not None and plan is not None and effect.witness not in ("", plan.node)


def progress_of(
    sighting: Sighting,
    reference: dict[int, GroupView],
    before: MemberProgress | None,
    now: datetime,
    patience: timedelta,
) -> MemberProgress:
    """Return how far a member is, from one more look at its node.

    Args:
        sighting: What was seen of it.
        reference: What it is compared with, by block.
        before: How far it was.
        now: The present time.
        patience: A replay that has not moved for this long is stalled.
    """
    verdict, through = _verdict(sighting, reference)
    if verdict is Verdict.REPLAYING and before is not None and before.verdict in TROUBLES:
        verdict, through = before.verdict, before.in_sync_through  # nothing new was read of it
    if verdict is Verdict.REPLAYING and before is not None and before.in_sync_through is not None:
        verdict = Verdict.IN_SYNC  # nothing new was read of it; what was seen equal stays so
    if before is not None and before.in_sync_through is not None and verdict not in TROUBLES:
        through = max(through or 0, before.in_sync_through)
    # A replay never goes back: what one poll could not see, an earlier one did.
    replayed = max(sighting.blocks_replayed, before.blocks_replayed if before else 0)
    total = max(sighting.blocks_total, before.blocks_total if before else 0)
    transactions = max(sighting.transactions_replayed, before.transactions_replayed if before else 0)
    transactions_total = max(sighting.transactions_total, before.transactions_total if before else 0)
    if verdict is Verdict.IN_SYNC:
        replayed, transactions = total, transactions_total
    moved_at = now
    if before is not None and _standing(before) == (verdict, replayed, sighting.head):
        moved_at = before.moved_at
    if before is not None and verdict is Verdict.REPLAYING:
        unchanged = before.blocks_replayed == replayed and before.head == sighting.head
        moved_at = before.moved_at if unchanged else now
        if unchanged and now - moved_at >= patience:
            verdict = Verdict.STALLED
    marks = _marked(
        before.marks if before is not None else (), Mark(at=now, blocks=replayed, transactions=transactions)
    )
    return MemberProgress(
        enclave_key=sighting.enclave_key,
        verdict=verdict,
        blocks_replayed=replayed,
        blocks_total=total,
        head=sighting.head,
        moved_at=moved_at,
        in_sync_through=through,
        marks=marks,
        attested_by=sighting.attested_by,
        transactions_replayed=transactions,
        transactions_total=transactions_total,
        left=_left(verdict, marks, (replayed, total), (transactions, transactions_total), moved_at, before),
    )


def _left(
    verdict: Verdict,
    marks: tuple[Mark, ...],
    blocks: tuple[int, int],
    transactions: tuple[int, int],
    moved_at: datetime,
    before: MemberProgress | None,
) -> TimeLeft | None:
    """Return what a replay will still take, by its transactions where they are known: blocks hold more or fewer."""
    if verdict is not Verdict.REPLAYING:
        return None  # one that stood and moves again is told anew
    first = marks[0]
    (done, total), began = (transactions, first.transactions) if transactions[1] else (blocks, first.blocks)
    new = estimate(before=began, done=done, total=total, taken=moved_at - first.at)
    return reported(new, before.left if before is not None else None)


def _marked(marks: tuple[Mark, ...], newest: Mark) -> tuple[Mark, ...]:
    """Remember where a replay is, some times a minute; of what is older than a minute one mark is kept."""
    if marks and (newest.blocks <= marks[-1].blocks or newest.at - marks[-1].at < MARK_EVERY):
        return marks
    kept = tuple(mark for mark in marks if newest.at - mark.at <= RATE_WINDOW) or marks[-1:]
    return (*kept, newest)


def _standing(entry: MemberProgress) -> tuple[Verdict, int, int | None]:
    return entry.verdict, entry.blocks_replayed, entry.head


def _verdict(sighting: Sighting, reference: dict[int, GroupView]) -> tuple[Verdict, int | None]:
    if sighting.node is None and sighting.attested_by is None:
        return Verdict.UNOBSERVED, None
    through: int | None = None
    trouble: tuple[Verdict, int | None] | None = None
    equal_since = SETTLED_BLOCKS
    for view in sorted(sighting.views, key=lambda v: v.block_number):
        expected = reference.get(view.block_number)
        if expected is None:
            continue
        if same_state(view, expected):
            through = view.block_number
            equal_since += 1
        else:
            lacks = not view.exists and expected.exists
            trouble = (Verdict.MISSING if lacks else Verdict.DIVERGED), (through if trouble is None else trouble[1])
            equal_since = 0
    if trouble is not None and equal_since < SETTLED_BLOCKS:
        return trouble
    if through is None:
        return Verdict.REPLAYING, None
    return Verdict.IN_SYNC, through


def same_state(one: GroupView, other: GroupView) -> bool:
    """Return whether two views of the same block show the same state.

    The state root stands for everything in the private state; participants, lock and version are compared as well
    where both were read, so that a difference can be told in the group's own words.
    """
    if one.state_root != other.state_root or one.exists != other.exists:
        return False
    if not one.version or not other.version:
        return True
    return (one.participants, one.locked, one.version) == (other.participants, other.locked, other.version)
