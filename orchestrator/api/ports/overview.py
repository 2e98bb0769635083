"""What the API tells at a glance, and who looks: what needs a person, and how the nodes are."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from orchestrator.membership.news.attention import Need


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStanding:
    """How a configured node is now.

    Attributes:
        name: Its name.
        enclave_keys: The keys that it hosts.
        answers: Whether it answered just now.
        trouble: Why it did not, or why it isn't asked; empty when it did.
        head: Its newest block, as far as it was ever seen.
        behind: By how many blocks it is behind the newest head that two nodes confirm; negative when it is ahead.
        subscribed: Whether its heads come by WebSocket.
        milliseconds: How long it took to tell its head.
        besu_version: Its version; empty while that isn't known.
        validator: Whether it makes blocks; None when it can't be told.
        notes: What is to be known of that version.
    """

    name: str
    enclave_keys: tuple[str, ...]
    answers: bool
    trouble: str = ""
    head: int | None = None
    behind: int | None = None
    subscribed: bool = False
    milliseconds: float | None = None
    besu_version: str = ""
    validator: bool | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """What needs a person, of the groups that were asked about.

    Attributes:
        at: When that was looked at.
        needs: The most urgent first; a bounded number.
        total: How many there are.
    """

    at: datetime
    needs: tuple[Need, ...]
    total: int


class OverviewReader(Protocol):
    """Looks at everything at once; fulfilled by `orchestrator.api.resources.overview_reads.Overview`."""

    async def attention(self, within: frozenset[str] | None = None) -> Attention:
        """Return what needs a person.

        Args:
            within: Only these groups, and what is of none; None for all.

        Raises:
            StoreError: The store does not answer.
        """

    async def nodes(self) -> tuple[NodeStanding, ...]:
        """Return how each configured node is; bounded in time."""
