"""Private nonces that were read along with something else, kept until they are used or a block later.

Between our lock and our addition no other transaction of the group can execute, and the node that shows the lock at a
block shows the private nonce of that block, too: reading both at once saves a round trip inside the lock window.
"""

from dataclasses import dataclass, field

MOST_NONCES = 10_000


@dataclass(frozen=True, slots=True)
class NonceBook:
    """What is known of private nonces at the nodes' present heads."""

    _known: dict[tuple[str, str, str], tuple[str, int]] = field(default_factory=dict)

    def remember(self, node: str, privacy_group_id: str, account: str, block_hash: str, private_nonce: int) -> None:
        """Keep a private nonce.

        Args:
            node: Name of the node that it was read at.
            privacy_group_id: The group.
            account: The account.
            block_hash: The node's head when the question was put.
            private_nonce: The answer.
        """
        if len(self._known) >= MOST_NONCES:
            del self._known[next(iter(self._known))]
        self._known[node, privacy_group_id, account] = (block_hash, private_nonce)

    def take(self, node: str, privacy_group_id: str, account: str, block_hash: str) -> int | None:
        """Return a private nonce if it was read at this head, and forget it; None when it has to be read."""
        # Once only: what it is used for uses it up.
        read_at, private_nonce = self._known.pop((node, privacy_group_id, account), ("", 0))
        return private_nonce if read_at == block_hash else None
