"""Payloads and answers of an enclave as they are in its JSON. Pure.

Source: docs/besu.md#enclave-interface; Besu 23.10.3, Enclave, VersionedPrivateTransaction; Orion 21.1.1 and Tessera
22.1.1, the resources that answer Besu.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

import rlp

from orchestrator.besu.codec.bundles import InvalidBundleError, decode_bundle, encode_bundle, is_bundle
from orchestrator.besu.codec.private_transaction import InvalidPrivateTransactionError, decode_private_transaction
from orchestrator.devnet.enclaves.enclave import HistoryPayload, Payload, TransactionPayload
from orchestrator.devnet.enclaves.kinds import EnclaveKind, SendRefusedError

MOST_TRANSACTIONS: Final = 1_000_000
_VERSION_BYTES: Final = 32


class InvalidPayloadError(ValueError):
    """The text is no payload that Besu sends."""


@dataclass(frozen=True, slots=True)
class EnclaveReply:
    """What an enclave answers over HTTP.

    Attributes:
        status: HTTP status.
        body: JSON, or plain text.
    """

    status: int
    body: dict[str, Any] | list[Any] | str


def payload_text(payload: Payload) -> str:
    """Write a payload as it stands in the JSON of an enclave: base64 of the text that Besu handed over."""
    if isinstance(payload, HistoryPayload):
        content = encode_bundle(payload.records)
    else:
        content = bytes(rlp.encode([rlp.decode(payload.signed.raw), payload.version]))
    return base64.b64encode(base64.b64encode(content)).decode("ascii")


def payload_of(text: Any) -> Payload:
    """Read a payload.

    Raises:
        InvalidPayloadError: it is none.
    """
    try:
        content = base64.b64decode(base64.b64decode(text, validate=True), validate=True)
        if is_bundle(content[:32]):
            return HistoryPayload(decode_bundle(content, MOST_TRANSACTIONS))
        raw, version = rlp.decode(content)
        if not isinstance(version, bytes) or len(version) != _VERSION_BYTES:
            raise InvalidPayloadError("the version of a private transaction has 32 bytes")
        return TransactionPayload(decode_private_transaction(bytes(rlp.encode(raw))), version)
    except (
        binascii.Error,
        TypeError,
        ValueError,
        rlp.exceptions.RLPException,
        InvalidBundleError,
        InvalidPrivateTransactionError,
    ) as error:
        raise InvalidPayloadError(f"the payload is none of Besu's ({type(error).__name__})") from error


def refused(kind: EnclaveKind, error: SendRefusedError) -> EnclaveReply:
    """The answer to a send that the enclave refuses."""
    return EnclaveReply(error.status, {"error": error.said} if kind.writes_json else error.said)


def not_found(kind: EnclaveKind, key: str) -> EnclaveReply:
    """The answer to who asks for a payload that the enclave doesn't have."""
    said = kind.not_found.format(key=key[:64])
    return EnclaveReply(404, {"error": said} if kind.writes_json else said)


def failed(kind: EnclaveKind) -> EnclaveReply:
    """What an enclave answers to everything while it can't reach its database."""
    said = "Could not open connection"
    return EnclaveReply(500, {"error": said} if kind.writes_json else said)
