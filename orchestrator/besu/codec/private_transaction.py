"""Private transactions as Besu reads them: encoding, signing, decoding. Pure.

Source: docs/besu.md#private-transaction-encoding.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import rlp
from eth_hash.auto import keccak

from orchestrator.besu.codec.account_signatures import (
    InvalidSignatureError,
    Signature,
    address_of_key,
    call_items,
    chain_id_of,
    integer_bytes,
    recovered_address,
    sign_digest,
)
from orchestrator.besu.codec.identifiers import (
    ENCLAVE_KEY_BYTES,
    PRIVACY_GROUP_ID_BYTES,
    InvalidIdentifierError,
    bytes_to_hex,
    enclave_key_from_bytes,
    enclave_key_to_bytes,
    hex_to_bytes,
    normal_address,
    privacy_group_id_from_bytes,
    privacy_group_id_to_bytes,
)
from orchestrator.besu.codec.rlp_items import decoded
from orchestrator.besu.codec.transaction_fields import InvalidFieldError, read_fields

USUAL_GAS_LIMIT: Final = 3_000_000
RESTRICTED: Final = "restricted"
RESTRICTIONS: Final = frozenset({RESTRICTED, "unrestricted"})
MAX_RAW_BYTES: Final = 1 << 20
MAX_PRIVATE_FOR: Final = 1024

_INTEGERS: Final = {"private_nonce": 64, "gas_price": 256, "gas_limit": 64, "value": 256, "chain_id": 256}
_ITEMS: Final = 12


class InvalidPrivateTransactionError(ValueError):
    """The fields or the bytes are no private transaction; the message names what is wrong with which field."""


@dataclass(frozen=True, slots=True)
class PrivateTransaction:
    """A private transaction before it is signed.

    Attributes:
        private_nonce: the sender's nonce in this privacy group.
        private_from: the sender's enclave key, base64.
        to: the contract called, "0x…" in lower case; None creates a contract.
        data: call data or init code.
        privacy_group_id: base64 of 32 bytes; exactly one of it and ``private_for`` is given.
        private_for: enclave keys, base64, of those who share the transaction without a group.
        chain_id: chain id that the signature is bound to; None only in transactions that others signed without one.
        gas_limit: in gas; the marker transaction copies it.
        gas_price: in wei; the marker transaction copies it.
        value: in wei; Besu takes only 0.
        restriction: "restricted", the only kind a flexible group takes.
    """

    private_nonce: int
    private_from: str
    to: str | None
    data: bytes = b""
    privacy_group_id: str | None = None
    private_for: tuple[str, ...] = ()
    chain_id: int | None = None
    gas_limit: int = USUAL_GAS_LIMIT
    gas_price: int = 0
    value: int = 0
    restriction: str = RESTRICTED


@dataclass(frozen=True, slots=True)
class SignedPrivateTransaction:
    """A private transaction with its signature.

    Attributes:
        transaction: what was signed.
        sender: address of the account that signed, recovered from the signature.
        v, r, s: the signature; v = recovery id + 35 + 2·chain id (27 without a chain id).
        raw: the bytes for ``eea_sendRawTransaction``.
    """

    transaction: PrivateTransaction
    sender: str
    v: int
    r: int
    s: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class UnsignedPrivateTransaction:
    """A private transaction, encoded up to its signature, which may be made elsewhere.

    Attributes:
        message: whose Keccak-256 hash the account has to sign.
        chain_id: the chain that it is signed for.
        before, behind: RLP items around the signature.
    """

    message: bytes
    chain_id: int
    before: tuple[bytes, ...]
    behind: tuple[Any, ...]

    def signed(self, signature: Signature) -> bytes:
        """Return the raw bytes for ``eea_sendRawTransaction``; whose signature it is, is not looked at."""
        vrs = (signature.v(self.chain_id), signature.r, signature.s)
        return bytes(rlp.encode([*self.before, *map(integer_bytes, vrs), *self.behind], rlp.sedes.raw))


def unsigned_private_transaction(
    fields: PrivateTransaction | Mapping[str, Any],
) -> UnsignedPrivateTransaction:
    """Encode a private transaction for its signature.

    Args:
        fields: as of ``sign_private_transaction``.

    Raises:
        InvalidPrivateTransactionError: a field is missing, unknown or out of range.
    """
    transaction = fields if isinstance(fields, PrivateTransaction) else private_transaction_from_fields(fields)
    if transaction.chain_id is None:
        raise InvalidPrivateTransactionError("chainId is missing; without it others could replay the transaction")
    body, tail = _encoded_items(transaction)
    message = _signing_message(body, tail, transaction.chain_id)
    return UnsignedPrivateTransaction(message, transaction.chain_id, tuple(body), tuple(tail))


def sign_private_transaction(fields: PrivateTransaction | Mapping[str, Any], private_key: bytes | str) -> bytes:
    """Sign a private transaction and return the raw bytes for ``eea_sendRawTransaction``.

    The signature is deterministic: the same fields and key give the same bytes.

    Args:
        fields: a ``PrivateTransaction``, or a mapping with the keys nonce, gasPrice, gasLimit, to, value, data,
            chainId, privateFrom, privacyGroupId or privateFor, restriction. Integers as int or "0x…" text, data as
            bytes or hexadecimal text. gasPrice and value default to 0, gasLimit to 3,000,000.
        private_key: 32 bytes, or 64 hexadecimal digits with or without "0x".

    Raises:
        InvalidPrivateTransactionError: a field is missing, unknown or out of range, or the key is no private key.
    """
    unsigned = unsigned_private_transaction(fields)
    try:
        return unsigned.signed(sign_digest(keccak(unsigned.message), private_key))
    except InvalidSignatureError as error:
        raise InvalidPrivateTransactionError(str(error)) from None


def private_transaction_from_fields(fields: Mapping[str, Any]) -> PrivateTransaction:
    """Read a mapping with the field names of ``sign_private_transaction``.

    Raises:
        InvalidPrivateTransactionError: a field is missing, unknown or of the wrong type.
    """
    try:
        return PrivateTransaction(**read_fields(fields))
    except InvalidFieldError as error:
        raise InvalidPrivateTransactionError(str(error)) from error


def join_signature(transaction: PrivateTransaction, v: int, r: int, s: int) -> SignedPrivateTransaction:
    """Put a transaction and its signature together, such as ``priv_getPrivateTransaction`` answers them.

    The raw bytes are those that were sent, so they can be compared with what was stored before sending. The chain id of
    ``transaction`` is taken from ``v``.

    Raises:
        InvalidPrivateTransactionError: a field is out of range, or the signature is no signature.
    """
    transaction = replace(transaction, chain_id=_chain_id_of(v))
    body, tail = _encoded_items(transaction)
    try:
        sender = recovered_address(keccak(_signing_message(body, tail, transaction.chain_id)), v, r, s)
    except InvalidSignatureError as error:
        raise InvalidPrivateTransactionError(str(error)) from error
    raw = bytes(rlp.encode([*body, *map(integer_bytes, (v, r, s)), *tail], rlp.sedes.raw))
    return SignedPrivateTransaction(transaction=transaction, sender=sender, v=v, r=r, s=s, raw=raw)


def decode_private_transaction(raw: bytes | str) -> SignedPrivateTransaction:
    """Read a signed private transaction and recover its sender.

    Args:
        raw: the bytes, or hexadecimal text, at most ``MAX_RAW_BYTES`` bytes.

    Raises:
        InvalidPrivateTransactionError: the bytes are no private transaction, or the signature is no signature.
    """
    try:
        raw_bytes = hex_to_bytes(raw, max_bytes=MAX_RAW_BYTES) if isinstance(raw, str) else bytes(raw)
    except InvalidIdentifierError as error:
        raise InvalidPrivateTransactionError(f"the raw transaction is unreadable: {error}") from error
    if len(raw_bytes) > MAX_RAW_BYTES:
        raise InvalidPrivateTransactionError(f"{len(raw_bytes)} bytes are too many; at most {MAX_RAW_BYTES} are read")
    try:
        items = decoded(raw_bytes)
    except (rlp.exceptions.RLPException, RecursionError, ValueError) as error:
        raise InvalidPrivateTransactionError(f"the bytes are no RLP: {type(error).__name__}") from error
    if not isinstance(items, list | tuple) or len(items) != _ITEMS:
        raise InvalidPrivateTransactionError(f"a private transaction is an RLP list of {_ITEMS} items")
    transaction, v, r, s = _decoded_items(list(items))
    return join_signature(transaction, v, r, s)


def signature_of(raw: bytes) -> tuple[int, int] | None:
    """Return r and s of a signed private transaction; None when the bytes are none.

    This is cheap: nothing else is read, and the signature is not verified.
    """
    try:
        items = decoded(raw)
        r, s = items[7], items[8]
    except (rlp.exceptions.RLPException, RecursionError, ValueError, TypeError, IndexError):
        return None
    return (int.from_bytes(r), int.from_bytes(s)) if isinstance(r, bytes) and isinstance(s, bytes) else None


def address_of_private_key(private_key: bytes | str) -> str:
    """Return the account address, "0x…" in lower case, of a private key (32 bytes, or hexadecimal text).

    Raises:
        InvalidPrivateTransactionError: it is no private key. The message never shows it.
    """
    try:
        return address_of_key(private_key)
    except InvalidSignatureError as error:
        raise InvalidPrivateTransactionError(str(error)) from None


def _encoded_items(transaction: PrivateTransaction) -> tuple[list[bytes], list[Any]]:
    """The items before and after the signature; raises when a field is out of range."""
    for name, bits in _INTEGERS.items():
        value = getattr(transaction, name)
        if value is None and name == "chain_id":
            continue
        if not isinstance(value, int) or not 0 <= value < 1 << bits:
            raise InvalidPrivateTransactionError(f"{name} must be from 0 to 2^{bits} - 1, not {value!r}")
    if (transaction.privacy_group_id is None) == (not transaction.private_for):
        raise InvalidPrivateTransactionError("give either privacyGroupId or privateFor, and only one of them")
    if transaction.restriction not in RESTRICTIONS:
        raise InvalidPrivateTransactionError(f"restriction must be one of {', '.join(sorted(RESTRICTIONS))}")
    if len(transaction.private_for) > MAX_PRIVATE_FOR:
        raise InvalidPrivateTransactionError(f"privateFor has more than {MAX_PRIVATE_FOR} enclave keys")
    try:
        to = b"" if transaction.to is None else bytes.fromhex(normal_address(transaction.to)[2:])
        private_from = enclave_key_to_bytes(transaction.private_from)
        audience: Any = (
            [enclave_key_to_bytes(key) for key in transaction.private_for]
            if transaction.privacy_group_id is None
            else privacy_group_id_to_bytes(transaction.privacy_group_id)
        )
    except InvalidIdentifierError as error:
        raise InvalidPrivateTransactionError(str(error)) from error
    fee, data = (transaction.gas_price, transaction.gas_limit), transaction.data
    body = call_items(transaction.private_nonce, *fee, to, transaction.value, data)
    return body, [private_from, audience, transaction.restriction.encode("ascii")]


def _decoded_items(items: list[Any]) -> tuple[PrivateTransaction, int, int, int]:
    nonce, gas_price, gas_limit, to, value, data, v, r, s, private_from, audience, restriction = items
    if not isinstance(data, bytes) or not isinstance(restriction, bytes) or not isinstance(to, bytes):
        raise InvalidPrivateTransactionError("to, data and restriction must be byte strings")
    if len(to) not in {0, 20}:
        raise InvalidPrivateTransactionError(f"to has {len(to)} bytes; an address has 20, a contract creation none")
    signature_v = _read_integer("v", v, 256)
    transaction = PrivateTransaction(
        private_nonce=_read_integer("nonce", nonce, 64),
        gas_price=_read_integer("gasPrice", gas_price, 256),
        gas_limit=_read_integer("gasLimit", gas_limit, 64),
        to=bytes_to_hex(to) if to else None,
        value=_read_integer("value", value, 256),
        data=data,
        chain_id=_chain_id_of(signature_v),
        private_from=_read_enclave_key("privateFrom", private_from),
        privacy_group_id=_read_group(audience) if isinstance(audience, bytes) else None,
        private_for=_read_private_for(audience) if not isinstance(audience, bytes) else (),
        restriction=restriction.decode("ascii", "replace"),
    )
    return transaction, signature_v, _read_integer("r", r, 256), _read_integer("s", s, 256)


def _read_integer(field: str, item: Any, bits: int) -> int:
    if not isinstance(item, bytes) or len(item) * 8 > bits:
        raise InvalidPrivateTransactionError(f"{field} must be an integer of at most {bits} bits")
    if item[:1] == b"\0":
        raise InvalidPrivateTransactionError(f"{field} has leading zeros")
    return int.from_bytes(item)


def _read_enclave_key(field: str, item: Any) -> str:
    if not isinstance(item, bytes) or len(item) not in ENCLAVE_KEY_BYTES:
        raise InvalidPrivateTransactionError(f"{field} must be an enclave key of 32 or 91 bytes")
    return enclave_key_from_bytes(item)


def _read_group(item: bytes) -> str:
    if len(item) != PRIVACY_GROUP_ID_BYTES:
        raise InvalidPrivateTransactionError(
            f"privacyGroupId has {len(item)} bytes instead of {PRIVACY_GROUP_ID_BYTES}"
        )
    return privacy_group_id_from_bytes(item)


def _read_private_for(items: Any) -> tuple[str, ...]:
    if not 1 <= len(items) <= MAX_PRIVATE_FOR:
        raise InvalidPrivateTransactionError(f"privateFor must name 1 to {MAX_PRIVATE_FOR} enclave keys")
    return tuple(_read_enclave_key("privateFor", item) for item in items)


def _chain_id_of(v: int) -> int | None:
    try:
        return chain_id_of(v)
    except InvalidSignatureError as error:
        raise InvalidPrivateTransactionError(str(error)) from error


def _signing_message(body: list[bytes], tail: list[Any], chain_id: int | None) -> bytes:
    bound = [] if chain_id is None else [integer_bytes(chain_id), b"", b""]
    return bytes(rlp.encode([*body, *bound, *tail], rlp.sedes.raw))
