"""Signing statements, and telling whose signature one is."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.besu.client.signers import signer_from_key
from orchestrator.besu.codec.statements import SIGNATURE_BYTES, signer_of
from tests.fakes.signatures import signed_statement

# A well-known public development key, of the account 0xfe3b….
KEY = bytes.fromhex("8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63")
SIGNER = signer_from_key(KEY)


@given(st.binary(max_size=300))
def test_a_signature_tells_its_account(text: bytes) -> None:
    """Whatever the statement, its signature tells the account that signed it."""
    assert signer_of(text, signed_statement(text, SIGNER)) == SIGNER.address


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_a_signature_is_of_one_statement_only(text: bytes, other: bytes) -> None:
    """A signature does not tell its account for another statement."""
    signature = signed_statement(text, SIGNER)
    assert (signer_of(other, signature) == SIGNER.address) == (other == text)


@given(st.one_of(st.binary(max_size=70), st.binary(min_size=SIGNATURE_BYTES, max_size=SIGNATURE_BYTES)))
def test_no_bytes_break_the_reading(signature: bytes) -> None:
    """Any bytes in a signature's place give another account or none."""
    assert signer_of(b"text", signature) != SIGNER.address


def test_signatures_are_those_of_wallets() -> None:
    """An ordinary wallet signs the same message with the same bytes."""
    limit = sys.getrecursionlimit()
    try:
        from eth_account import Account  # noqa: PLC0415 - it raises the limit, which has to be set back
        from eth_account.messages import encode_defunct  # noqa: PLC0415 - it raises the recursion limit
    finally:
        sys.setrecursionlimit(limit)
    theirs = Account.sign_message(encode_defunct(b"some text"), KEY).signature
    assert signed_statement(b"some text", SIGNER) == bytes(theirs)
