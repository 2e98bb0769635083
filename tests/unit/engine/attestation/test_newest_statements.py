"""Tests of what is remembered of peers' words."""

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.engine.attestation import newest_statements
from orchestrator.engine.attestation.newest_statements import NewestWords

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def test_the_newest_word_is_kept() -> None:
    """A word as old as the known one, or older, changes nothing; a newer one takes its place."""
    words: NewestWords[str] = NewestWords()
    assert words.get("group", "member") is None
    assert words.keep("group", "member", "first", NOON)
    assert not words.keep("group", "member", "again", NOON)
    assert not words.keep("group", "member", "older", NOON - timedelta(seconds=1))
    assert words.get("group", "member") == "first"
    assert words.keep("group", "member", "newer", NOON + timedelta(seconds=1))
    assert words.get("group", "member") == "newer"


def test_what_came_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more words than are remembered the one that was not renewed goes."""
    monkeypatch.setattr(newest_statements, "MOST_REMEMBERED", 2)
    words: NewestWords[str] = NewestWords()
    for number, member in enumerate(("a", "b", "a", "c")):
        words.keep("group", member, member, NOON + timedelta(seconds=number))
    assert [words.get("group", member) for member in "abc"] == ["a", None, "c"]
