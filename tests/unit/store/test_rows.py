"""Rows keep everything of a value."""

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.ports.records import HistoryEntry
from orchestrator.membership.attempt import Attempt
from orchestrator.membership.model import Change, Effect, GroupView, Kind, MemberProgress, Plan
from orchestrator.membership.reasons.table import Reason
from orchestrator.store import rows
from orchestrator.store.schema import attempts, changes, history

st.register_type_strategy(datetime, st.datetimes(timezones=st.just(UTC)))
# Durations are measured: JSON keeps each, but no NaN equals itself.
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))


def every_field(cls: type[Any]) -> st.SearchStrategy[Any]:
    """Values of a dataclass in which the fields that have a default are drawn, too."""
    hints = get_type_hints(cls)
    return st.builds(cls, **{field.name: st.from_type(hints[field.name]) for field in dataclasses.fields(cls)})


for dataclass_type in (Reason, GroupView, Effect, Plan, MemberProgress, Attempt, Change, HistoryEntry):
    st.register_type_strategy(dataclass_type, every_field(dataclass_type))


@given(st.from_type(Change))
def test_a_change_comes_back_as_it_was(change: Change) -> None:
    """Every field of a change, drawn at random, survives the way into a row and back."""
    values = rows.change_values(change)
    assert rows.change_of(values, change.attempt) == change
    assert set(values) | {"position", "body_hash", "request_key", "source"} == {column.name for column in changes.c}


@given(st.from_type(Attempt))
def test_an_attempt_comes_back_as_it_was(attempt: Attempt) -> None:
    """Every field of an attempt survives, its signed bytes to the letter."""
    values = rows.attempt_values("change", attempt)
    assert rows.attempt_of(values) == attempt
    assert set(values) | {"position"} == {column.name for column in attempts.c}


@given(st.from_type(HistoryEntry))
def test_a_step_comes_back_as_it_was(entry: HistoryEntry) -> None:
    """Every field of a step survives, but for characters of its detail that no database holds."""
    values = rows.history_values(entry)
    assert rows.history_of(values) == dataclasses.replace(entry, detail=rows.storable(entry.detail))
    assert set(values) == {column.name for column in history.c}


@given(st.text(st.characters(codec=None)))
def test_what_is_storable_can_be_encoded(text: str) -> None:
    """Any text becomes one without NUL and without halves of surrogate pairs; ordinary text stays as it is."""
    stored = rows.storable(text)
    assert "\x00" not in stored
    assert stored.encode().decode() == stored
    assert rows.storable("déjà vu") == "déjà vu"


def test_rows_from_before_a_field_was_added_are_read() -> None:
    """A JSON value that lacks a field with a default is read with that default."""
    plan = Plan(
        node="a",
        abi="bytes",
        to_add=("k",),
        to_remove=(),
        participants=("p",),
        version="0x1",
        unlock_by_empty_add=False,
        first_block=1,
        lock_nonce=7,
    )
    change = Change(
        change_id="c",
        request_id="r",
        kind=Kind.ADD_MEMBERS,
        privacy_group_id="g",
        members=("k",),
        account="0x",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        plan=plan,
    )
    values = rows.change_values(change)
    old = json.loads(values["plan"])
    del old["lock_nonce"]
    read = rows.change_of(values | {"plan": json.dumps(old)}, None)
    assert read.plan == dataclasses.replace(plan, lock_nonce=None)


def test_only_what_belongs_into_a_row_becomes_json() -> None:
    """A value that rows do not know is a mistake, not a text."""
    with pytest.raises(TypeError, match="a object is no part of a row"):
        rows.to_json(object())
