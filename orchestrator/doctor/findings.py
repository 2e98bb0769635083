"""What an inspection of nodes says: findings, and what was seen of a node to come to them. Pure.

`reading` asks, `node` and `network` judge; `checks` has the table.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestrator.besu.codec.results import ClientVersion, Head, Syncing
from orchestrator.doctor.checks import CHECKS
from orchestrator.membership.besu_lines import Version

PROBED_BATCH: Final = 8
"""Requests that are sent together to see whether batches are taken: more than one look at a group has."""


class Level(StrEnum):
    """How much a finding matters; anything worse than a warning makes an inspection fail."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check.

    Attributes:
        check: One of `CHECKS`.
        level: How much it matters.
        what: What was seen, with names and numbers; never a secret.
        node: The node's name; empty when it concerns the whole network or the configuration.
        why: Why it matters; empty when all is well.
        remedy: What to do; empty when there is nothing to be done.
        copy: Lines of the remedy to write or to type as they are.
    """

    check: str
    level: Level
    what: str
    node: str = ""
    why: str = ""
    remedy: str = ""
    copy: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A question that a node did not answer as hoped.

    Attributes:
        reason: `BesuError.reason` of the failure, or "timeout".
        message: What happened, for a person.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadDelivered:
    """The first head that a subscription delivered.

    Attributes:
        block_number: Its number.
        after_seconds: How long it took.
        clock_lead_seconds: The local clock at delivery less the block's timestamp.
    """

    block_number: int
    after_seconds: float
    clock_lead_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """An account with more than one public transaction in a block.

    Attributes:
        block_number: The block.
        account: The account.
        times: How many transactions of it are in the block.
        markers: Whether one of them is a PMT.
        groups: Ids of groups with an executed transaction in the block, as far as the node that was asked has them.
    """

    block_number: int
    account: str
    times: int
    markers: bool = False
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerKeys:
    """Who signed the newest PMTs, and who is twice in one of the newest blocks.

    Attributes:
        blocks: How many blocks were looked at.
        seen: PMTs in them, of all nodes.
        own: (sender, public nonce) of the PMTs that this node made, as far as their payload shows it.
        pairs: Accounts that are twice in a block, oldest first, a bounded number.
    """

    blocks: int
    seen: int
    own: tuple[tuple[str, int], ...]
    pairs: tuple[Pair, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysSeen:
    """Which enclave keys a node acts as, or an enclave hosts, of those that were tried.

    Attributes:
        own: Of the keys that the configuration names for the node.
        foreign: Those of them that it refused.
        others: Of the keys that the configuration names for other nodes; they are tried when one was refused.
    """

    own: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclaveSeen:
    """What an enclave answered at its own address.

    Attributes:
        status: HTTP status of ``/upcheck``.
        offchain_groups: Ids of groups that it keeps itself; None when it could not be asked.
        keys: Which keys it hosts; None when it was not asked.
        is_node: Whether it answers as a Besu node does: no enclave at all.
    """

    status: int
    offchain_groups: tuple[str, ...] | None
    keys: KeysSeen | Unanswered | None = None
    is_node: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NextBlock:
    """The block that a node which stands still has to import next, as another node has it.

    Attributes:
        number: Its number.
        newest: The newest block of the node that has it.
        markers: Private transactions in it.
        additions: Those of them that bring a group's history.
        groups: Ids of the groups that are added to, as far as the other node has them.
    """

    number: int
    newest: int
    markers: int
    additions: int
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSeen:
    """What was seen of one node that answers.

    Attributes:
        name: Its name in the configuration.
        url: Its HTTP address.
        ws_url: Its WebSocket address; empty for none.
        enclave_url: Its enclave's address; empty for none.
        enclave_keys: Its keys in the configuration.
        seen_at: The local clock when the head was read, seconds since 1970.
        client: What it says that it is.
        configured_version: What the configuration says that it runs; None when that is left to the node.
        most_in_batch: How many requests it was found to take at once.
        distributes: True when it takes the method by which private transactions are distributed.
        chain_id: Its chain id.
        genesis: Hash of block 0.
        api_groups: JSON-RPC groups over HTTP, in lower case.
        find_method: Name of the find method that it has.
        groups: Ids of the groups that it has with one of its keys.
        foreign_groups: Those of them (a bounded number was looked at) whose contract this version does not extend.
        offchain_answered: True when an offchain group method answered.
        validator: Whether it makes blocks.
        peers: Connected nodes.
        syncing: How far it is behind, by its own word; None when it is not.
        head: Its newest block.
        block_seconds: Mean time between its newest blocks; None when it can't be told.
        gas_price: The price that it wants, in wei.
        base_fee: Of the newest block, in wei; None where there is none.
        markers: Who signed the newest PMTs.
        subscription: The first head over WebSocket; None when no address is configured.
        enclave: What its enclave answered; None when no address is configured.
        keys: Which of the configured keys it acts as.
        tenant: Whether it is asked with a token: it then acts as that token's key alone.
        identity: Its own address on the network.
        socket_identity: The address of the node at the WebSocket address; None when none is configured.
    """

    name: str
    url: str
    ws_url: str
    enclave_url: str
    enclave_keys: tuple[str, ...]
    seen_at: float
    client: ClientVersion | Unanswered
    configured_version: Version | None
    most_in_batch: int | Unanswered
    distributes: bool | Unanswered
    chain_id: int | Unanswered
    genesis: str | Unanswered
    api_groups: frozenset[str] | Unanswered
    find_method: str | Unanswered
    groups: tuple[str, ...] | Unanswered
    foreign_groups: tuple[str, ...] | Unanswered
    offchain_answered: bool | Unanswered
    validator: bool | Unanswered
    peers: int | Unanswered
    syncing: Syncing | Unanswered | None
    head: Head
    block_seconds: float | None
    gas_price: int | Unanswered
    base_fee: int | Unanswered | None
    markers: MarkerKeys | Unanswered
    subscription: HeadDelivered | Unanswered | None
    enclave: EnclaveSeen | Unanswered | None
    keys: KeysSeen | Unanswered
    tenant: bool
    identity: str | Unanswered
    socket_identity: str | Unanswered | None

    @property
    def version(self) -> Version | None:
        """The version of Besu to go by; None when nobody says it."""
        if self.configured_version is not None:
            return self.configured_version
        return None if isinstance(self.client, Unanswered) else self.client.version


@dataclass(frozen=True, slots=True)
class NodeSilent:
    """A node that does not answer at all.

    Attributes:
        name: Its name in the configuration.
        url: Its HTTP address.
        cause: Why.
    """

    name: str
    url: str
    cause: Unanswered


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the daemon's configuration expects of nodes.

    Attributes:
        gas_price: Of private transactions, in wei; their PMTs copy it.
        head_within_seconds: How long a subscription may take to deliver a head.
        old_head_seconds: From this age on a head is old, however slow the chain was before.
        clock_skew_seconds: Clocks that differ by more are reported.
    """

    gas_price: int = 0
    head_within_seconds: float = 15.0
    old_head_seconds: float = 60.0
    clock_skew_seconds: float = 15.0


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings node by node (the network's own last), each node's in the order of `CHECKS`."""
    place = {slug: index for index, slug in enumerate(CHECKS)}
    return tuple(sorted(findings, key=lambda finding: (not finding.node, finding.node, place[finding.check])))


def is_healthy(findings: Iterable[Finding]) -> bool:
    """Return whether nothing is worse than a warning."""
    return all(finding.level is not Level.ERROR for finding in findings)
