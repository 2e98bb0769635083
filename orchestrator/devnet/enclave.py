"""The enclaves: one a node, each holding keys and the payloads that were sent to them. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from eth_hash.auto import keccak

from orchestrator.besu.bundles import BundleItem
from orchestrator.besu.private_transaction import SignedPrivateTransaction


@dataclass(frozen=True, slots=True)
class TransactionPayload:
    """A private transaction with the group's version that its sender saw."""

    signed: SignedPrivateTransaction
    version: bytes


@dataclass(frozen=True, slots=True)
class HistoryPayload:
    """A group's history as its sender's node had it, for new members to replay; whole unless that node was damaged."""

    records: tuple[BundleItem, ...]


Payload: TypeAlias = TransactionPayload | HistoryPayload


class UnknownRecipientError(Exception):
    """No enclave of the network hosts one of the keys."""


class NotOurKeyError(Exception):
    """The sender's key is hosted elsewhere."""


class EnclaveDownError(Exception):
    """The enclave, or one that it must reach, does not answer."""


class Enclave:
    """One enclave.

    Attributes:
        keys: enclave keys, base64, that it hosts.
        up: whether it answers.
        lost: keys of payloads that were sent to it and that it has no more.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = tuple(keys)
        self.up = True
        self.lost: set[bytes] = set()


class EnclaveNetwork:
    """All enclaves of the devnet, and the payloads between them.

    A payload is kept once and its recipients are remembered, which an enclave cannot tell from a copy of its own.

    Attributes:
        on_send: called with sender, recipients and payload of everything that was sent.
    """

    def __init__(self, enclaves: Iterable[Enclave]) -> None:
        self._host = {key: enclave for enclave in enclaves for key in enclave.keys}
        self._payloads: dict[bytes, tuple[frozenset[str], Payload, str]] = {}
        self._sent = 0
        self.on_send: Callable[[str, tuple[str, ...], Payload], None] | None = None

    def send(self, sender: Enclave, sender_key: str, recipients: Iterable[str], payload: Payload) -> bytes:
        """Distribute a payload and return its key, 32 bytes; each send has its own.

        Raises:
            EnclaveDownError: the sender's enclave or a recipient's does not answer.
            NotOurKeyError: the sender's key is not hosted by the sender's enclave.
            UnknownRecipientError: a recipient's key is hosted by no enclave.
        """
        if not sender.up:
            raise EnclaveDownError("the node's own enclave does not answer")
        if sender_key not in sender.keys:
            raise NotOurKeyError(f"the enclave has no private key for {sender_key}")
        audience = frozenset((sender_key, *recipients))
        for key in audience:
            if key not in self._host:
                raise UnknownRecipientError(f"no enclave hosts {key}")
        if not all(self._host[key].up for key in audience):
            raise EnclaveDownError("the enclave of a recipient does not answer")
        self._sent += 1
        payload_key = keccak(b"payload %d " % self._sent + sender_key.encode("ascii"))
        self._payloads[payload_key] = (audience, payload, sender_key)
        if self.on_send is not None:
            self.on_send(sender_key, tuple(sorted(audience)), payload)
        return payload_key

    def receive(self, enclave: Enclave, payload_key: bytes, key: str | None = None) -> Payload | None:
        """Read a payload as one of the enclave's keys (None: any of them); None when it was not sent to it.

        Raises:
            EnclaveDownError: the enclave does not answer.
        """
        if not enclave.up:
            raise EnclaveDownError("the node's own enclave does not answer")
        found = self._payloads.get(payload_key)
        if found is None or payload_key in enclave.lost:
            return None
        audience, payload, _ = found
        readers = enclave.keys if key is None else (key,) if key in enclave.keys else ()
        return payload if any(reader in audience for reader in readers) else None

    def sender_of(self, payload_key: bytes) -> tuple[str, tuple[str, ...]]:
        """The key that sent a payload, and all keys that may read it."""
        audience, _, sender_key = self._payloads[payload_key]
        return sender_key, tuple(sorted(audience))
