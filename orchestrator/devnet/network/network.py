"""The devnet as a whole: nodes, chain, pools, block production, reorganisations. Pure; time is a parameter."""

import heapq
from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import Final

from eth_hash.auto import keccak

from orchestrator.devnet.accounts import DEVELOPMENT_BALANCES_WEI, validator_address_of
from orchestrator.devnet.chain.admission import AdmissionTerms
from orchestrator.devnet.chain.chain import Block, Chain, make_block
from orchestrator.devnet.chain.marker_signatures import marker_account
from orchestrator.devnet.chain.public_signatures import SigningAccount
from orchestrator.devnet.chain.public_transaction import PublicTransaction
from orchestrator.devnet.config import DevnetConfig
from orchestrator.devnet.enclaves.enclave import Condition, Enclave, EnclaveNetwork
from orchestrator.devnet.network.gossip import NodePools
from orchestrator.devnet.network.public_traffic import PublicTraffic
from orchestrator.devnet.nodes.node import Node
from orchestrator.devnet.nodes.peer_loss import PeerLoss
from orchestrator.devnet.nodes.replicas import Replicas
from orchestrator.devnet.private.execution import ExecutionRules
from orchestrator.devnet.private.execution_cache import ExecutionCache
from orchestrator.devnet.versions import BesuBehaviour, behaviour_of

MAX_REORG_DEPTH: Final = 256


class Network:
    """A network of emulated nodes.

    Attributes:
        config: as it was set up.
        behaviour: of the Besu version.
        chain, pool, enclaves, nodes: its parts; ``nodes[0]`` is node 1, ``pool`` the pools of all nodes.
        permitted: accounts that may send public transactions, in lower case; None for all.
        traffic: public transactions that are sent before each block.
        replicas: by node, the views of it that answer in turn.
        receipts_late_seconds: by node, how long after a block its private receipts are not there yet.
        congested: whether other traffic fills the blocks, so that marker transactions wait in the pool.
        now: seconds of the clock that drives it, as it was last told.
        proposal_waits: whether the newest proposal waited for an enclave that is asked over HTTP.
        on_block: called with every block that is made and its salt.
        on_fork: called with the number of blocks that a reorganisation takes off.
    """

    def __init__(
        self, config: DevnetConfig, *, genesis_timestamp: int = 0, now: float = 0.0, wall_time: float | None = None
    ) -> None:
        self.config = config
        self.behaviour = self._behaviour_of(config.besu_version)
        self.rules = ExecutionRules(
            behaviour=self.behaviour,
            nonce_always_increments=config.privacy_nonce_always_increments,
            revert_reasons=config.revert_reason_enabled,
        )
        self.congested = False
        self.permitted: frozenset[str] | None = None
        self.now = now
        self.proposal_waits = False
        self._draws = 0
        self.marker_accounts: dict[int, SigningAccount] = {
            number: marker_account(self.draw(b"fixed marker key %d" % number))
            for number in range(1, config.nodes + 1)
            if config.fixed_marker_key and number not in config.free_nodes
        }
        balances_wei = DEVELOPMENT_BALANCES_WEI | dict(config.balances_wei)
        balances_wei |= {account.address: config.marker_balance_wei for account in self.marker_accounts.values()}
        genesis = make_block(None, timestamp=genesis_timestamp, miner=validator_address_of(1), transactions=())
        self.chain = Chain(genesis, now, balances_wei)
        self._epoch = (genesis_timestamp if wall_time is None else wall_time) - now
        self.on_block: Callable[[Block, bytes], None] | None = None
        self.on_fork: Callable[[int], None] | None = None
        self._sends_until = [now] * config.sends_at_once
        self._pool_listeners: dict[int, Callable[[list[PublicTransaction], bool], None]] = {}
        enclaves = [Enclave(config.keys_of(n), config.enclave_of(n)) for n in range(1, config.nodes + 1)]
        self.enclaves = EnclaveNetwork(enclaves, lambda: self.now, config.enclave_terms)
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
        self.traffic = PublicTraffic()
        self.replicas = {node.number: Replicas(node, config.lags_of(node.number)) for node in self.nodes}
        self.receipts_late_seconds: dict[int, float] = {}
        self._cut_from_pools: set[int] = set()
        self._cut_from_blocks: set[int] = set()
        self._peer_loss = PeerLoss(self.draw)
        self._cleaned_to = {node.number: node.head for node in self.nodes}
        self.pool = NodePools(
            self.nodes,
            self.chain,
            behaviour=lambda: self.behaviour,
            terms=self.terms_of,
            delay_seconds=config.gossip_ms / 1000,
        )
        self.pool.on_change = self._tell

    @property
    def validators(self) -> list[Node]:
        """The nodes that make blocks."""
        return self.nodes[: self.config.validators]

    def draw(self, purpose: bytes) -> bytes:
        """Return 32 bytes that nobody foresees, the same in every run with the same seed and calls."""
        self._draws += 1
        return keccak(b"%d %d " % (self.config.seed, self._draws) + purpose)

    def on_pool_change(self, node: Node, listener: Callable[[list[PublicTransaction], bool], None]) -> None:
        """Have ``listener(transactions, dropped)`` called when some enter (False) or leave (True) the node's pool."""
        self._pool_listeners[node.number] = listener

    def terms_of(self, node: Node) -> AdmissionTerms:
        """What a node asks of a public transaction."""
        config = self.config
        return AdmissionTerms(
            chain_id=config.chain_id,
            min_gas_price_wei=0 if node.number in config.free_nodes else config.min_gas_price_wei,
            local_priority=config.local_priority,
            permitted=self.permitted,
        )

    def peers_of(self, node: Node) -> int:
        """How many peers a node has: those that run, and none while it is cut off from pools and blocks."""
        alone = self._cut_from_pools & self._cut_from_blocks
        others = [other for other in self.nodes if other is not node and other.up and other.number not in alone]
        return 0 if node.number in alone else len(others)

    def set_up(self, node: Node, up: bool) -> None:
        """Start or stop a node; a stopped one forgets its pool, and its peers hand theirs over when it is back."""
        if node.up is not up:
            node.restart(self.now)
        node.up = up
        if not up and self._peer_loss.restarted(node):
            self._cut_from_pools.discard(node.number)
            self._cut_from_blocks.discard(node.number)
        self._connect(node, forget=not up)

    def set_enclave(self, node: Node, condition: Condition, peer_loss: float | None = None) -> None:
        """Let a node's enclave fail, or come back; when killed its node may lose its peers (None: as configured)."""
        was_up = node.enclave.up
        self.enclaves.set_condition(node.enclave, condition)
        self._peer_loss.enclave_changed(node)
        if condition is Condition.UP and not was_up:
            node.restart(self.now)
        elif condition is Condition.KILLED:
            self._peer_loss.enclave_killed(node, self.config.peer_loss if peer_loss is None else peer_loss)

    def set_propagation(self, node: Node, *, transactions: bool, blocks: bool) -> None:
        """Connect a node with the others, or cut it off from their pools or from new blocks."""
        for connected, cut in ((transactions, self._cut_from_pools), (blocks, self._cut_from_blocks)):
            if connected:
                cut.discard(node.number)
            else:
                cut.add(node.number)
        self._connect(node)

    def advance(self, now: float) -> float | None:
        """Let every node import what it can by ``now``; return when to come back, None when nothing is under way."""
        self.now = max(now, self.now)
        thawed, thaw_at = self.enclaves.thaw()
        for enclave in thawed:
            self.set_enclave(next(node for node in self.nodes if node.enclave is enclave), Condition.UP)
        following = [node for node in self.nodes if node.number not in self._cut_from_blocks]
        waits = [wait for node in following if (wait := node.advance(self.now)) is not None]
        for node in self._peer_loss.take(self.nodes):
            self.set_propagation(node, transactions=False, blocks=False)
        self._forget_mined()
        for replicas in self.replicas.values():
            replicas.note(self.now)
        delivery = self.pool.advance(self.now)
        return min((at for at in (*waits, delivery, thaw_at) if at is not None), default=None)

    def take_turn(self, seconds: float) -> float:
        """Return in how many seconds a send is done that takes so long, behind those that were begun before."""
        if not self._sends_until:
            return seconds
        begins_at = max(self.now, heapq.heappop(self._sends_until))
        heapq.heappush(self._sends_until, begins_at + seconds)
        return begins_at + seconds - self.now

    def can_make_blocks(self) -> bool:
        """Tell whether enough validators run and follow the chain: two thirds of them, as IBFT 2 needs."""
        return self._is_quorum(sum(map(self._follows, self.validators)))

    def upgrade(self, version: str) -> None:
        """Let all nodes run another Besu version from now on; groups keep the contract that they were created with.

        Raises:
            UnknownBesuVersionError: no such version is emulated.
        """
        self.behaviour = self._behaviour_of(version)
        self.rules = replace(self.rules, behaviour=self.behaviour)
        for node in self.nodes:
            node.rules = self.rules

    def make_block(self, now: float, *, even_without_quorum: bool = False) -> Block | None:
        """Make the next block and let the nodes import it; None while too few validators follow or agree to it."""
        self.advance(now)
        if not (even_without_quorum or self.can_make_blocks()):
            return None
        parent = self.chain.head
        proposer = self._proposer(parent)
        nonces = {item.address: self.chain.account(item.address).account_nonce for item in self.traffic.accounts}
        self.traffic.send(self.pool, proposer, nonces, self.config.chain_id)
        transactions = self._executable(proposer)
        if not (even_without_quorum or self._agreed(transactions)):
            return None
        return self._append(parent, transactions, salt=b"", proposer=proposer)

    def append_block(self, transactions: list[PublicTransaction]) -> Block:
        """Make a block of exactly these transactions, in this order, and let the nodes import it."""
        return self._append(self.chain.head, transactions, salt=b"")

    def drop_pending(self) -> list[PublicTransaction]:
        """Empty all pools: the transactions are never mined unless they are sent again."""
        return self.pool.clear()

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
            proposer = self._proposer(self.chain.head)
            executable = self._executable(proposer, even_if_congested=True)
            made.append(self._append(self.chain.head, executable, salt=salt, proposer=proposer, tell_nodes=False))
        if drop_transactions:
            self._tell_all_dropped(transactions)
        self.advance(now)
        return made

    def take_off(self, depth: int) -> list[Block]:
        """Take the newest blocks off the chain, for others to come; the nodes follow when they next advance."""
        dropped = self.chain.drop(min(depth, MAX_REORG_DEPTH))
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
        proposer: Node | None = None,
        tell_nodes: bool = True,
        timestamp: int | None = None,
    ) -> Block:
        if timestamp is None:
            timestamp = max(parent.timestamp + 1, int(self._epoch + self.now))
        miner = validator_address_of((proposer or self._proposer(parent)).number)
        block = make_block(parent, timestamp=timestamp, miner=miner, transactions=transactions, salt=salt)
        # A proposer does not run the markers of its block (Besu 22.4.4, PrivacyPrecompiledContract.isMining); the other
        # validators do before they agree to it (MessageValidator.validateProposal), and every node when it imports it.
        self.chain.append(block, self.now + block.markers * self.config.marker_seconds)
        if self.on_block is not None:
            self.on_block(block, salt)
        if transactions and self.behaviour.notes_included_as_dropped:
            self._tell_all_dropped(transactions)
        if tell_nodes:
            self.advance(self.now)
        return block

    def _behaviour_of(self, version: str) -> BesuBehaviour:
        behaviour = behaviour_of(version)
        return replace(behaviour, base_fee=behaviour.base_fee and self.config.base_fee)

    def _is_quorum(self, votes: int) -> bool:
        return votes >= ceil(2 * len(self.validators) / 3)

    def _agreed(self, transactions: list[PublicTransaction]) -> bool:
        """Whether enough validators agree to a block: one that can't replay what it is added to has no vote for it."""
        following = filter(self._follows, self.validators)
        votes = [node.check_proposal(transactions) for node in following]
        self.proposal_waits = None in votes
        return self._is_quorum(sum(vote is True for vote in votes))

    def _follows(self, node: Node) -> bool:
        well = node.up and node.halted is None and node.number not in self._cut_from_blocks
        return well and node.head is self.chain.head

    def _proposer(self, parent: Block) -> Node:
        """Whose turn the next block is: the validators take turns, and one that does not follow loses its turn."""
        count = len(self.validators)
        turns = [self.validators[(parent.number + at) % count] for at in range(count)]
        return next(filter(self._follows, turns), next((node for node in turns if node.up), turns[0]))

    def _executable(self, proposer: Node, *, even_if_congested: bool = False) -> list[PublicTransaction]:
        if self.congested and not even_if_congested:
            return []
        return self.pool.of(proposer).executable(self.chain.account)

    def _connect(self, node: Node, *, forget: bool = False) -> None:
        connected = node.up and node.number not in self._cut_from_pools
        self.pool.connect(node, connected, forget=forget)

    def _forget_mined(self) -> None:
        for node in self.nodes:
            last, self._cleaned_to[node.number] = self._cleaned_to[node.number], node.head
            if last is node.head:
                continue
            first = last.number if self.chain.is_canonical(last) else max(0, last.number - MAX_REORG_DEPTH)
            for number in range(first + 1, node.head.number + 1):
                block = self.chain.block(number)
                self.pool.mined(node, block.transactions if block is not None else ())

    def _tell(self, number: int, transactions: list[PublicTransaction], dropped: bool) -> None:
        if number in self._pool_listeners:
            self._pool_listeners[number](transactions, dropped)

    def _tell_all_dropped(self, transactions: list[PublicTransaction]) -> None:
        for number in self._pool_listeners:
            self._tell(number, transactions, dropped=True)
