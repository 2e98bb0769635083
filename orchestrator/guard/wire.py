"""What goes between a node and its enclave, as far as a guard has to read it. Pure.

Source: docs/besu.md#enclave-interface.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import rlp

from orchestrator.besu.codec.bundles import (
    TELLING_BYTES,
    BundledTransaction,
    InvalidBundleError,
    decode_bundle,
    is_bundle,
)
from orchestrator.besu.codec.management_contract import (
    MANAGEMENT_PROXY,
    ManagementContractError,
    Method,
    decode_call,
)
from orchestrator.besu.codec.private_transaction import InvalidPrivateTransactionError, decode_private_transaction
from orchestrator.besu.codec.rlp_items import decoded
from orchestrator.membership.guard.received_bundles import BundledCall, ReceivedBundle
from orchestrator.outside_text import presentable

NOT_FOUND: Final = b'{"error":"EnclavePayloadNotFound"}'
"""What an enclave answers, with status 404, for a payload that it doesn't have."""

TELLING_CHARACTERS: Final = 64
"""So many characters of a payload's base64, which is twice, tell what it is."""

LONGEST_KEY: Final = 128
"""Characters of an enclave key: base64 of 91 bytes has 124."""

FIRST_OF_LISTS: Final = 0xC0
VERSION_BYTES: Final = 32

_PAYLOAD: Final = re.compile(rb'"payload"\s*:\s*"')
_UPGRADE: Final = bytes.fromhex("3659cfe6")
"""Selector of ``upgradeTo(address)``."""


@dataclass(frozen=True, slots=True)
class PayloadRequest:
    """A node asks its enclave for a payload.

    Attributes:
        key: the payload's key, base64.
        reader: the enclave key that it is read as, base64; None when any will do, as in the import of a block.
    """

    key: str
    reader: str | None


def payload_request(body: bytes) -> PayloadRequest | None:
    """Read the body of a request for a payload; None when it is none."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(asked, Mapping):
        return None
    key, reader = asked.get("key"), asked.get("to")
    if not isinstance(key, str) or not isinstance(reader, str | None):
        return None
    return PayloadRequest(key, reader or None)


def added_group(body: bytes) -> str | None:
    """Return the group that a node is about to add members to, by what it hands its enclave; None for all else."""
    try:
        # Base64 of base64 (docs/besu.md#enclave-interface, 2). A creation passes for an addition: it has no bundle to
        # be let through.
        payload = json.loads(body).get("payload")
        content = base64.b64decode(base64.b64decode(payload, validate=True), validate=True)
        if is_bundle(content[:TELLING_BYTES]):
            return None
        raw, _version = decoded(content)
        transaction = decode_private_transaction(bytes(rlp.encode(raw))).transaction
        call = decode_call(transaction.data) if transaction.to == MANAGEMENT_PROXY else None
    except (
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
        rlp.exceptions.RLPException,
        InvalidPrivateTransactionError,
        ManagementContractError,
    ):
        return None
    return transaction.privacy_group_id if call is not None and call.method is Method.ADD_PARTICIPANTS else None


@dataclass(frozen=True, slots=True)
class PrivateCall:
    """A private transaction as an enclave answers it.

    Attributes:
        privacy_group_id: its group, base64; empty when it is none.
        account: who signed it, "0x…" in lower case.
        private_nonce: the account's nonce in the group.
        executable: whether it is one: of all else that was stored a node can make nothing.
    """

    privacy_group_id: str
    account: str
    private_nonce: int
    executable: bool = True


NOTHING: Final = PrivateCall("", "", 0, executable=False)


def transaction_in(body: bytes) -> PrivateCall | None:
    """Read an enclave's answer that holds no history; None when it is not certain what a node makes of it."""
    try:
        text = base64.b64decode(json.loads(body)["payload"], validate=True)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        return NOTHING
    # Besu throws on whatever is no list, behind a marker of 32 bytes as of 64 (docs/besu.md#what-a-replay-needs, 13).
    if not content or content[0] < FIRST_OF_LISTS:
        return NOTHING
    try:
        items = decoded(content)
        if len(items) != 2 or not isinstance(items[0], list) or len(items[1]) != VERSION_BYTES:
            return NOTHING
        signed = decode_private_transaction(bytes(rlp.encode(items[0])))
    # Besu's decoder may take what ours does not: only what certainly is nothing is called so.
    except (rlp.exceptions.RLPException, RecursionError, TypeError, InvalidPrivateTransactionError):
        return None
    group = signed.transaction.privacy_group_id
    return None if group is None else PrivateCall(group, signed.sender.lower(), signed.transaction.private_nonce)


def tells(start: bytes) -> bool | None:
    """Return whether an enclave's answer holds a history bundle, by its first bytes; None when more are needed."""
    found = _PAYLOAD.search(start)
    if found is None:
        return None
    # Base64 has slashes, which some writers of JSON escape.
    characters = start[found.end() :].replace(b"\\/", b"/").partition(b'"')[0]
    if len(characters) < TELLING_CHARACTERS and b'"' not in start[found.end() :]:
        return None
    try:
        # Whole groups of four: the rest has not come yet.
        outer = base64.b64decode(characters[: len(characters) // 4 * 4][:TELLING_CHARACTERS])
        content = base64.b64decode(outer[: len(outer) // 4 * 4])
    except (binascii.Error, ValueError):
        return False
    return is_bundle(content[:TELLING_BYTES])


def bundle_in(body: bytes, most: int) -> ReceivedBundle:
    """Read an enclave's answer that holds a bundle.

    Args:
        body: the answer.
        most: how many transactions are read.

    Raises:
        InvalidBundleError: it holds none, or one with more transactions.
    """
    try:
        answer = json.loads(body)
        payload, sender = answer["payload"], answer.get("senderKey")
        content = base64.b64decode(base64.b64decode(payload, validate=True), validate=True)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InvalidBundleError(f"the answer holds no payload ({type(error).__name__})") from error
    sent_by = presentable(sender[:LONGEST_KEY]) if isinstance(sender, str) else ""
    return received_bundle(decode_bundle(content, most), sent_by)


def received_bundle(items: tuple[BundledTransaction, ...], sent_by: str) -> ReceivedBundle:
    """Return a bundle as the rules take it.

    Args:
        items: its transactions.
        sent_by: the enclave key that sent it; empty when it is not told.
    """
    members: dict[str, None] = {}
    locked: bool | None = False
    replaced = False
    for item in items:
        transaction = item.signed.transaction
        if transaction.to != MANAGEMENT_PROXY:
            continue
        try:
            call = decode_call(transaction.data)
        except ManagementContractError:
            call = None
        if call is None:
            replaced = replaced or transaction.data[:4] == _UPGRADE
        # A bundle holds executed transactions only (docs/besu.md#what-a-replay-needs, 4): each of these calls took
        # effect.
        elif call.method is Method.LOCK:
            locked = True
        elif call.method is Method.UNLOCK:
            locked = False
        elif call.method is Method.ADD_PARTICIPANTS:
            locked = False
            # It unlocked as well, even if it added nobody (docs/besu.md#life-of-a-change, 4 and 6).
            members |= dict.fromkeys(call.members)
        elif call.method is Method.REMOVE_PARTICIPANT:
            for member in call.members:
                members.pop(member, None)
    return ReceivedBundle(
        privacy_group_id=items[0].signed.transaction.privacy_group_id or "",
        calls=tuple(
            BundledCall(
                pmt_hash="0x" + item.pmt_hash.hex(),
                account=item.signed.sender,
                private_nonce=item.signed.transaction.private_nonce,
                state_root="0x" + item.root.hex(),
                signature=(item.signed.r, item.signed.s),
            )
            for item in items
        ),
        sent_by=sent_by,
        members=tuple(members),
        locked=None if replaced else locked,
        trouble=_trouble(items),
        gap=_gap(items),
    )


def _gap(items: tuple[BundledTransaction, ...]) -> str | None:
    """Where private nonces show that transactions are missing.

    Each executed transaction uses up one of its account; what is missing after an account's last one does not show
    (docs/besu.md#nonces, 1).
    """
    next_nonce: dict[str, int] = {}
    for item in items:
        expected, found = next_nonce.get(item.signed.sender, 0), item.signed.transaction.private_nonce
        if found != expected:
            return f"private nonce {expected} of account {item.signed.sender} is missing before {found}"
        next_nonce[item.signed.sender] = expected + 1
    return None


def _trouble(items: tuple[BundledTransaction, ...]) -> str | None:
    """Why transactions can't be a group's whole history."""
    group = items[0].signed.transaction.privacy_group_id
    first = items[0].signed.transaction
    try:
        made = decode_call(first.data) if first.to == MANAGEMENT_PROXY else None
    except ManagementContractError:
        made = None
    if group is None or made is None or made.method is not Method.ADD_PARTICIPANTS:
        return "it does not begin with the making of a group"
    pmt_hashes: set[bytes] = set()
    for item in items:
        transaction = item.signed.transaction
        if transaction.privacy_group_id != group:
            return f"it holds a transaction of another group, {transaction.privacy_group_id}"
        if item.pmt_hash in pmt_hashes:
            return f"marker 0x{item.pmt_hash.hex()} is in it twice"
        pmt_hashes.add(item.pmt_hash)
    return None
