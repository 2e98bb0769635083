"""Which account and public nonce a marker transaction gets, and how concurrent sends lose one. Pure.

Source: docs/besu.md#nonces: a node with a fixed marker key gives public nonces out without a lock; of 10 sends at the
same time 3 were never mined.
"""

from typing import Final

from orchestrator.devnet.chain.marker_signatures import marker_account
from orchestrator.devnet.chain.public_signatures import SigningAccount
from orchestrator.devnet.network.network import Network
from orchestrator.devnet.nodes.node import Node

RACE_CHANCE_PERCENT: Final = 30


class MarkerPlace:
    """The place of one marker: held from the start of a submission to its end, so that overlapping ones are seen.

    Attributes:
        account: the node's fixed key; None when every marker has a key of its own.
    """

    def __init__(self, network: Network, node: Node) -> None:
        self._network = network
        self._node = node
        self._overlaps = node.sends_under_way > 0
        self.account = network.marker_accounts.get(node.number)
        node.sends_under_way += 1

    def leave(self) -> None:
        """The submission is at its end."""
        self._node.sends_under_way -= 1

    def take(self) -> tuple[SigningAccount, int]:
        """Choose the account and the public nonce."""
        if self.account is None:
            return marker_account(self._network.draw(b"marker key")), 0
        address = self.account.address
        mined = self._network.chain.account(address, self._node.head.number).account_nonce
        account_nonce = self._network.pool.of(self._node).next_account_nonce(address, mined)
        loses = int.from_bytes(self._network.draw(b"race")[:4]) % 100 < RACE_CHANCE_PERCENT
        if self._overlaps and loses and account_nonce > mined:
            # It read the nonce before the send that it overlaps had taken it, and pushes that one out of the pool.
            account_nonce -= 1
        return self.account, account_nonce
