"""The chain of the audit log: nothing of it can be changed without showing."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.access.audit import (
    FIRST_HASH,
    Action,
    AuditEntry,
    ChainedEntry,
    Outcome,
    chained,
    first_break,
)
from orchestrator.access.callers import Door

texts = st.text(max_size=8)
entries = st.builds(
    AuditEntry,
    at=st.integers(0, 2**53),
    caller=texts,
    door=st.sampled_from(Door),
    action=st.sampled_from(Action),
    outcome=st.sampled_from(Outcome),
    about=texts,
    privacy_group_id=texts,
    change_id=texts,
    request_id=texts,
    source=texts,
    reason=texts,
)
chains = st.lists(entries, min_size=1, max_size=6).map(lambda found: chained(found, 0, FIRST_HASH))


@given(st.lists(entries, max_size=6), st.integers(0, 6))
def test_what_was_written_is_unbroken(found: list[AuditEntry], cut: int) -> None:
    """In one piece, and in two that were appended one after the other."""
    whole = chained(found, 0, FIRST_HASH)
    first = chained(found[:cut], 0, FIRST_HASH)
    number, newest = (first[-1].number, first[-1].entry_hash) if first else (0, FIRST_HASH)
    second = chained(found[cut:], number, newest)
    assert first + second == whole
    assert first_break(whole) is None
    assert first_break(second, number, newest) is None


@given(chains, st.data())
def test_any_change_of_an_entry_shows(chain: list[ChainedEntry], data: st.DataObject) -> None:
    """Whichever entry and whatever of it, with its hash made anew or left."""
    place = data.draw(st.integers(0, len(chain) - 1))
    other = data.draw(entries.filter(lambda entry: entry != chain[place].entry))
    left = [*chain[:place], replace(chain[place], entry=other), *chain[place + 1 :]]
    assert first_break(left) is not None
    (anew,) = chained([other], place, chain[place].previous_hash)
    made_anew = [*chain[:place], anew, *chain[place + 1 :]]
    assert first_break(made_anew) is not None or place == len(chain) - 1


@given(chains, st.data())
def test_removing_inserting_and_moving_show(chain: list[ChainedEntry], data: st.DataObject) -> None:
    """Anywhere but at the end, where only a hash that was noted tells."""
    place = data.draw(st.integers(0, len(chain) - 1))
    assert place == len(chain) - 1 or first_break([*chain[:place], *chain[place + 1 :]]) is not None
    assert first_break([*chain[:place], chain[place], *chain[place:]]) is not None
    if place:
        assert first_break([*chain[: place - 1], chain[place], chain[place - 1], *chain[place + 1 :]]) is not None


@given(texts, texts)
def test_texts_do_not_run_into_each_other(one: str, other: str) -> None:
    """What moves from one field into the next makes another hash."""
    entry = AuditEntry(at=0, caller=one, door=Door.HTTP, action=Action.ASK, outcome=Outcome.ACCEPTED, about=other)
    moved = replace(entry, caller=one + other, about="")
    (first,), (second,) = chained([entry], 0, FIRST_HASH), chained([moved], 0, FIRST_HASH)
    assert (first.entry_hash == second.entry_hash) is (entry == moved)
