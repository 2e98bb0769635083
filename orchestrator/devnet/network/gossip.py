"""The nodes' pools and what goes between them: every node has a pool of its own. Pure; time is a parameter.

Source: docs/besu.md#markers: what a peer is known to have is not sent to it again; peers hand
their whole pools over when they connect, so a node that is restarted alone has a transaction back, and only a restart
of all nodes forgets it; what two pools hold at one place may differ, and then the proposer's counts.
"""

import heapq
from collections.abc import Callable, Iterable
from typing import Final

from orchestrator.devnet.chain.admission import AdmissionTerms, check_admission
from orchestrator.devnet.chain.chain import Chain
from orchestrator.devnet.chain.public_transaction import PublicTransaction
from orchestrator.devnet.chain.transaction_pool import PoolFullError, TransactionPool, Waiting
from orchestrator.devnet.errors import RpcError
from orchestrator.devnet.nodes.node import Node
from orchestrator.devnet.versions import BesuBehaviour

MAX_REMEMBERED: Final = 20_000
"""Transactions of which it is remembered who has them, and accounts that sent through a node; the oldest go."""


class NodePools:
    """The pools of all nodes.

    Attributes:
        delay_seconds: what a transaction takes from one node to another.
        on_change: called with a node's number, transactions, and whether they left its pool.
    """

    def __init__(
        self,
        nodes: Iterable[Node],
        chain: Chain,
        *,
        behaviour: Callable[[], BesuBehaviour],
        terms: Callable[[Node], AdmissionTerms],
        delay_seconds: float,
    ) -> None:
        self.delay_seconds = delay_seconds
        self.on_change: Callable[[int, list[PublicTransaction], bool], None] | None = None
        self._nodes = {node.number: node for node in nodes}
        self._chain = chain
        self._behaviour = behaviour
        self._terms = terms
        self._pools = {number: TransactionPool() for number in self._nodes}
        self._connected = set(self._nodes)
        self._local_senders: dict[int, dict[str, None]] = {number: {} for number in self._nodes}
        self._known_to: dict[bytes, set[int]] = {}
        self._under_way: list[tuple[float, int, int, int, PublicTransaction, int]] = []
        self._sent = 0
        self._now = 0.0

    def of(self, node: Node) -> TransactionPool:
        """The pool of one node."""
        return self._pools[node.number]

    def pending(self) -> list[PublicTransaction]:
        """What waits in any pool and can still be mined, each once, in order of arrival."""
        found = {entry.transaction.hash: entry.transaction for pool in self._pools.values() for entry in pool.entries()}
        return [
            transaction
            for transaction in found.values()
            if transaction.account_nonce >= self._chain.account(transaction.sender).account_nonce
        ]

    def submit(self, node: Node, transaction: PublicTransaction) -> None:
        """Take a transaction through a node's API and let its peers have it.

        Raises:
            RpcError: as the node answers who sent it.
            PoolFullError: too many wait.
        """
        if transaction.hash in self._pools[node.number]:
            raise RpcError(-32000, "Known transaction")
        self._take(node, transaction, origin=node.number)
        if self._terms(node).min_gas_price_wei:
            # Besu lets an account that sent through this node's API pay less from then on, wherever it sends.
            self._remember_sender(node, transaction.sender)
        self._announce(node.number, transaction, origin=node.number)
        self.advance(self._now)

    def connect(self, node: Node, connected: bool, *, forget: bool = False) -> None:
        """Connect a node to its peers or cut it off; ``forget`` empties its pool as a restart does."""
        number = node.number
        if forget:
            self._pools[number].clear()
            self._local_senders[number].clear()
        if connected is (number in self._connected):
            return
        for known_to in self._known_to.values():
            known_to.discard(number)
        self._under_way = [item for item in self._under_way if number not in item[2:4]]
        heapq.heapify(self._under_way)
        if not connected:
            self._connected.discard(number)
            return
        handed_over = [
            (one, other, entry)
            for peer in sorted(self._connected)
            for one, other in ((number, peer), (peer, number))
            for entry in self._pools[one].entries()
        ]
        self._connected.add(number)
        for one, other, entry in handed_over:
            # A new connection knows nothing of what the old one carried: even what was replaced meanwhile is sent.
            self._known_to.get(entry.transaction.hash, set()).discard(other)
            self._send(one, other, entry.transaction, entry.origin)
        self.advance(self._now)

    def advance(self, now: float) -> float | None:
        """Deliver what is due by ``now`` (seconds); return when the next is, None when nothing is under way."""
        self._now = max(now, self._now)
        while self._under_way and self._under_way[0][0] <= self._now:
            _, _, _, to, transaction, origin = heapq.heappop(self._under_way)
            pool = self._pools[to]
            if transaction.hash in pool:
                continue
            try:
                self._take(self._nodes[to], transaction, origin=origin)
            except (RpcError, PoolFullError):
                continue
            self._announce(to, transaction, origin=origin)
        return self._under_way[0][0] if self._under_way else None

    def mined(self, node: Node, transactions: Iterable[PublicTransaction]) -> None:
        """A node imported a block: what waits at the places of its transactions is gone."""
        pool = self._pools[node.number]
        for transaction in transactions:
            pool.remove(transaction.place)

    def put_back(self, transactions: Iterable[PublicTransaction]) -> None:
        """Return transactions of blocks that were reorganised away to every pool."""
        kept = list(transactions)
        for number, pool in self._pools.items():
            pool.put_back(Waiting(transaction, number) for transaction in kept)

    def clear(self) -> list[PublicTransaction]:
        """Empty every pool and return what waited; it may be sent again."""
        dropped = self.pending()
        for number, pool in self._pools.items():
            gone = [entry.transaction for entry in pool.entries()]
            pool.clear()
            self._tell(number, gone, dropped=True)
        self._known_to.clear()
        self._under_way.clear()
        return dropped

    def _take(self, node: Node, transaction: PublicTransaction, *, origin: int) -> None:
        behaviour, terms = self._behaviour(), self._terms(node)
        account = self._chain.account(transaction.sender, node.head.number)
        local = origin == node.number
        has_priority = node.is_validator and (local or transaction.sender in self._local_senders[node.number])
        check_admission(transaction, account, terms, has_priority=has_priority)
        unpriced = behaviour.shelves_unpriced and transaction.gas_price <= terms.min_gas_price_wei
        # Without a base fee only what has priority in a pool is taken from it at the least price (Besu 24.5.0,
        # GasPricePrioritizedTransactions); with one, what first went through a follower was measured to stay.
        prioritised = self._nodes[origin].is_validator if behaviour.base_fee else has_priority and terms.local_priority
        shelved = unpriced and not prioritised
        replaced = self._pools[node.number].add(Waiting(transaction, origin, shelved), account, behaviour)
        if replaced is not None:
            self._tell(node.number, [replaced], dropped=True)
        self._tell(node.number, [transaction], dropped=False)

    def _remember_sender(self, node: Node, sender: str) -> None:
        senders = self._local_senders[node.number]
        senders[sender] = None
        if len(senders) > MAX_REMEMBERED:
            del senders[next(iter(senders))]

    def _announce(self, number: int, transaction: PublicTransaction, *, origin: int) -> None:
        if number in self._connected:
            for peer in sorted(self._connected - {number}):
                self._send(number, peer, transaction, origin)

    def _send(self, number: int, peer: int, transaction: PublicTransaction, origin: int) -> None:
        known_to = self._known_to.setdefault(transaction.hash, set())
        if len(self._known_to) > MAX_REMEMBERED:
            del self._known_to[next(iter(self._known_to))]
        known_to.add(number)
        if peer in known_to:
            return
        known_to.add(peer)
        self._sent += 1
        heapq.heappush(self._under_way, (self._now + self.delay_seconds, self._sent, number, peer, transaction, origin))

    def _tell(self, number: int, transactions: list[PublicTransaction], *, dropped: bool) -> None:
        if self.on_change is not None and transactions:
            self.on_change(number, transactions, dropped)
