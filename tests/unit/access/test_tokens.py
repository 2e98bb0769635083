"""Tokens: what is one, and when it counts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.access.callers import EVERYTHING, Door, Role
from orchestrator.access.tokens import (
    ID_BYTES,
    LONGEST_TOKEN,
    SECRET_BYTES,
    TokenRecord,
    caller_of,
    hash_of,
    split_token,
    token_text,
)
from orchestrator.outside_text import presentable

NOW = datetime(2024, 11, 5, tzinfo=UTC)
RECORD = TokenRecord(
    token_id="00" * 8,
    name="org1",
    role=Role.OPERATOR,
    scope=EVERYTHING,
    secret_hash=hash_of("A" * 43),
    created_at=NOW,
    created_by="token:admin",
    expires_at=NOW + timedelta(days=1),
)


@given(st.binary(min_size=ID_BYTES, max_size=ID_BYTES), st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES))
def test_a_token_is_taken_apart_as_it_was_made(token_id: bytes, secret: bytes) -> None:
    """Id and secret come out again, and no log or message shows the token."""
    token = token_text(token_id, secret)
    parts = split_token(token)
    assert parts is not None
    assert parts[0] == token_id.hex()
    assert len(token) <= LONGEST_TOKEN
    assert parts[1] not in presentable(f"somebody wrote {token} into a text")


@given(st.text())
def test_no_other_text_is_a_token(text: str) -> None:
    """Nothing that was not made as a token is taken apart, whatever its length or its letters."""
    assert split_token(text) is None
    assert split_token(token_text(bytes(8), bytes(32)) + text) is None or not text


def test_the_right_secret_counts_until_the_token_ends() -> None:
    """Before its end it says who it is, at its end and after its revocation it says nothing."""
    found = caller_of(RECORD, "A" * 43, NOW, Door.HTTP)
    assert found is not None
    assert (found.name, found.role, found.expires_at) == ("token:org1", Role.OPERATOR, RECORD.expires_at)
    assert caller_of(RECORD, "A" * 43, RECORD.expires_at, Door.HTTP) is None
    assert caller_of(replace(RECORD, revoked_at=NOW), "A" * 43, NOW, Door.HTTP) is None


@pytest.mark.parametrize("secret", ["", "B" * 43, "A" * 42, "a" * 43, hash_of("A" * 43)])
def test_another_secret_counts_for_nothing(secret: str) -> None:
    """A secret that differs anywhere, and the hash itself, prove nothing; neither does one of an unknown token."""
    assert caller_of(RECORD, secret, NOW, Door.HTTP) is None
    assert caller_of(None, secret, NOW, Door.HTTP) is None
