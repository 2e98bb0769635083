from dataclasses import replace
from datetime import timedelta

from orchestrator.engine.lanes.records import detail_of, is_lasting
from orchestrator.membership import facts
from orchestrator.membership.model import Mark, MemberProgress, State, Verdict
from orchestrator.membership.reasons.table import Reason
from tests.fakes.changes import a_change, an_attempt
from tests.fakes.clock import START
from tests.fakes.surveys import an_effect

ENTRY = MemberProgress(
    enclave_key="key", verdict=Verdict.REPLAYING, blocks_replayed=3, blocks_total=9, head=7, moved_at=START
)
CHANGE = a_change("1", state=State.REPLAYING, progress=(ENTRY,), revision=4)


def test_a_look_at_which_only_a_head_has_moved_is_not_committed() -> None:
    """Where a head is and when it was seen is not worth a commit."""
    later = START + timedelta(seconds=1)
    moved = replace(ENTRY, head=8, moved_at=later, marks=(Mark(at=later, blocks=3),))
    assert not is_lasting(CHANGE, replace(CHANGE, progress=(moved,), revision=5))


def test_what_a_restart_must_find_is_committed() -> None:
    """A replay that moved on, a verdict and a state have to survive."""
    for entry in (replace(ENTRY, blocks_replayed=4), replace(ENTRY, verdict=Verdict.IN_SYNC, in_sync_through=7)):
        assert is_lasting(CHANGE, replace(CHANGE, progress=(entry,), revision=5))
    assert is_lasting(CHANGE, replace(CHANGE, state=State.SUCCEEDED, revision=5))
    assert is_lasting(CHANGE, replace(CHANGE, failures=1, revision=5))


def test_the_history_tells_of_a_distribution_that_took_long() -> None:
    """Who waited for a locked group can see for what, and by which hash the marker can be looked for."""
    quick, slow = (facts.AttemptSigned(attempt=an_attempt("1"), seconds=seconds) for seconds in (0.2, 5.24))
    assert detail_of(quick, CHANGE) == "lock with private nonce 1 through a, PMT 0x1"
    assert "5.2 s" in detail_of(slow, CHANGE)


def test_the_history_tells_what_became_of_a_marker_and_no_secret() -> None:
    """Each fact about an attempt is a sentence; the bytes and the key of its marker are in none of them."""
    attempt = an_attempt("1")
    told = {
        detail_of(fact, replace(CHANGE, attempt=attempt))
        for fact in (
            facts.AttemptSigned(attempt=attempt),
            facts.AttemptSent(head=7, nodes=("a", "b")),
            facts.SendFailed(reason=Reason(slug="node_unreachable"), certain=False, head=7),
            facts.AttemptUnmined(head=9),
            facts.AttemptSettled(effect=an_effect(12)),
            facts.AttemptBurnt(head=14),
            facts.GroupMoved(reason=Reason(slug="group_moved", detail="at block 9 the group is not locked")),
        )
    }
    assert len(told) == 7
    assert all(told)
    for secret in (attempt.raw, attempt.marker.raw, attempt.marker.key):
        assert not [text for text in told if secret.hex() in text or secret.decode() in text]
