"""Decisions of a guard are there after a restart, whatever happened to the file."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.membership.guard.judgement import Decision, Outcome
from orchestrator.store.guard import decisions
from orchestrator.store.guard.decisions import Decided, DecisionFile

AT = datetime(2024, 11, 5, tzinfo=UTC)


def decided(key: str, slug: str = "not_agreed_to") -> Decided:
    decision = Decision(outcome=Outcome.REFUSED, slug=slug, detail="why", lasting=True)
    return Decided(key=key, decision=decision, head=7, at=AT, privacy_group_id="G", owner="0xo", sent_by="S")


def test_the_newest_decision_is_read_back(tmp_path: Path) -> None:
    """Each with all that was kept; half a line and lines of something else are passed over."""
    path = tmp_path / "decisions.jsonl"
    file = DecisionFile(path)
    for one in (decided("A"), decided("B"), decided("A", "replay_failed")):
        file.keep(one)
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"[1]\n" + path.read_bytes() + b'{"history_key": "C", "outco')
    again = DecisionFile(path)
    assert again.all() == [decided("B"), decided("A", "replay_failed")]
    assert again.newest("A") == decided("A", "replay_failed")
    assert again.newest("C") is None


def test_a_file_that_has_grown_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the newest decisions, a bounded number."""
    monkeypatch.setattr(decisions, "MOST_KEPT", 3)
    path = tmp_path / "decisions.jsonl"
    file = DecisionFile(path)
    for number in range(20):
        file.keep(decided(str(number)))
    assert [one.key for one in DecisionFile(path).all()] == ["17", "18", "19"]
    assert len(path.read_bytes().splitlines()) == 3


def test_a_file_that_can_not_be_written_keeps_nobody_from_deciding(tmp_path: Path) -> None:
    """The decision holds as long as the guard runs."""
    file = DecisionFile(tmp_path / "no folder" / "decisions.jsonl")
    file.keep(decided("A"))
    assert file.newest("A") == decided("A")
    assert DecisionFile(tmp_path).all() == []
