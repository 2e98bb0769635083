"""The enclaves: one a node, each holding keys and the payloads that were sent to them. Pure; time is a parameter."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from eth_hash.auto import keccak

from orchestrator.besu.codec.bundles import BundleItem, encode_bundle
from orchestrator.besu.codec.private_transaction import SignedPrivateTransaction
from orchestrator.devnet.enclaves.kinds import DEFAULT_TERMS, ORION, EnclaveKind, EnclaveTerms, SendRefusedError


@dataclass(frozen=True, slots=True)
class TransactionPayload:
    """A private transaction with the group's version that its sender saw."""

    signed: SignedPrivateTransaction
    version: bytes


@dataclass(frozen=True, slots=True)
class HistoryPayload:
    """A group's history as its sender's node had it, for new members to replay; whole unless that node was damaged."""

    records: tuple[BundleItem, ...]

    @property
    def text_bytes(self) -> int:
        """How large it is as an enclave keeps it: the base64 text that Besu hands over."""
        return -(-len(encode_bundle(self.records)) // 3) * 4


Payload: TypeAlias = TransactionPayload | HistoryPayload


class EnclaveDownError(Exception):
    """An enclave does not answer the node that asks it.

    Attributes:
        seconds: the node has waited so long then.
    """

    def __init__(self, message: str, seconds: float = 0.0) -> None:
        super().__init__(message)
        self.seconds = seconds


class Condition(StrEnum):
    """How an enclave is."""

    UP = "up"
    FROZEN = "frozen"
    """It takes connections and answers nothing: who asks it waits."""
    KILLED = "killed"
    """Its process is gone: connections are refused."""
    FAILING = "failing"
    """It answers every request with an error, as without its database."""


class Enclave:
    """One enclave.

    Attributes:
        keys: enclave keys, base64, that it hosts.
        kind: Orion or Tessera.
        condition: how it is; `EnclaveNetwork.set_condition` changes it.
        slow_seconds: what each of its answers takes.
        lost: keys of payloads that were sent to it and that it has no more.
        forgotten: other enclaves that it has lost sight of, and since when.
        away_since: when it last stopped answering.
        back_since: when it last began to answer again; None while it never was away.
        restarted_at: when it was last started again.
        thaws_at: when it goes on by itself after it was frozen; None: not before somebody lets it.
    """

    def __init__(self, keys: Sequence[str], kind: EnclaveKind = ORION) -> None:
        self.keys = tuple(keys)
        self.kind = kind
        self.condition = Condition.UP
        self.slow_seconds = 0.0
        self.lost: set[bytes] = set()
        self.forgotten: dict[Enclave, float] = {}
        self.away_since = 0.0
        self.back_since: float | None = None
        self.restarted_at: float | None = None
        self.thaws_at: float | None = None

    @property
    def up(self) -> bool:
        """Whether it answers."""
        return self.condition is Condition.UP


class EnclaveNetwork:
    """All enclaves of the devnet, and the payloads between them.

    A payload is kept once and its recipients are remembered, which an enclave cannot tell from a copy of its own.

    Args:
        enclaves: all of them.
        now: seconds of the network's clock.
        terms: what they have in common.

    Attributes:
        wait_seconds: how long a node waits for its enclave.
        on_send: called with sender, recipients and payload of everything that was sent.
    """

    def __init__(
        self,
        enclaves: Iterable[Enclave],
        now: Callable[[], float] = lambda: 0.0,
        terms: EnclaveTerms = DEFAULT_TERMS,
    ) -> None:
        self._all = tuple(enclaves)
        self._host = {key: enclave for enclave in self._all for key in enclave.keys}
        self._payloads: dict[bytes, tuple[frozenset[str], Payload, str]] = {}
        self._sent = 0
        self._now = now
        self._terms = terms
        self.wait_seconds = terms.wait_seconds
        self.on_send: Callable[[str, tuple[str, ...], Payload], None] | None = None

    def set_condition(self, enclave: Enclave, condition: Condition) -> None:
        """Let an enclave fail, or come back; one that was killed starts anew."""
        if enclave.condition is condition:
            return
        now = self._now()
        if enclave.up:
            enclave.away_since = now
        else:
            for other in self._all:
                self._note_absence(other, enclave, now)
        if condition is Condition.UP:
            enclave.back_since = now if enclave.thaws_at is None else min(now, enclave.thaws_at)
        if enclave.condition is Condition.KILLED:
            enclave.restarted_at = now
            enclave.forgotten.clear()
        enclave.condition = condition
        enclave.thaws_at = None

    def thaw(self) -> tuple[list[Enclave], float | None]:
        """Return the enclaves that are to go on by now, and when the next ones do."""
        due = {enclave: enclave.thaws_at for enclave in self._all if enclave.thaws_at is not None}
        now = self._now()
        later = [at for at in due.values() if at > now]
        return [enclave for enclave, at in due.items() if at <= now], min(later, default=None)

    def send(
        self,
        sender: Enclave,
        sender_key: str,
        recipients: Iterable[str],
        payload: Payload,
        after_seconds: float = 0.0,
    ) -> tuple[bytes, float]:
        """Distribute a payload; return its key, 32 bytes, of which each send has its own, and the seconds that it took.

        It begins after so many seconds from now, in which the node waited for an answer before.

        Raises:
            EnclaveDownError: the sender's enclave does not answer its node in time.
            SendRefusedError: it answers with an error.
        """
        self._check_answers(sender)
        if sender_key not in sender.keys:
            raise SendRefusedError(*sender.kind.foreign_sender)
        audience = frozenset((sender_key, *recipients))
        peers = dict.fromkeys(self._known_host(sender, key) for key in sorted(audience))
        seconds = sender.slow_seconds
        for peer in peers:
            if peer is not sender:
                seconds = max(seconds, self._push(sender, peer, self._now() + after_seconds))
        if seconds >= self.wait_seconds:
            raise EnclaveDownError("the enclave does not answer in time", self.wait_seconds)
        self._check_size(sender, payload)
        self._sent += 1
        payload_key = keccak(b"payload %d " % self._sent + sender_key.encode("ascii"))
        self._payloads[payload_key] = (audience, payload, sender_key)
        if self.on_send is not None:
            self.on_send(sender_key, tuple(sorted(audience)), payload)
        return payload_key, seconds

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

    def known_keys(self, enclave: Enclave) -> tuple[tuple[str, Enclave], ...]:
        """The keys that an enclave knows a host of, with the host; what Tessera answers to ``/partyinfo/keys``."""
        return tuple((key, host) for key, host in self._host.items() if self._knows(enclave, host))

    def _check_answers(self, sender: Enclave) -> None:
        match sender.condition:
            case Condition.KILLED:
                raise EnclaveDownError("the node's own enclave refuses connections")
            case Condition.FROZEN:
                raise EnclaveDownError("the node's own enclave does not answer", self.wait_seconds)
            case Condition.FAILING:
                raise EnclaveDownError("the node's own enclave answers with an error")

    def _known_host(self, sender: Enclave, key: str) -> Enclave:
        host = self._host.get(key)
        if host is None or not self._knows(sender, host):
            status, said = sender.kind.unknown_recipient
            raise SendRefusedError(status, said + key[:128] if sender.kind.names_key else said)
        return host

    def _knows(self, enclave: Enclave, other: Enclave) -> bool:
        if other is enclave:
            return True
        now = self._now()
        meets_seconds = self._meets_seconds(enclave)
        if enclave.restarted_at is not None and now < enclave.restarted_at + meets_seconds:
            return False
        if other.condition in (Condition.UP, Condition.FAILING):
            since = max(enclave.forgotten.get(other, now), other.back_since or 0.0)
            if now >= since + meets_seconds:
                enclave.forgotten.pop(other, None)
        else:
            self._note_absence(enclave, other, now)
        return other not in enclave.forgotten

    def _meets_seconds(self, enclave: Enclave) -> float:
        own = self._terms.meets_seconds
        return enclave.kind.meets_seconds if own is None else own

    def _note_absence(self, enclave: Enclave, other: Enclave, now: float) -> None:
        absent = other.condition in (Condition.KILLED, Condition.FROZEN)
        kind = enclave.kind
        if other is not enclave and kind.forgets_peers and absent and now >= other.away_since + kind.notices_seconds:
            enclave.forgotten.setdefault(other, now)

    def _push(self, sender: Enclave, peer: Enclave, now: float) -> float:
        """Hand a payload to another enclave; return what that took."""
        patience = sender.kind.peer_patience * self.wait_seconds
        if peer.condition is Condition.FAILING:
            raise SendRefusedError(*sender.kind.unpropagated)
        if peer.up and peer.slow_seconds < patience:
            return peer.slow_seconds
        if peer.thaws_at is not None and peer.thaws_at - now < patience:
            return max(peer.thaws_at - now, 0.0)
        if sender.kind.forgets_peers:
            sender.forgotten[peer] = now
        if peer.condition is Condition.KILLED:
            raise SendRefusedError(*sender.kind.offline)
        if patience >= self.wait_seconds:
            raise EnclaveDownError("the enclave waits for another one", self.wait_seconds)
        raise SendRefusedError(*sender.kind.offline, patience)

    def _check_size(self, sender: Enclave, payload: Payload) -> None:
        own = self._terms.bundle_limit_bytes
        limit = sender.kind.bundle_limit_bytes if own is None else own
        if limit and isinstance(payload, HistoryPayload) and payload.text_bytes > limit:
            seconds = sender.kind.limit_patience * self.wait_seconds
            raise SendRefusedError(500, f"A value of {payload.text_bytes} bytes is too long", seconds)
