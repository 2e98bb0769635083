"""What an inspection of nodes says: findings, and what was seen of a node to come to them. Pure.

`inspection_reading` asks, `inspection_node` and `inspection_network` judge. Each check has a slug that stays, and an
entry in ``docs/operations.md``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestrator.besu.results import ClientVersion, Head, Syncing
from orchestrator.besu.versions import Version

CHECKS: Final = (
    "reachable",
    "batches",
    "chain-id",
    "version",
    "api-groups",
    "distribution",
    "subscriptions",
    "flexible-groups",
    "offchain-methods",
    "find-method",
    "group-dialect",
    "receives-groups",
    "peers",
    "head-age",
    "clock-skew",
    "sync",
    "gas-price",
    "pmt-key",
    "enclave",
    "offchain-groups",
    "same-chain",
    "chain-before",
    "mixed-versions",
    "head-spread",
    "account-key",
    "owned-groups",
    "store",
    "store-clock",
    "queue",
    "events",
    "message-limit",
    "secrets",
    "disk",
    "replayable-blocks",
    "extendable-groups",
    "repeated-additions",
    "early-access",
    "enclave-log",
)
"""The slugs of all checks, in the order in which findings are shown."""


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
    """

    check: str
    level: Level
    what: str
    node: str = ""
    why: str = ""
    remedy: str = ""


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
class MarkerKeys:
    """Who signed the newest PMTs.

    Attributes:
        blocks: How many blocks were looked at.
        seen: PMTs in them, of all nodes.
        own: (sender, public nonce) of the PMTs that this node made, as far as their payload shows it.
    """

    blocks: int
    seen: int
    own: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnclaveSeen:
    """What an enclave answered at its own address.

    Attributes:
        status: HTTP status of ``/upcheck``.
        offchain_groups: Ids of groups that it keeps itself; None when it could not be asked.
    """

    status: int
    offchain_groups: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSeen:
    """What was seen of one node that answers.

    Attributes:
        name: Its name in the configuration.
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
        base_fee: Of the newest block, in wei; 0 where there is none.
        markers: Who signed the newest PMTs.
        subscription: The first head over WebSocket; None when no address is configured.
        enclave: What its enclave answered; None when no address is configured.
    """

    name: str
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
    base_fee: int | Unanswered
    markers: MarkerKeys | Unanswered
    subscription: HeadDelivered | Unanswered | None
    enclave: EnclaveSeen | Unanswered | None

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
