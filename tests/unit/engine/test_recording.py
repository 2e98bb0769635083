from dataclasses import replace
from datetime import timedelta

from orchestrator.engine.recording import detail_of, is_lasting
from orchestrator.membership import facts
from orchestrator.membership.model import Mark, MemberProgress, State, Verdict
from tests.fakes.changes import a_change
from tests.fakes.clock import START

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


def test_the_history_tells_of_a_send_that_took_long() -> None:
    """Who waited for a locked group can see for what."""
    quick, slow = (facts.AttemptSent(pmt_hash="0x1", head=7, seconds=seconds) for seconds in (0.2, 5.24))
    assert detail_of(quick, CHANGE) == "PMT 0x1 at head 7"
    assert detail_of(slow, CHANGE) == "PMT 0x1 at head 7, answered after 5.2 s"
