"""Marker transactions of one's own, and what takes them back: encoding and signing. Pure.

A marker is a public transaction to the privacy precompile whose input is the key under which a private transaction was
distributed; whoever signs it. Its hash is known before it is sent. Markers that share one account and nonce can't both
be mined, and once another transaction of that account and nonce is mined, the marker never is. Source:
docs/besu.md#markers.
"""

from dataclasses import dataclass
from typing import Any, Final

import rlp
from eth_hash.auto import keccak

from orchestrator.besu.codec.account_signatures import (
    InvalidSignatureError,
    address_of_key,
    call_items,
    integer_bytes,
    sign_digest,
)
from orchestrator.besu.codec.identifiers import InvalidIdentifierError, bytes_to_hex, normal_address

PAYLOAD_KEY_BYTES: Final = frozenset({32, 64})
"""Length of a marker's input: the payload key; with the key of the group's history for an addition to a group."""

BURN_GAS_LIMIT: Final = 21_000
"""Gas of a plain transfer."""

_INTEGERS: Final = {"account_nonce": 64, "gas_price": 256, "gas_limit": 64}


class InvalidMarkerError(ValueError):
    """The fields are no marker transaction; the message names what is wrong with which field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerTransaction:
    """A public transaction of the legacy type before it is signed.

    Attributes:
        account_nonce: the account's nonce on the public chain; 0 for a one-time key.
        gas_price: in wei.
        gas_limit: in gas.
        to: "0x…": the privacy precompile of a marker, the account itself of a burn.
        data: the payload key of a marker, nothing of a burn.
        chain_id: chain id that the signature is bound to; None as nodes sign their own markers. Nodes with
            ``--strict-tx-replay-protection-enabled`` take only bound ones from outside.
    """

    account_nonce: int
    gas_price: int
    gas_limit: int
    to: str
    data: bytes
    chain_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedMarkerTransaction:
    """A marker transaction or a burn with its signature.

    Attributes:
        transaction: what was signed.
        sender: the account that signed it, "0x…" in lower case.
        raw: the bytes for ``eth_sendRawTransaction``.
        transaction_hash: its hash, which is the PMT's hash of a marker.
    """

    transaction: MarkerTransaction
    sender: str
    raw: bytes
    transaction_hash: str


def sign_marker(
    payload_key: bytes,
    private_key: bytes | str,
    *,
    precompile: str,
    account_nonce: int,
    gas_price: int,
    gas_limit: int,
    chain_id: int | None,
) -> SignedMarkerTransaction:
    """Sign the marker of a distributed private transaction; the same fields and key give the same bytes.

    Args:
        payload_key: what ``priv_distributeRawTransaction`` answered, 32 or 64 bytes.
        private_key: of the account that sends it: 32 bytes, or hexadecimal text.
        precompile: what ``priv_getPrivacyPrecompileAddress`` answers.
        account_nonce: see ``MarkerTransaction``, as all of the following.
        gas_price: in wei.
        gas_limit: in gas; 22,024 are enough (docs/besu.md#markers), nodes take the private transaction's.
        chain_id: see ``MarkerTransaction``.

    Raises:
        InvalidMarkerError: a field is out of range, or the key is no private key.
    """
    if len(payload_key) not in PAYLOAD_KEY_BYTES:
        raise InvalidMarkerError(f"a payload key has 32 or 64 bytes, not {len(payload_key)}")
    transaction = MarkerTransaction(
        account_nonce=account_nonce,
        gas_price=gas_price,
        gas_limit=gas_limit,
        to=precompile,
        data=payload_key,
        chain_id=chain_id,
    )
    return _signed(transaction, private_key)


def sign_burn(
    private_key: bytes | str, *, account_nonce: int, gas_price: int, chain_id: int | None, more_gas: int = 0
) -> SignedMarkerTransaction:
    """Sign the transaction that takes an account's nonce and does nothing: to itself, without value.

    Only when it is *mined* no marker with that account and nonce can be mined any more; while it waits in a pool it
    proves nothing. From Besu 23.10.2 on it replaces a marker in a pool at the same price; before, the first one in a
    pool stays (docs/besu.md#markers).

    Args:
        private_key: the marker's.
        account_nonce: the marker's.
        gas_price: in wei; not below the marker's.
        chain_id: see ``MarkerTransaction``.
        more_gas: beyond the 21,000 that it needs: another amount makes another transaction in its place.

    Raises:
        InvalidMarkerError: a field is out of range, or the key is no private key.
    """
    try:
        to = address_of_key(private_key)
    except InvalidSignatureError as error:
        raise InvalidMarkerError(str(error)) from None
    transaction = MarkerTransaction(
        account_nonce=account_nonce,
        gas_price=gas_price,
        gas_limit=BURN_GAS_LIMIT + more_gas,
        to=to,
        data=b"",
        chain_id=chain_id,
    )
    return _signed(transaction, private_key)


def _signed(transaction: MarkerTransaction, private_key: bytes | str) -> SignedMarkerTransaction:
    digest = _digest(transaction)
    try:
        signature = sign_digest(digest, private_key)
        sender = address_of_key(private_key)
    except InvalidSignatureError as error:
        raise InvalidMarkerError(str(error)) from None
    vrs = (signature.v(transaction.chain_id), signature.r, signature.s)
    raw = bytes(rlp.encode([*_body(transaction), *map(integer_bytes, vrs)], rlp.sedes.raw))
    return SignedMarkerTransaction(
        transaction=transaction, sender=sender, raw=raw, transaction_hash=bytes_to_hex(keccak(raw))
    )


def _digest(transaction: MarkerTransaction) -> bytes:
    chain_id = transaction.chain_id
    bound = [] if chain_id is None else [integer_bytes(chain_id), b"", b""]
    return keccak(rlp.encode([*_body(transaction), *bound], rlp.sedes.raw))


def _body(transaction: MarkerTransaction) -> list[Any]:
    for name, bits in _INTEGERS.items():
        value = getattr(transaction, name)
        if not 0 <= value < 1 << bits:
            raise InvalidMarkerError(f"{name} must be from 0 to 2^{bits} - 1, not {value!r}")
    if transaction.chain_id is not None and not 0 < transaction.chain_id < 1 << 256:
        raise InvalidMarkerError(f"chain_id must be from 1 to 2^256 - 1, not {transaction.chain_id!r}")
    try:
        to = bytes.fromhex(normal_address(transaction.to)[2:])
    except InvalidIdentifierError as error:
        raise InvalidMarkerError(str(error)) from error
    fee, data = (transaction.gas_price, transaction.gas_limit), transaction.data
    return call_items(transaction.account_nonce, *fee, to, 0, data)
