"""A group's history as it travels to a new member's enclave: encoding, decoding, knowing it from other payloads. Pure.

RLP: a list with one item for each executed transaction, oldest first; each item is a list of the signed private
transaction and of a list of its marker's hash and the state root after it. What an enclave is handed is the base64 text
of these bytes, and in its JSON that text's bytes are in base64 again (docs/besu.md#enclave-interface).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from orchestrator.besu.codec.private_transaction import (
    InvalidPrivateTransactionError,
    SignedPrivateTransaction,
    decode_private_transaction,
)

HASH_BYTES: Final = 32
TELLING_BYTES: Final = 32
"""How many of a payload's first bytes tell what it is: three prefixes of RLP, each of nine bytes at most."""


class InvalidBundleError(ValueError):
    """The bytes are no bundle; the message says where they stop being one."""


class BundleItem(Protocol):
    """What of an executed transaction goes into a bundle."""

    @property
    def signed(self) -> SignedPrivateTransaction:
        """The transaction."""

    @property
    def pmt_hash(self) -> bytes:
        """Its marker's hash, 32 bytes."""

    @property
    def root(self) -> bytes:
        """The group's state root after it, 32 bytes."""


@dataclass(frozen=True, slots=True)
class BundledTransaction:
    """An executed transaction as a bundle tells of it; nothing of it is proven.

    Attributes:
        pmt_hash: hash of its marker, 32 bytes.
        signed: the private transaction.
        root: the group's state root after it, 32 bytes.
    """

    pmt_hash: bytes
    signed: SignedPrivateTransaction
    root: bytes


def encode_bundle(items: Iterable[BundleItem]) -> bytes:
    """Return a history as the node of its sender encodes it."""
    encoded = []
    for item in items:
        metadata = _listed(_text(item.pmt_hash) + _text(item.root))
        encoded.append(_listed(item.signed.raw + metadata))
    return _listed(b"".join(encoded))


def decode_bundle(data: bytes, most: int) -> tuple[BundledTransaction, ...]:
    """Read a bundle.

    Args:
        data: its bytes.
        most: how many transactions are read.

    Raises:
        InvalidBundleError: it is none, or has more transactions.
    """
    first, end = _list_at(data, 0, len(data), "the bundle")
    if end != len(data):
        raise InvalidBundleError(f"{len(data) - end} bytes follow the bundle")
    found: list[BundledTransaction] = []
    at = first
    while at < end:
        if len(found) == most:
            raise InvalidBundleError(f"it has more than {most} transactions")
        what = f"transaction {len(found) + 1} of the bundle"
        inner, at = _list_at(data, at, end, what)
        _, metadata = _list_at(data, inner, at, what)
        hashes, last = _list_at(data, metadata, at, f"the metadata of {what}")
        if last != at or at - hashes != 2 * (HASH_BYTES + 1) or data[hashes] != 0xA0 or data[hashes + 33] != 0xA0:
            raise InvalidBundleError(f"the metadata of {what} are no two hashes")
        try:
            signed = decode_private_transaction(data[inner:metadata])
        except InvalidPrivateTransactionError as error:
            raise InvalidBundleError(f"{what}: {error}") from error
        found.append(BundledTransaction(data[hashes + 1 : hashes + 33], signed, data[hashes + 34 : at]))
    if not found:
        raise InvalidBundleError("it is empty")
    return tuple(found)


def is_bundle(start: bytes) -> bool:
    """Return whether a payload is a history, by its first ``TELLING_BYTES`` bytes, or all when it has fewer.

    The other payload of flexible groups is a list of a private transaction and a version: there two lists stand at the
    beginning, one in the other, in a history three.
    """
    at = 0
    for _ in range(3):
        if at >= len(start) or start[at] < 0xC0:
            return False
        at += 1 + max(0, start[at] - 0xF7)
    return True


def _listed(content: bytes) -> bytes:
    if len(content) <= 55:
        return bytes([0xC0 + len(content)]) + content
    size = len(content).to_bytes((len(content).bit_length() + 7) // 8)
    return bytes([0xF7 + len(size)]) + size + content


def _text(content: bytes) -> bytes:
    return bytes([0x80 + len(content)]) + content


def _list_at(data: bytes, at: int, limit: int, what: str) -> tuple[int, int]:
    """Return where the content of a list begins and ends.

    Raises:
        InvalidBundleError: there is none, or it does not end before the limit.
    """
    if at >= limit or data[at] < 0xC0:
        raise InvalidBundleError(f"{what} is no list")
    size = data[at] - 0xF7
    first = at + 1 + max(0, size)
    length = data[at] - 0xC0 if size <= 0 else int.from_bytes(data[at + 1 : first])
    if first > limit or length > limit - first:
        raise InvalidBundleError(f"{what} is cut off")
    return first, first + length
