"""The devnet as a whole: nodes, chain, pool, block production, reorganisations. Pure; time is a parameter."""

import heapq
from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import Final

from eth_hash.auto import keccak

from orchestrator.devnet.accounts import enclave_key_of, validator_address_of
from orchestrator.devnet.chain import Block, Chain, PublicTransaction, make_block
from orchestrator.devnet.config import DevnetConfig
from orchestrator.devnet.enclave import Enclave, EnclaveNetwork
from orchestrator.devnet.execution import ExecutionRules
from orchestrator.devnet.marker_signing import MarkerAccount, marker_account
from orchestrator.devnet.node import ExecutionCache, Node
from orchestrator.devnet.pmt_pool import PmtPool
from orchestrator.devnet.versions import BesuBehaviour, behaviour_of

MAX_REORG_DEPTH: Final = 256


class Network:
    """A network of emulated nodes.

    Attributes:
        config: as it was set up.
        behaviour: of the Besu version.
        chain, pool, enclaves, nodes: its parts; ``nodes[0]`` is node 1.
        congested: whether other traffic fills the blocks, so that marker transactions wait in the pool.
        now: seconds of the clock that drives it, as it was last told.
        on_block: called with every block that is made and its salt.
        on_fork: called with the number of blocks that a reorganisation takes off.
    """

    def __init__(
        self, config: DevnetConfig, *, genesis_timestamp: int = 0, now: float = 0.0, wall_time: float | None = None
    ) -> None:
        self.config = config
        self.behaviour: BesuBehaviour = behaviour_of(config.besu_version)
        self.rules = ExecutionRules(
            behaviour=self.behaviour,
            nonce_always_increments=config.privacy_nonce_always_increments,
            revert_reasons=config.revert_reason_enabled,
        )
        self.congested = False
        self.now = now
        genesis = make_block(None, timestamp=genesis_timestamp, miner=validator_address_of(1), transactions=())
        self.chain = Chain(genesis, now)
        self.pool = PmtPool()
        self._draws = 0
        self._epoch = (genesis_timestamp if wall_time is None else wall_time) - now
        self._mined_account_nonces: dict[str, int] = {}
        self.on_block: Callable[[Block, bytes], None] | None = None
        self.on_fork: Callable[[int], None] | None = None
        self._sends_until = [now] * config.sends_at_once
        self._pool_listeners: list[Callable[[list[PublicTransaction], bool], None]] = []
        enclaves = [
            Enclave((enclave_key_of(number), *config.extra_enclave_keys.get(number, ())))
            for number in range(1, config.nodes + 1)
        ]
        self.enclaves = EnclaveNetwork(enclaves)
        cache = ExecutionCache()
        self.nodes = [
            Node(
                number,
                enclave=enclave,
                chain=self.chain,
                enclaves=self.enclaves,
                cache=cache,
                rules=self.rules,
                replay_seconds_each=config.replay_seconds_per_transaction,
                marker_seconds=config.marker_seconds,
                is_validator=number <= config.validators,
            )
            for number, enclave in enumerate(enclaves, start=1)
        ]
        self.marker_accounts: dict[int, MarkerAccount] = (
            {node.number: marker_account(self.draw(b"fixed marker key %d" % node.number)) for node in self.nodes}
            if config.fixed_marker_key
            else {}
        )

    @property
    def validators(self) -> list[Node]:
        """The nodes that make blocks."""
        return self.nodes[: self.config.validators]

    def draw(self, purpose: bytes) -> bytes:
        """Return 32 bytes that nobody foresees, the same in every run with the same seed and calls."""
        self._draws += 1
        return keccak(b"%d %d " % (self.config.seed, self._draws) + purpose)

    def on_pool_change(self, listener: Callable[[list[PublicTransaction], bool], None]) -> None:
        """Have ``listener(transactions, dropped)`` called when transactions enter (False) or leave (True) the pool."""
        self._pool_listeners.append(listener)

    def advance(self, now: float) -> float | None:
        """Let every node import what it can by ``now``; return when to come back, None when nothing is under way."""
        self.now = max(now, self.now)
        waits = [wait for node in self.nodes if (wait := node.advance(self.now)) is not None]
        return min(waits, default=None)

    def mined_account_nonce(self, sender: str) -> int:
        """Public nonce of a sender after the chain's head."""
        return self._mined_account_nonces.get(sender, 0)

    def take_turn(self, seconds: float) -> float:
        """Return in how many seconds a send is done that takes so long, behind those that were begun before."""
        if not self._sends_until:
            return seconds
        begins_at = max(self.now, heapq.heappop(self._sends_until))
        heapq.heappush(self._sends_until, begins_at + seconds)
        return begins_at + seconds - self.now

    def submit(self, transaction: PublicTransaction) -> None:
        """Put a public transaction into the pool.

        Raises:
            PoolFullError: too many wait.
        """
        self.pool.add(transaction)
        self._tell([transaction], dropped=False)

    def can_make_blocks(self) -> bool:
        """Tell whether enough validators run and follow the chain: two thirds of them, as IBFT 2 needs."""
        following = sum(
            1 for node in self.validators if node.up and node.halted is None and node.head is self.chain.head
        )
        return following >= ceil(2 * len(self.validators) / 3)

    def upgrade(self, version: str) -> None:
        """Let all nodes run another Besu version from now on; groups keep the contract that they were created with.

        Raises:
            UnknownBesuVersionError: no such version is emulated.
        """
        self.behaviour = behaviour_of(version)
        self.rules = replace(self.rules, behaviour=self.behaviour)
        for node in self.nodes:
            node.rules = self.rules

    def make_block(self, now: float, *, even_without_quorum: bool = False) -> Block | None:
        """Make the next block and let the nodes import it; None while too few validators follow."""
        self.advance(now)
        if not (even_without_quorum or self.can_make_blocks()):
            return None
        parent = self.chain.head
        transactions = [] if self.congested else self.pool.take_executable(self.mined_account_nonce)
        return self._append(parent, transactions, salt=b"")

    def append_block(self, transactions: list[PublicTransaction]) -> Block:
        """Make a block of exactly these transactions, in this order, and let the nodes import it."""
        return self._append(self.chain.head, transactions, salt=b"")

    def drop_pending(self) -> list[PublicTransaction]:
        """Empty the pool: the transactions are never mined unless they are sent again."""
        dropped = self.pool.clear()
        self._tell(dropped, dropped=True)
        return dropped

    def reorganise(self, depth: int, now: float, *, drop_transactions: bool = False) -> list[Block]:
        """Replace the newest ``depth`` blocks by ``depth`` + 1 others and return these.

        Args:
            depth: from 1; at most ``MAX_REORG_DEPTH`` and never the genesis block.
            now: seconds of the network's clock.
            drop_transactions: leave the transactions of the replaced blocks out; otherwise the first new block has
                them all.
        """
        self.advance(now)
        dropped = self.take_off(depth)
        transactions = [transaction for block in dropped for transaction in block.transactions]
        if not drop_transactions:
            self.pool.put_back(transactions)
        salt = self.draw(b"fork")
        made = []
        for _ in range(len(dropped) + 1):
            executable = self.pool.take_executable(self.mined_account_nonce)
            made.append(self._append(self.chain.head, executable, salt=salt, tell_nodes=False))
        if drop_transactions:
            self._tell(transactions, dropped=True)
        self.advance(now)
        return made

    def take_off(self, depth: int) -> list[Block]:
        """Take the newest blocks off the chain, for others to come; the nodes follow when they next advance."""
        dropped = self.chain.drop(min(depth, MAX_REORG_DEPTH))
        for block in dropped:
            for transaction in block.transactions:
                self._mined_account_nonces[transaction.sender] -= 1
        if self.on_fork is not None:
            self.on_fork(len(dropped))
        return dropped

    def restore_block(self, timestamp: int, transactions: list[PublicTransaction], salt: bytes, draws: int) -> Block:
        """Make a block again as it was made in an earlier run, with what had been drawn by then."""
        self._draws = draws
        return self._append(self.chain.head, transactions, salt=salt, timestamp=timestamp)

    @property
    def draws(self) -> int:
        """How often ``draw`` was called."""
        return self._draws

    def _append(
        self,
        parent: Block,
        transactions: list[PublicTransaction],
        *,
        salt: bytes,
        tell_nodes: bool = True,
        timestamp: int | None = None,
    ) -> Block:
        if timestamp is None:
            timestamp = max(parent.timestamp + 1, int(self._epoch + self.now))
        miner = validator_address_of(parent.number % self.config.validators + 1)
        block = make_block(parent, timestamp=timestamp, miner=miner, transactions=transactions, salt=salt)
        # A proposer does not run the markers of its block (Besu 22.4.4, PrivacyPrecompiledContract.isMining); the other
        # validators do before they agree to it (MessageValidator.validateProposal), and every node when it imports it.
        self.chain.append(block, self.now + block.markers * self.config.marker_seconds)
        if self.on_block is not None:
            self.on_block(block, salt)
        for transaction in transactions:
            self._mined_account_nonces[transaction.sender] = self.mined_account_nonce(transaction.sender) + 1
        if transactions and self.behaviour.notes_included_as_dropped:
            self._tell(transactions, dropped=True)
        if tell_nodes:
            self.advance(self.now)
        return block

    def _tell(self, transactions: list[PublicTransaction], *, dropped: bool) -> None:
        for listener in self._pool_listeners:
            listener(transactions, dropped)
