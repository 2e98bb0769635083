"""Reading and signing raw public transactions in the legacy form, with and without a chain id. Pure.

Source: the recorded raw transactions; EIP-155 for what a chain id changes in the signature.
"""

from dataclasses import dataclass
from typing import Any, Final

import rlp
from coincurve import PrivateKey, PublicKey
from eth_hash.auto import keccak

from orchestrator.devnet.chain.public_transaction import PublicTransaction
from orchestrator.devnet.encoding import data, minimal_bytes, rlp_list

_FIRST_LIST_BYTE: Final = 0xC0
_TYPED: Final = range(1, 0x80)
_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_FIELD_BYTES: Final = (8, 32, 8, 20, 32, None, 8, 32, 32)


class InvalidPublicTransactionError(ValueError):
    """The bytes are no public transaction in the legacy form."""


class TypedTransactionError(InvalidPublicTransactionError):
    """The bytes are a typed transaction (EIP-2718), which the devnet does not execute."""


@dataclass(frozen=True, slots=True)
class SigningAccount:
    """A key that signs public transactions, with what the chain knows it by."""

    key: PrivateKey
    address: str
    public_key: bytes


def signing_account(private_key: bytes) -> SigningAccount:
    """The account of a private key, 32 bytes."""
    key = PrivateKey(private_key)
    public_key = key.public_key.format(compressed=False)[1:]
    return SigningAccount(key=key, address=data(keccak(public_key)[-20:]), public_key=public_key)


def sign_public_transaction(
    account: SigningAccount,
    *,
    account_nonce: int,
    gas_price: int,
    gas_limit: int,
    to: str | None,
    value: int = 0,
    payload: bytes = b"",
    chain_id: int | None = None,
) -> PublicTransaction:
    """Sign a legacy transaction; without a chain id v is 27 or 28, as nodes sign their own markers (transcripts)."""
    fields = [
        minimal_bytes(account_nonce),
        minimal_bytes(gas_price),
        minimal_bytes(gas_limit),
        bytes.fromhex((to or "0x")[2:]),
        minimal_bytes(value),
        payload,
    ]
    signature = account.key.sign_recoverable(_digest(fields, chain_id), hasher=None)
    v = signature[64] + (27 if chain_id is None else 35 + 2 * chain_id)
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:64])
    raw = rlp_list([*fields, minimal_bytes(v), minimal_bytes(r), minimal_bytes(s)])
    return PublicTransaction(
        hash=keccak(raw),
        sender=account.address,
        account_nonce=account_nonce,
        gas_price=gas_price,
        gas_limit=gas_limit,
        to=to,
        value=value,
        input=payload,
        v=v,
        r=r,
        s=s,
        public_key=account.public_key,
        raw=raw,
    )


def decode_public_transaction(raw: bytes) -> PublicTransaction:
    """Read a raw transaction and recover its sender.

    Raises:
        TypedTransactionError: it is a typed one.
        InvalidPublicTransactionError: it is none, or its signature fits no account.
    """
    if raw and raw[0] in _TYPED:
        raise TypedTransactionError("typed transactions are not taken")
    items = _items(raw)
    account_nonce, gas_price, gas_limit, _, value, _, v, r, s = (int.from_bytes(item) for item in items)
    if v in {27, 28}:
        chain_id, recovery = None, v - 27
    elif v >= 35:
        chain_id, recovery = (v - 35) // 2, (v - 35) % 2
    else:
        raise InvalidPublicTransactionError(f"v is {v}; it must be 27, 28, or hold a chain id")
    if not (0 < r < _ORDER and 0 < s <= _ORDER // 2):
        raise InvalidPublicTransactionError("the signature is out of range")
    signature = r.to_bytes(32) + s.to_bytes(32) + bytes([recovery])
    try:
        found = PublicKey.from_signature_and_message(signature, _digest(items[:6], chain_id), hasher=None)
    except ValueError as error:
        raise InvalidPublicTransactionError("the signature fits no account") from error
    public_key = found.format(compressed=False)[1:]
    return PublicTransaction(
        hash=keccak(raw),
        sender=data(keccak(public_key)[-20:]),
        account_nonce=account_nonce,
        gas_price=gas_price,
        gas_limit=gas_limit,
        to=data(items[3]) if items[3] else None,
        value=value,
        input=items[5],
        v=v,
        r=r,
        s=s,
        public_key=public_key,
        raw=raw,
    )


def _digest(fields: list[bytes], chain_id: int | None) -> bytes:
    return keccak(rlp_list(fields if chain_id is None else [*fields, minimal_bytes(chain_id), b"", b""]))


def _items(raw: bytes) -> list[bytes]:
    if not raw or raw[0] < _FIRST_LIST_BYTE:
        raise InvalidPublicTransactionError("the transaction is no RLP list")
    try:
        items: Any = rlp.decode(raw)
    except (rlp.exceptions.RLPException, RecursionError) as error:
        raise InvalidPublicTransactionError("the transaction is no RLP") from error
    if len(items) != len(_FIELD_BYTES) or not all(isinstance(item, bytes) for item in items):
        raise InvalidPublicTransactionError("a legacy transaction has nine fields")
    for at, (item, most) in enumerate(zip(items, _FIELD_BYTES, strict=True)):
        if most == 20:
            if len(item) not in {0, 20}:
                raise InvalidPublicTransactionError("the receiver is no address")
        elif most is not None and (len(item) > most or item[:1] == b"\0"):
            raise InvalidPublicTransactionError(f"field {at + 1} is no number of at most {most} bytes")
    return list(items)
