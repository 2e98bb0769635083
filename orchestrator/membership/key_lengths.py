"""Which enclave keys a group's contract can hold (docs/besu.md#versions)."""

from collections.abc import Iterable
from typing import Final

from orchestrator.membership.reasons.table import Reason

SHORT_KEY_CHARACTERS: Final = 44
"""Base64 of 32 bytes, a NaCl key; an EC key has 91 bytes and 124 characters."""


def unfit_keys(enclave_keys: Iterable[str], abi: str) -> Reason | None:
    """Return why some keys can't become members, or None.

    ``addParticipants(bytes32[])`` of Besu before 22.10.0 has no place for an EC key. Nothing may be locked for it: the
    addition could not even be encoded.

    Args:
        enclave_keys: Keys that are to be added.
        abi: ``"bytes"`` or ``"bytes32"``: the dialect of the group's contract.
    """
    long = tuple(key for key in enclave_keys if len(key) > SHORT_KEY_CHARACTERS)
    if abi != "bytes32" or not long:
        return None
    detail = f"{', '.join(long)}: groups of Besu before 22.10.0 hold keys of 32 bytes only"
    return Reason(slug="enclave_key_too_long", detail=detail, members=long)
