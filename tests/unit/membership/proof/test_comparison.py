from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.membership.facts import Sighting
from orchestrator.membership.model import Change, Kind, MemberProgress, State, Verdict
from orchestrator.membership.proof.comparison import Assessment, assess, last_proof_block, same_state, watched
from tests.fakes.changes import a_change
from tests.fakes.clock import START
from tests.fakes.surveys import NEW, OLD, SECOND, a_plan, a_view, an_effect, no_view, observed, seen

EFFECT = an_effect(12)
CHANGE = a_change("a", state=State.REPLAYING, members=(NEW,), plan=a_plan(), effect=EFFECT)
MINUTE = timedelta(seconds=60)


def verdicts(assessment: Assessment) -> dict[str, Verdict]:
    return {entry.enclave_key: entry.verdict for entry in assessment.progress}


def looked(change: Change, *sightings: Sighting, head: int = 14, **fields: object) -> Assessment:
    return assess(change, observed(*sightings, effect=EFFECT, head=head, **fields), START)


def test_an_addition_is_proven_at_its_block_and_at_those_after_it() -> None:
    """A new member may be equal at the add's block and lose the group one block later."""
    all_three = [seen(key, 12, 13, 14, effect=EFFECT) for key in (OLD, SECOND, NEW)]
    assert looked(CHANGE, *all_three).proven
    early = [seen(key, 12, 13, effect=EFFECT) for key in (OLD, SECOND, NEW)]
    found = looked(CHANGE, *early, head=13)
    assert not found.proven
    assert set(verdicts(found).values()) == {Verdict.IN_SYNC}


def test_one_member_that_is_not_far_enough_holds_up_the_proof() -> None:
    """Every observed member has to be equal through the last block of the proof."""
    sightings = [seen(OLD, 12, 13, 14, effect=EFFECT), seen(NEW, 12, effect=EFFECT)]
    assert not looked(CHANGE, *sightings).proven


@pytest.mark.parametrize("kind", [Kind.CREATE_GROUP, Kind.REMOVE_MEMBERS, Kind.UNLOCK_GROUP])
def test_only_additions_need_further_blocks(kind: Kind) -> None:
    """What is no addition can't be lost after its block."""
    change = replace(CHANGE, kind=kind)
    fact = observed(effect=EFFECT, head=12)
    assert last_proof_block(EFFECT, change, fact) == 12
    assert last_proof_block(EFFECT, CHANGE, fact) == 14
    assert looked(change, seen(OLD, 12, effect=EFFECT), head=12).proven


def test_an_effect_that_is_not_deep_enough_is_not_proven() -> None:
    """On a chain that can reorganise, success waits for its depth."""
    change = replace(CHANGE, kind=Kind.REMOVE_MEMBERS)
    sighting = seen(OLD, 12, effect=EFFECT)
    assert not looked(change, sighting, head=13, confirmations=2).proven
    assert looked(change, sighting, head=14, confirmations=2).proven


@pytest.mark.parametrize(("now_there", "head", "gone"), [("other", 14, True), (None, 12, True), (None, 11, False)])
def test_a_block_that_is_gone_is_noticed(now_there: str | None, head: int, gone: bool) -> None:
    """Another block at the effect's height, or none although the head is beyond; a node that lags tells nothing."""
    assert looked(CHANGE, head=head, effect_block_hash=now_there).rolled_back is gone


def test_nothing_is_proven_by_nobody() -> None:
    """A proof needs at least one member's node that was looked at."""
    unseen = Sighting(enclave_key=NEW, node=None, head=None)
    found = looked(CHANGE, unseen)
    assert not found.proven
    assert verdicts(found) == {NEW: Verdict.UNOBSERVED}


def test_an_unobserved_member_is_named_and_not_counted() -> None:
    """The others prove the change; who could not be looked at stays unobserved."""
    found = looked(CHANGE, seen(OLD, 12, 13, 14, effect=EFFECT), Sighting(enclave_key=NEW, node=None, head=None))
    assert found.proven
    assert verdicts(found) == {OLD: Verdict.IN_SYNC, NEW: Verdict.UNOBSERVED}


def test_a_node_without_the_group_is_missing() -> None:
    """A node whose head is beyond the addition and that has no state for the group lost it."""
    lost = Sighting(enclave_key=NEW, node="n", head=14, views=(no_view(12), no_view(13)))
    found = looked(CHANGE, seen(OLD, 12, 13, 14, effect=EFFECT), lost)
    assert verdicts(found)[NEW] is Verdict.MISSING
    assert not found.proven


def test_a_node_with_another_root_has_diverged() -> None:
    """An equal root at the addition's block and another at the next one is how a new member loses an addition."""
    odd = replace(a_view(13), state_root="another")
    views = (*seen(NEW, 12, effect=EFFECT).views, odd)
    found = looked(
        CHANGE, seen(OLD, 12, 13, 14, effect=EFFECT), Sighting(enclave_key=NEW, node="n", head=13, views=views)
    )
    assert verdicts(found)[NEW] is Verdict.DIVERGED
    assert found.progress[1].in_sync_through == 12


def test_old_members_are_the_reference() -> None:
    """When a new member and an old one differ, the new one is the odd one, whoever is seen first."""
    odd = replace(seen(NEW, 12, effect=EFFECT), views=(EFFECT.view, replace(a_view(13), state_root="another")))
    found = looked(CHANGE, odd, seen(OLD, 12, 13, effect=EFFECT))
    assert verdicts(found) == {NEW: Verdict.DIVERGED, OLD: Verdict.IN_SYNC}


def test_the_sending_nodes_reading_decides_at_the_effects_block() -> None:
    """An old member that shows something else there has diverged, even if it is looked at first."""
    odd = Sighting(enclave_key=OLD, node="n", head=12, views=(replace(EFFECT.view, state_root="another"),))
    assert verdicts(looked(CHANGE, odd, head=12)) == {OLD: Verdict.DIVERGED}


def test_a_replay_that_does_not_move_is_stalled() -> None:
    """Neither its head nor its replay moved for a minute; when it moves again, it replays again."""
    busy = seen(NEW, effect=EFFECT, blocks_replayed=3, blocks_total=10)
    first = assess(CHANGE, observed(busy, effect=EFFECT, head=12), START)
    assert verdicts(first) == {NEW: Verdict.REPLAYING}
    change = replace(CHANGE, progress=first.progress)
    later = assess(change, observed(busy, effect=EFFECT, head=13), START + MINUTE)
    assert verdicts(later) == {NEW: Verdict.STALLED}
    change = replace(CHANGE, progress=later.progress)
    still = assess(change, observed(busy, effect=EFFECT, head=13), START + 2 * MINUTE)
    assert verdicts(still) == {NEW: Verdict.STALLED}
    assert still.progress[0].moved_at == START
    moved = observed(replace(busy, blocks_replayed=4), effect=EFFECT, head=14)
    assert verdicts(assess(change, moved, START + 3 * MINUTE)) == {NEW: Verdict.REPLAYING}


def test_progress_never_goes_back_and_ends_at_all_of_it() -> None:
    """What one poll could not see, an earlier one did; in sync is 100 %."""
    change = CHANGE
    shares = []
    for sighting in (
        seen(NEW, effect=EFFECT, blocks_replayed=3, blocks_total=10),
        seen(NEW, effect=EFFECT, head=None),
        seen(NEW, effect=EFFECT, blocks_replayed=2, blocks_total=10),
        seen(NEW, effect=EFFECT, blocks_replayed=9, blocks_total=10),
        seen(NEW, 12, effect=EFFECT),
    ):
        (entry,) = looked(change, sighting).progress
        shares.append((entry.blocks_replayed, entry.blocks_total))
        change = replace(change, progress=(entry,))
    assert shares == [(3, 10), (3, 10), (3, 10), (9, 10), (10, 10)]


def test_what_was_seen_equal_need_not_be_read_again() -> None:
    """Blocks that were compared are not compared again: the newer ones are enough."""
    change = replace(CHANGE, progress=looked(CHANGE, seen(NEW, 12, 13, effect=EFFECT)).progress)
    assert looked(change, seen(NEW, 14, effect=EFFECT)).progress[0].in_sync_through == 14
    unread = looked(change, seen(NEW, effect=EFFECT, head=None)).progress[0]
    assert (unread.verdict, unread.in_sync_through) == (Verdict.IN_SYNC, 13)


def test_members_of_the_group_are_watched_the_changes_own_first() -> None:
    """Before there is an effect only those that were named are known."""
    assert watched(CHANGE) == (NEW, OLD, SECOND)
    assert watched(replace(CHANGE, effect=None)) == (NEW,)


def test_a_removed_member_is_not_watched() -> None:
    """It keeps what it had and has no part in the proof, though we may have its node."""
    change = replace(CHANGE, kind=Kind.REMOVE_MEMBERS, members=(SECOND,), effect=an_effect(12, (OLD,)))
    assert watched(change) == (OLD,)
    stale = Sighting(enclave_key=SECOND, node="n", head=14, views=(a_view(12, (OLD, SECOND), state_root="old"),))
    found = looked(change, seen(OLD, 12, effect=EFFECT), stale, head=12)
    assert [entry.enclave_key for entry in found.progress] == [OLD]


def test_in_a_shared_turn_each_change_proves_its_own_members() -> None:
    """One new member that is lost does not hold up the others of its turn; alone, everybody new is watched."""
    shared = replace(CHANGE, batch=2, effect=an_effect(12, (OLD, SECOND, NEW, "other")))
    assert watched(shared) == (NEW, OLD, SECOND)
    assert watched(replace(shared, batch=1)) == (NEW, OLD, SECOND, "other")


def test_a_change_without_an_effect_can_not_be_assessed() -> None:
    """There is nothing to compare."""
    with pytest.raises(ValueError, match="nothing to be compared"):
        looked(replace(CHANGE, effect=None))


def test_states_are_compared_by_root_and_by_what_was_read_of_both() -> None:
    """A root that was read alone is compared alone; where all was read, all has to be equal."""
    full, root_only = a_view(12), replace(a_view(12), version="", participants=())
    assert same_state(full, root_only)
    assert not same_state(full, replace(root_only, state_root="another"))
    assert not same_state(full, replace(full, locked=True))
    assert not same_state(full, no_view(12))


def test_progress_is_remembered_by_member() -> None:
    """Entries that are not sighted again fall away, so that progress is of the members watched now."""
    gone = MemberProgress(
        enclave_key="gone", verdict=Verdict.IN_SYNC, blocks_replayed=1, blocks_total=1, head=12, moved_at=START
    )
    found = looked(replace(CHANGE, progress=(gone,)), seen(OLD, 12, effect=EFFECT))
    assert [entry.enclave_key for entry in found.progress] == [OLD]


def attested(sighting: Sighting) -> Sighting:
    return replace(sighting, node=None, attested_by="0xpeer")


def test_a_signed_word_counts_as_seen_and_is_named() -> None:
    """A member that is in sync by its own operator's word is proven with the others, and its progress says so."""
    mine = [seen(key, 12, 13, 14, effect=EFFECT) for key in (OLD, SECOND)]
    found = looked(CHANGE, *mine, attested(seen(NEW, 12, 13, 14, effect=EFFECT)))
    assert found.proven
    assert {entry.enclave_key: entry.attested_by for entry in found.progress} == {
        OLD: None,
        SECOND: None,
        NEW: "0xpeer",
    }
    assert not looked(CHANGE, *mine, attested(seen(NEW, 12, effect=EFFECT))).proven


def test_a_signed_word_of_trouble_is_believed() -> None:
    """A member whose own operator says that it has another state, or none, is not in sync."""
    mine = seen(OLD, 12, 13, 14, effect=EFFECT)
    said = attested(seen(NEW, 12, 13, 14, effect=EFFECT))
    other = replace(said, views=tuple(replace(view, state_root="other") for view in said.views))
    assert verdicts(looked(CHANGE, mine, other))[NEW] is Verdict.DIVERGED
    gone = replace(said, views=tuple(replace(view, exists=False, state_root="") for view in said.views))
    assert verdicts(looked(CHANGE, mine, gone))[NEW] is Verdict.MISSING


def test_nobody_is_compared_with_a_signed_word() -> None:
    """What others say of an old member is never the reference that nodes are judged by."""
    said = attested(seen(OLD, 12, 13, 14, effect=EFFECT))
    other = replace(said, views=tuple(replace(view, state_root="other") for view in said.views))
    found = looked(CHANGE, other, *(seen(key, 12, 13, 14, effect=EFFECT) for key in (SECOND, NEW)))
    assert verdicts(found) == {OLD: Verdict.DIVERGED, SECOND: Verdict.IN_SYNC, NEW: Verdict.IN_SYNC}


def test_a_word_that_is_waited_for_holds_up_the_proof() -> None:
    """An unobserved member does not count, except while its own operator's word is still waited for."""
    mine = [seen(key, 12, 13, 14, effect=EFFECT) for key in (OLD, SECOND)]
    unseen = Sighting(enclave_key=NEW, node=None, head=None)
    assert looked(CHANGE, *mine, unseen).proven
    waiting = looked(CHANGE, *mine, unseen, awaited=(NEW,))
    assert not waiting.proven
    assert verdicts(waiting)[NEW] is Verdict.UNOBSERVED


def rewritten(sighting: Sighting, *blocks: int) -> Sighting:
    """The sighting of a node where a replay of another group rewrote the past at some blocks."""
    earlier = "0x" + "11" * 32
    views = (replace(v, state_root=earlier) if v.block_number in blocks else v for v in sighting.views)
    return replace(sighting, views=tuple(views), head=max(v.block_number for v in sighting.views))


@pytest.mark.parametrize(
    ("newest", "verdict"),
    [(13, Verdict.DIVERGED), (14, Verdict.DIVERGED), (15, Verdict.IN_SYNC), (20, Verdict.IN_SYNC)],
)
def test_the_newest_blocks_decide_and_not_the_past(newest: int, verdict: Verdict) -> None:
    """A later replay of another group rewrites what a node shows of a block behind the addition's, and no more.

    That node has the group: its newest blocks say so, and a repair would remove a healthy member.
    """
    blocks = range(12, newest + 1)
    old = [seen(key, *blocks, effect=EFFECT) for key in (OLD, SECOND)]
    found = looked(CHANGE, *old, rewritten(seen(NEW, *blocks, effect=EFFECT), 13), head=newest)
    assert verdicts(found)[NEW] is verdict
    assert found.proven is (verdict is Verdict.IN_SYNC)


def test_who_lost_the_group_differs_in_the_newest_blocks() -> None:
    """A loss is handed on from block to block, also where the past looks right in between."""
    blocks = range(12, 20)
    old = [seen(key, *blocks, effect=EFFECT) for key in (OLD, SECOND)]
    found = looked(CHANGE, *old, rewritten(seen(NEW, *blocks, effect=EFFECT), 13, 16, 17, 18, 19), head=19)
    assert verdicts(found)[NEW] is Verdict.DIVERGED


def test_a_reference_that_is_wrong_does_not_count_as_equal_when_it_is_silent() -> None:
    """The others differ from it, and agree with each other as soon as it shows nothing: that proves nothing of it."""
    blocks = range(12, 17)
    others = [seen(key, *blocks, effect=EFFECT) for key in (SECOND, NEW)]
    wrong = rewritten(seen(OLD, *blocks, effect=EFFECT), 13, 14, 15, 16)
    found = looked(CHANGE, wrong, *others, head=16)
    assert verdicts(found)[OLD] is Verdict.IN_SYNC, "it is the reference"
    assert verdicts(found)[SECOND] is Verdict.DIVERGED
    silent = Sighting(enclave_key=OLD, node="node1", head=None)
    later = [seen(key, *range(12, 20), effect=EFFECT) for key in (SECOND, NEW)]
    again = looked(replace(CHANGE, progress=found.progress), silent, *later, head=19)
    assert not again.proven
    assert again.progress == found.progress


def test_one_member_alone_is_compared_with_nobody() -> None:
    """What one of several members shows at a block counts when a second one shows the same."""
    quiet = [Sighting(enclave_key=key, node=key, head=None) for key in (SECOND, NEW)]
    found = looked(CHANGE, seen(OLD, 12, 13, 14, effect=EFFECT), *quiet)
    assert next(e.in_sync_through for e in found.progress if e.enclave_key == OLD) == 12


def test_a_member_that_differed_and_does_not_answer_still_differs() -> None:
    """Not knowing takes nothing back."""
    blocks = (12, 13, 14)
    old = [seen(key, *blocks, effect=EFFECT) for key in (OLD, SECOND)]
    differs = looked(CHANGE, *old, rewritten(seen(NEW, *blocks, effect=EFFECT), 14))
    silent = Sighting(enclave_key=NEW, node="node3", head=None)
    found = looked(replace(CHANGE, progress=differs.progress), *old, silent)
    assert verdicts(found)[NEW] is Verdict.DIVERGED
    assert not found.proven
