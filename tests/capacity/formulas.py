"""What nodes, store and queue have to bear, on paper: formulas with constants that `measuring` is compared with.

Calls are JSON-RPC calls as the daemon counts them (`orchestrator_rpc_calls_total`); several travel in one request.
"""

from dataclasses import dataclass
from typing import Final

LISTING_SECONDS: Final = 60
AUDIT_BLOCKS: Final = 100
AUDIT_MOST_CALLS: Final = 6_000
BYSTANDERS: Final = 500
"""Other groups of a new member's node that one proof looks at, at most (`engine.proof.bystanders.MOST_GROUPS`)."""

ADDITION: Final = 54
"""Calls of an addition, whatever else there is: plan, forecasts, lock, addition, proof."""
OF_MEMBER: Final = 2
OF_NODE: Final = 4
"""And for each node of the network: has it the group (at a group's first change), did it refuse the addition."""
OF_BLOCK: Final = 2
"""And for each node and block in which additions are under way: what it holds, and the groups at a proof's end."""
ADDITION_BLOCKS: Final = 5
"""From asking to the proof, in blocks of 5 s."""
LANE_BLOCKS: Final = 4.2
"""For so many blocks an addition holds its lane."""
REMOVAL: Final = 15
"""Calls of a removal."""

ROWS: Final = {"changes": 1, "attempts": 2, "history": 9, "outbox": 11}
"""Rows of an addition in the store."""
UNITS: Final = 14
"""Units of work that an addition commits; each transaction of the store carries as many as wait."""
SHARED_UNITS: Final = 45
"""And those of leases, claims and publishing in the blocks that additions take, however many are at work."""
PUBLISHED: Final = 11
"""Messages that an addition publishes on the queue; one more brought the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A network, and what is asked of it.

    Attributes:
        nodes: Members' nodes that the daemon has access to, one enclave key each.
        groups: Groups.
        members: Members of each group, on average.
        changes_per_minute: Additions, each of one member.
        block_seconds: Between blocks.
    """

    nodes: int
    groups: int
    members: float
    changes_per_minute: float = 0.0
    block_seconds: float = 5.0

    @property
    def held(self) -> float:
        """Groups of one node."""
        return self.groups * self.members / self.nodes

    @property
    def per_block(self) -> float:
        """Additions that begin in one block."""
        return self.changes_per_minute * self.block_seconds / 60

    @property
    def lanes(self) -> float:
        """Lanes that are held at a time."""
        return self.per_block * LANE_BLOCKS

    @property
    def idle_calls(self) -> float:
        """Calls to all nodes for each block while nothing is asked for, without the audit.

        Each node tells each block to who looks for joins, and one node to the watch over blocks; each lists its groups
        once a minute.
        """
        return self.nodes + 1 + self.nodes * self.block_seconds / LISTING_SECONDS

    @property
    def audit_calls(self) -> float:
        """Calls of an audit of all groups: heads, one block, the lists, and a root for each member."""
        return 3 * self.nodes + self.groups * self.members

    @property
    def audit_rounds(self) -> float:
        """Audits until every group had its turn."""
        return max(1.0, self.audit_calls / AUDIT_MOST_CALLS)

    @property
    def blocks_since(self) -> float:
        """Blocks since a group's history was last looked at, on average: each costs its next addition a root.

        None do of the newest 256 that hold no transaction; where additions are many, there are few of these.
        """
        return self.groups / self.per_block if self.per_block else 0.0

    def addition_calls(self, blocks_since: float) -> float:
        """Return the calls of one addition to all nodes, without what all additions of a block share.

        Args:
            blocks_since: Blocks since the group's history was last looked at, without those that were seen to be
                empty; of the chain, at the first time.
        """
        return ADDITION + OF_MEMBER * self.members + OF_NODE * self.nodes + blocks_since

    @property
    def bystander_calls(self) -> float:
        """Calls to each node for each block with a proof's end: its other groups' roots before and after."""
        return 2 * min(BYSTANDERS, self.held)

    @property
    def calls_per_node_and_second(self) -> float:
        """Calls that one node has to bear at that rate, evenly spread."""
        block = self.idle_calls + min(self.audit_calls, AUDIT_MOST_CALLS) / AUDIT_BLOCKS
        if self.per_block:
            busy = min(1.0, self.lanes)
            block += self.per_block * self.addition_calls(self.blocks_since) + busy * OF_BLOCK * self.nodes
            # Each proof looks at the new member's node and two witnesses.
            block += min(3 * self.per_block, self.nodes) * self.bystander_calls
        return block / self.nodes / self.block_seconds


def store_bytes(changes: float, bytes_each: float) -> float:
    """Return what a store takes with so many changes in it."""
    return changes * bytes_each


def halved_history_calls(transactions: int, blocks: int) -> float:
    """Return the calls of a group's first history by halving, as a member's node that never replayed anything allows.

    Where each has replayed something, every block of the chain with a transaction counts (`scanning`).

    Args:
        transactions: Blocks of the chain in which the group has an executed transaction.
        blocks: Length of the chain.
    """
    return transactions * (1 + max(1, blocks // max(transactions, 1)).bit_length())
