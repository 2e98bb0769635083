"""Histories as they travel to new members: written and read."""

import pytest

from orchestrator.besu.codec.bundles import InvalidBundleError, decode_bundle, encode_bundle, is_bundle
from tests.fakes.bundled_transactions import bundled


def test_a_bundle_is_read_as_it_was_written() -> None:
    """Encoding and decoding are each other's inverse, and both tell it from a private transaction."""
    items = (bundled(0), bundled(1, b"\x01" * 70))
    written = encode_bundle(items)
    assert decode_bundle(written, 2) == items
    assert is_bundle(encode_bundle(items)[:32])
    with pytest.raises(InvalidBundleError, match="more than 1"):
        decode_bundle(encode_bundle(items), 1)
    for cut in range(0, len(written), 7):
        with pytest.raises(InvalidBundleError):
            decode_bundle(written[:cut], 10)
    with pytest.raises(InvalidBundleError, match="empty"):
        decode_bundle(b"\xc0", 10)


@pytest.mark.parametrize("count", [1, 3, 40])
def test_a_bundle_is_told_from_a_private_transaction(count: int) -> None:
    """By its first bytes, however long it is; a transaction with its version is none."""
    assert is_bundle(encode_bundle([bundled(number) for number in range(count)])[:32])
    raw = bundled(0).signed.raw
    size = len(raw) + 33
    versioned = (b"\xf8" + bytes([size]) if size < 256 else b"\xf9" + size.to_bytes(2)) + raw + b"\xa0" + bytes(32)
    assert not is_bundle(versioned[:32])
    assert not is_bundle(b"")
