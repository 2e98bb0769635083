"""One private transaction of a change and the one marker that carries it.

Frozen, as all that the rules speak of: a step makes a new value. Blocks are numbers on the public chain.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class Action(StrEnum):
    """The intent of one private transaction to the management contract."""

    CREATE = "create"
    LOCK = "lock"
    ADD = "add"
    REMOVE = "remove"
    UNLOCK = "unlock"


class AttemptStatus(StrEnum):
    """What is known of an attempt."""

    SIGNED = "signed"
    """Distributed, signed and stored; no node has taken its marker so far, for all we know."""
    SENT = "sent"
    """A node has its marker, or may have it: it can be mined."""
    EFFECTIVE = "effective"
    """Its own private receipt says that it executed, and the group's state shows it."""
    VOID = "void"
    """Its marker was mined without effect, or never reached a node."""
    BURNT = "burnt"
    """Another transaction took its marker's account nonce: the marker can never be mined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """The one public transaction that may carry an attempt: who signs it knows its hash before it is sent.

    Its account signs nothing else under this nonce, so that no second marker of the attempt can ever be mined, and a
    transaction of the same account and nonce takes it back (docs/besu.md#markers).

    Attributes:
        account: The one-time account, or one of the configured marker accounts.
        account_nonce: Its nonce on the public chain; 0 of a one-time account.
        key: The private key of a one-time account, 32 bytes. It guards nothing: the account holds no funds and signs
            one transaction. Empty for a configured account, whose key stays where the configuration has it.
        payload_key: What the distribution was answered with: 32 bytes, 64 for an addition to a group with history.
        gas_limit: Of the marker.
        gas_price: In wei.
        chain_id: What its signature is bound to.
        raw: The signed bytes for ``eth_sendRawTransaction``.
        pmt_hash: Their hash.
    """

    account: str
    account_nonce: int = 0
    key: bytes = field(repr=False)
    payload_key: bytes
    gas_limit: int
    gas_price: int
    chain_id: int
    raw: bytes
    pmt_hash: str

    @property
    def ours(self) -> bool:
        """Whether we signed it; see `NODE_MARKER`."""
        return bool(self.raw)


NODE_MARKER = Marker(account="", key=b"", payload_key=b"", gas_limit=0, gas_price=0, chain_id=0, raw=b"", pmt_hash="")
"""The marker of an addition on Besu before 21.10.2, where only a send bundles the history: the node signs it with a key
of its own, so that its hash is known from the answer alone, and nobody can take it back (docs/besu.md#markers)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One signed private transaction and its one marker: written before it is sent, given up only when mined or burnt.

    Attributes:
        attempt_id: Unique.
        action: Its intent.
        members: The enclave keys that it adds or removes.
        node: Name of the node that distributed it (its private nonce was read there).
        private_nonce: Private nonce of (account, group).
        raw: The signed bytes of the private transaction.
        since_block: That node's head when it was signed: its marker is in no older block.
        marker: Its marker.
        renewed: Hashes of the same marker with less gas, oldest first: of all of them one can be mined.
        sent_block: The head at the newest broadcast; None while no node can have the marker.
        seen_block: The newest block up to which the marker is known to be unmined.
        status: See `AttemptStatus`.
    """

    attempt_id: str
    action: Action
    members: tuple[str, ...]
    node: str
    private_nonce: int
    raw: bytes
    since_block: int
    marker: Marker
    renewed: tuple[str, ...] = ()
    sent_block: int | None = None
    seen_block: int | None = None
    status: AttemptStatus = AttemptStatus.SIGNED

    @property
    def live(self) -> bool:
        """Whether it may still execute."""
        return self.status in (AttemptStatus.SIGNED, AttemptStatus.SENT)

    @property
    def pmt_hashes(self) -> tuple[str, ...]:
        """Every hash under which its marker can be mined, as far as they are known."""
        return tuple(pmt_hash for pmt_hash in (*self.renewed, self.marker.pmt_hash) if pmt_hash)
