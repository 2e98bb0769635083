"""Verifying the audit log in parts: what was archived is bound to what stays."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.access.audit import FIRST_HASH, Action, AuditEntry, ChainedEntry, chained, entry_by
from orchestrator.access.audit_chain import ChainCheck, archived_entry, archived_through
from orchestrator.access.callers import Door, anyone

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def an_entry(number: int) -> AuditEntry:
    return entry_by(anyone(Door.HTTP), Action.ASK, number, about=str(number))


def a_log(entries: int, cuts: dict[int, int]) -> list[ChainedEntry]:
    """A log; behind some of its numbers an entry says that all through another one was archived."""
    found: list[ChainedEntry] = []
    while len(found) < entries:
        number, newest = (found[-1].number, found[-1].entry_hash) if found else (0, FIRST_HASH)
        through = cuts.get(number)
        entry = an_entry(number)
        if through is not None:
            entry = archived_entry(through, found[through - 1].entry_hash, NOW)
        found += chained([entry], number, newest)
    return found


def trouble(entries: list[ChainedEntry]) -> str | None:
    check = ChainCheck()
    for entry in entries:
        said = check.take(entry)
        if said is not None:
            return said
    return check.end()


def test_what_is_left_is_bound_to_what_went() -> None:
    """Any rest that begins at or before the cut is whole; one behind it is not."""
    log = a_log(20, {9: 5, 15: 12})
    for first in range(1, 14):
        assert trouble(log[first - 1 :]) is None, first
    assert "no entry of it says" in str(trouble(log[13:]))
    assert archived_through(log[9].entry) == (5, log[4].entry_hash)
    assert archived_through(log[8].entry) is None


def test_a_rest_without_a_cut_is_not_believed() -> None:
    """Who deletes the beginning and writes no archive is found out, also when the entry names something else."""
    log = a_log(8, {})
    assert "begins with entry 3" in str(trouble(log[2:]))
    forged = chained([archived_entry(2, "0" * 64, NOW)], 8, log[-1].entry_hash)
    assert "another hash" in str(trouble([*log[2:], *forged]))


@given(st.integers(1, 11), st.integers(0, 5))
def test_entries_may_come_twice(cut: int, again: int) -> None:
    """A batch that was archived again after a crash is the same; one that is not is told."""
    log = a_log(12, {})
    start = max(cut - again, 0)
    assert trouble([*log[:cut], *log[start:]]) is None
    if start < cut:
        other = replace(log[start], entry=replace(log[start].entry, reason="changed"))
        assert "twice" in str(trouble([*log[:cut], other, *log[start + 1 :]]))


@given(st.integers(2, 19), st.integers(1, 19))
def test_the_whole_is_as_strong_as_without_archives(place: int, first: int) -> None:
    """An entry that was changed in an archive or in the rest breaks the chain, and one that is missing does."""
    log = a_log(20, {9: 5, 15: 12})
    changed = replace(log[place - 1], entry=replace(log[place - 1].entry, caller="x"))
    assert trouble([*log[: place - 1], changed, *log[place:]]) is not None
    assert trouble([*log[: place - 1], *log[place:]]) is not None
    check = ChainCheck()
    for entry in log[first - 1 :]:
        assert check.take(entry) is None
    assert check.hash_of(first - 1) == (log[first - 2].entry_hash if first > 1 else FIRST_HASH)
    assert check.hash_of(place) == (log[place - 1].entry_hash if place >= first - 1 else None)
