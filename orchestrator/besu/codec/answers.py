"""Reading what nodes answer into typed values. Pure.

Each ``read_`` function takes the JSON of a result and raises ``ProtocolError`` when it is not what the method answers.
Where null is among the answers, ``known`` tells it from a value.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from orchestrator.besu.codec.identifiers import (
    InvalidIdentifierError,
    enclave_key_to_bytes,
    hex_to_bytes,
    normal_address,
    normal_hash,
    privacy_group_id_to_bytes,
)
from orchestrator.besu.codec.private_transaction import (
    InvalidPrivateTransactionError,
    PrivateTransaction,
    SignedPrivateTransaction,
    join_signature,
)
from orchestrator.besu.codec.results import (
    Block,
    ClientVersion,
    FoundGroup,
    Head,
    Log,
    PrivateReceipt,
    PublicReceipt,
    PublicTransaction,
    Syncing,
)
from orchestrator.besu.errors import NotKnownError, ProtocolError
from orchestrator.outside_text import presentable

T = TypeVar("T")

MAX_BYTES: Final = 4 << 20
MAX_ITEMS: Final = 200_000
MAX_NUMBER: Final = (1 << 62) - 1
MAX_TIMESTAMP: Final = 253_402_300_799
"""The last second of the year 9999."""
_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_VERSION = re.compile(r"v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?(?:[-+].*)?")
_PARTS_BEHIND_VERSION: Final = 2


def known(read: Callable[[Any], T], value: Any, what: str) -> T:
    """Return what ``read`` makes of the value.

    Raises:
        NotKnownError: it is null: the node has no ``what``, here or yet.
    """
    if value is None:
        raise NotKnownError(f"null: it has no {what}, or not yet; a replica that is late answers so")
    return read(value)


def optional(read: Callable[[Any], T], value: Any) -> T | None:
    """Return None for null, else what ``read`` makes of the value."""
    return None if value is None else read(value)


def read_list(read: Callable[[Any], T], value: Any) -> tuple[T, ...]:
    """Read a list, at most ``MAX_ITEMS`` long."""
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        raise ProtocolError(f"expected a list of at most {MAX_ITEMS}, got {_kind(value)}")
    return tuple(read(item) for item in value)


def read_quantity(value: Any) -> int:
    """Read "0x…" as an integer of at most 256 bits."""
    if isinstance(value, str) and _QUANTITY.fullmatch(value):
        return int(value, 16)
    raise ProtocolError(f"expected a quantity 0x…, got {_kind(value)}")


def read_number(value: Any) -> int:
    """Read "0x…" as what is counted or numbered, such as blocks, nonces and chain ids: a store has 63 bits for it."""
    number = read_quantity(value)
    if number > MAX_NUMBER:
        raise ProtocolError(f"expected a number of at most {MAX_NUMBER}, got one of {number.bit_length()} bits")
    return number


def read_timestamp(value: Any) -> int:
    """Read "0x…" as seconds since 1970, in a year of four digits."""
    seconds = read_quantity(value)
    if seconds > MAX_TIMESTAMP:
        raise ProtocolError(f"expected a time in seconds, got a number of {seconds.bit_length()} bits")
    return seconds


def read_data(value: Any) -> bytes:
    """Read "0x…" as bytes."""
    return _identifier(lambda text: hex_to_bytes(text, max_bytes=MAX_BYTES), value)


def read_hash(value: Any) -> str:
    """Read a hash of 32 bytes."""
    return _identifier(normal_hash, value)


def read_address(value: Any) -> str:
    """Read an address."""
    return _identifier(normal_address, value)


def read_flag(value: Any) -> bool:
    """Read a JSON Boolean."""
    if not isinstance(value, bool):
        raise ProtocolError(f"expected true or false, got {_kind(value)}")
    return value


def read_head(value: Any) -> Head:
    """Read a header of ``newHeads`` or a block; its transactions may be hashes, whole, or left out."""
    fields = _object(value)
    transactions = fields.get("transactions")
    return Head(
        number=read_number(fields.get("number")),
        hash=read_hash(fields.get("hash")),
        parent_hash=read_hash(fields.get("parentHash")),
        timestamp=read_timestamp(fields.get("timestamp")),
        transaction_hashes=None if transactions is None else read_list(_hash_of_transaction, transactions),
    )


def read_public_root(value: Any) -> tuple[int, str, str]:
    """Read of a block its number, its hash and the public chain's state root after it."""
    fields = _object(value)
    return read_number(fields.get("number")), read_hash(fields.get("hash")), read_hash(fields.get("stateRoot"))


def read_block(value: Any) -> Block:
    """Read a block with whole transactions."""
    fields = _object(value)
    transactions = read_list(read_public_transaction, fields.get("transactions"))
    return Block(read_head(value), transactions, read_quantity(fields.get("gasLimit")))


def read_public_transaction(value: Any) -> PublicTransaction:
    """Read a transaction of the public chain."""
    fields = _object(value)
    return PublicTransaction(
        transaction_hash=read_hash(fields.get("hash")),
        sender=read_address(fields.get("from")),
        sender_nonce=read_number(fields.get("nonce")),
        to=optional(read_address, fields.get("to")),
        data=read_data(fields.get("input")),
        value=read_quantity(fields.get("value")),
        gas_limit=read_quantity(fields.get("gas")),
        # What a transaction with a fee cap pays in the end may be less; its account must have the most of it.
        gas_price=max(
            (read_quantity(fields[name]) for name in ("gasPrice", "maxFeePerGas") if fields.get(name)), default=0
        ),
    )


def read_pooled(value: Any) -> bool | None:
    """Read from ``eth_getTransactionByHash`` whether the transaction waits in the pool; None when it is not known."""
    if value is None:
        return None
    fields = _object(value)
    waits = fields.get("blockNumber") is None
    if waits is not (fields.get("blockHash") is None):
        raise ProtocolError("expected a block's number and hash, or neither, got one of them")
    return waits


def read_public_receipt(value: Any) -> PublicReceipt:
    """Read ``eth_getTransactionReceipt``."""
    fields = _object(value)
    return PublicReceipt(
        transaction_hash=read_hash(fields.get("transactionHash")),
        block_number=read_number(fields.get("blockNumber")),
        block_hash=read_hash(fields.get("blockHash")),
        sender=read_address(fields.get("from")),
    )


def read_log(value: Any) -> Log:
    """Read a log of a receipt, of ``priv_getLogs`` or of a subscription."""
    fields = _object(value)
    return Log(
        address=read_address(fields.get("address")),
        topics=read_list(read_hash, fields.get("topics")),
        data=read_data(fields.get("data")),
        block_number=read_number(fields.get("blockNumber")),
        block_hash=read_hash(fields.get("blockHash")),
        transaction_hash=read_hash(fields.get("transactionHash")),
        log_index=read_number(fields.get("logIndex")),
        removed=read_flag(fields.get("removed", False)),
    )


def read_private_receipt(value: Any) -> PrivateReceipt:
    """Read ``priv_getTransactionReceipt``."""
    fields = _object(value)
    return PrivateReceipt(
        pmt_hash=read_hash(fields.get("commitmentHash") or fields.get("transactionHash")),
        block_number=read_number(fields.get("blockNumber")),
        block_hash=read_hash(fields.get("blockHash")),
        status=read_number(fields.get("status")),
        output=optional(read_data, fields.get("output")) or b"",
        revert_data=optional(read_data, fields.get("revertReason")),
        logs=read_list(read_log, fields.get("logs")),
    )


def read_private_transaction(value: Any) -> SignedPrivateTransaction:
    """Read ``priv_getPrivateTransaction``; its ``raw`` is what was sent."""
    fields = _object(value)
    private_for = fields.get("privateFor")
    transaction = PrivateTransaction(
        private_nonce=read_number(fields.get("nonce")),
        private_from=_text(fields.get("privateFrom")),
        to=optional(read_address, fields.get("to")),
        data=read_data(fields.get("input")),
        privacy_group_id=optional(_text, fields.get("privacyGroupId")) if not private_for else None,
        private_for=read_list(_text, private_for) if private_for else (),
        gas_limit=read_quantity(fields.get("gas")),
        gas_price=read_quantity(fields.get("gasPrice")),
        value=read_quantity(fields.get("value")),
        restriction=_text(fields.get("restriction")),
    )
    v, r, s = (read_quantity(fields.get(name)) for name in ("v", "r", "s"))
    try:
        return join_signature(transaction, v, r, s)
    except InvalidPrivateTransactionError as error:
        raise ProtocolError(f"the node answered a private transaction that is none: {error}") from error


def read_signature(value: Any) -> tuple[int, int]:
    """Read r and s alone of ``priv_getPrivateTransaction``."""
    fields = _object(value)
    return read_quantity(fields.get("r")), read_quantity(fields.get("s"))


def read_found_group(value: Any) -> FoundGroup:
    """Read one group of the find method."""
    fields = _object(value)
    group, members = _text(fields.get("privacyGroupId")), read_list(_text, fields.get("members"))
    try:
        privacy_group_id_to_bytes(group)
        for member in members:
            enclave_key_to_bytes(member)
    except InvalidIdentifierError as error:
        raise ProtocolError(f"the node answered a group that is none: {error}") from error
    return FoundGroup(group, members)


def read_client_version(value: Any) -> ClientVersion:
    """Read ``web3_clientVersion``, such as "besu/v23.10.3/linux-x86_64/openjdk-java-17"; its version may be unknown.

    ``--identity`` puts a text of the operator's choice, perhaps an address or with "/" in it, between name and version:
    the version is the part before those of the system and of the virtual machine. Builds of one's own say "vnull".
    """
    text = presentable(_text(value), 200)
    product, *parts = text.split("/")
    place = max(len(parts) - _PARTS_BEHIND_VERSION, 1) - 1
    matched = _VERSION.fullmatch(parts[place]) if parts else None
    if matched is None:
        return ClientVersion(product.lower(), None, text)
    major, minor, patch = (int(part or 0) for part in matched.groups())
    return ClientVersion(product.lower(), (major, minor, patch), text)


def read_syncing(value: Any) -> Syncing | None:
    """Read ``eth_syncing``; None when the node is in sync."""
    if value is False:
        return None
    fields = _object(value)
    return Syncing(read_number(fields.get("currentBlock")), read_number(fields.get("highestBlock")))


def _hash_of_transaction(value: Any) -> str:
    return read_hash(value.get("hash") if isinstance(value, Mapping) else value)


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ProtocolError(f"expected an object, got {_kind(value)}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 1024:
        raise ProtocolError(f"expected a short text, got {_kind(value)}")
    return value


def _identifier(read: Callable[[str], T], value: Any) -> T:
    if not isinstance(value, str):
        raise ProtocolError(f"expected text, got {_kind(value)}")
    try:
        return read(value)
    except InvalidIdentifierError as error:
        raise ProtocolError(str(error)) from error


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
