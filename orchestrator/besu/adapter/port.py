"""The client library as the engine's port to a node."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta

from orchestrator.besu.adapter.port_failures import LOOK_AGAIN, meaning, read_again
from orchestrator.besu.adapter.reasons import distribution_failure, marker_failure, read_failure, send_failure
from orchestrator.besu.adapter.receipts import outcome_of
from orchestrator.besu.client.enclave_probe import EnclaveProbe
from orchestrator.besu.client.histories import (
    is_absent,
    read_balances,
    read_blocks,
    read_memberships,
    read_private_sizes,
    read_public_roots,
)
from orchestrator.besu.client.node import Node
from orchestrator.besu.codec.management_contract import PRIVACY_PRECOMPILE, Abi, ManagementContractError
from orchestrator.besu.codec.results import Head as SeenHead
from orchestrator.besu.errors import (
    BatchRefusedError,
    BesuError,
    MethodNotEnabledError,
    MethodNotFoundError,
    NotKnownError,
    ProtocolError,
    TransportError,
)
from orchestrator.besu.transaction_errors import MarkerKnownError
from orchestrator.besu.transport.http_client import CallCounts
from orchestrator.besu.transport.subscriptions import Gap, GapReason
from orchestrator.besu.transport.websocket_client import NodeSocket
from orchestrator.engine.ports.nodes import Block, Head, NodeError, NodeTraits, PmtOutcome, Said
from orchestrator.membership.besu_lines import has_bytes_abi
from orchestrator.membership.forecast.blocks import ADDITION_BYTES
from orchestrator.membership.forecast.memberships import MembershipLog
from orchestrator.membership.model import GroupView
from orchestrator.membership.reasons.table import Reason
from orchestrator.shared_reads import ReadingLock


class BesuNode:
    """One node as the engine sees it (`orchestrator.engine.ports.nodes.NodePort`).

    Args:
        name: Its name in the configuration.
        enclave_keys: The keys it hosts; the first is the one it sends from.
        node: Its HTTP side.
        socket: Its WebSocket side; None when only HTTP is configured.
        enclave: Asks its enclave; None when that has no configured address.
        bundle_limit_bytes: The largest history that the enclave takes; None when that is not known.
        look_again: Pause before what is not known is read again.

    Attributes:
        barred: Why the node is not to be asked; empty while it is.
    """

    def __init__(
        self,
        name: str,
        enclave_keys: Sequence[str],
        node: Node,
        socket: NodeSocket | None,
        enclave: EnclaveProbe | None = None,
        *,
        bundle_limit_bytes: int | None = None,
        look_again: timedelta = LOOK_AGAIN,
    ) -> None:
        self.name = name
        self.enclave_keys = tuple(enclave_keys)
        self._node = node
        self._socket = socket
        self._enclave = enclave
        self.bundle_limit_bytes = bundle_limit_bytes
        self.look_again_seconds = look_again.total_seconds()
        self.barred = ""
        self._traits: NodeTraits | None = None
        self._reading_traits = ReadingLock(lambda error: isinstance(error, TransportError))
        self._one_send = asyncio.Lock()
        self._abis: dict[str, str] = {}

    @property
    def counts(self) -> CallCounts:
        """How much the node was asked."""
        return self._node.http.counts

    @read_again
    async def traits(self) -> NodeTraits:
        """Return version, chain id, dialect and role; read once, however many lanes ask for them at the start."""
        if self._traits is None:
            async with self._reading_traits.turn():
                return await self._read_traits()
        return self._traits

    async def _read_traits(self) -> NodeTraits:
        if self._traits is not None:
            return self._traits
        version = await self._node.version()
        self._traits = NodeTraits(
            besu_version=version,
            chain_id=await self._node.chain_id(),
            native_abi="bytes" if has_bytes_abi(version) else "bytes32",
            validator=await self._validates(),
        )
        return self._traits

    async def _validates(self) -> bool | None:
        try:
            validators = await self._node.validators()
            return (await self._node.own_address()).lower() in {address.lower() for address in validators}
        except (MethodNotFoundError, MethodNotEnabledError):
            return None

    @read_again
    async def head(self) -> Head:
        """Return the newest block."""
        return _head(await self._node.head())

    @read_again
    async def syncing(self) -> bool:
        """Return whether the node says that it is catching up."""
        return await self._node.syncing() is not None

    @read_again
    async def block(self, number: int) -> Block:
        """Return a block with the hashes of its transactions."""
        header = await self._node.header(number)
        if header.number != number or header.transaction_hashes is None:
            raise ProtocolError(f"asked for block {number}, answered a part of block {header.number}")
        return Block(number=header.number, block_hash=header.hash, transactions=header.transaction_hashes)

    @read_again
    async def blocks(self, block_numbers: Sequence[int]) -> tuple[Block, ...]:
        """Return blocks with their transactions in full."""
        return await read_blocks(self._node, block_numbers)

    @read_again
    async def balances(self, accounts: Sequence[str], block_number: int) -> Mapping[str, int]:
        """Return what accounts have after a block, in wei."""
        return await read_balances(self._node, accounts, block_number)

    @read_again
    async def memberships(
        self, privacy_group_ids: Sequence[str], first_block: int, last_block: int
    ) -> tuple[MembershipLog, ...]:
        """Return who came into groups and who left them."""
        return await read_memberships(self._node, privacy_group_ids, first_block, last_block)

    @read_again
    async def view(self, privacy_group_id: str, block_number: int) -> GroupView:
        """Return the group at a block."""
        seen = await self._node.group_state(privacy_group_id, block_number)
        if not seen.exists:
            return GroupView(block_number=block_number, exists=False)
        return GroupView(
            block_number=block_number,
            exists=True,
            participants=seen.participants,
            locked=seen.locked,
            version=seen.version,
            state_root=seen.state_root,
        )

    @read_again
    async def lock_view(self, privacy_group_id: str, block_number: int) -> GroupView:
        """Return the group's root and whether it is locked at a block."""
        locked, (root,) = await asyncio.gather(
            self._node.group_lock(privacy_group_id, block_number),
            self._node.state_roots(privacy_group_id, [block_number]),
        )
        # Two calls, which a load balancer may hand to two replicas: half of each is no view.
        if (locked is None) is not (root is None):
            raise NotKnownError(f"parts of the group's state at block {block_number} are there and others are not")
        exists = root is not None
        return GroupView(block_number=block_number, exists=exists, locked=locked is True, state_root=root or "")

    @read_again
    async def roots(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[GroupView, ...]:
        """Return the group's state roots at blocks."""
        roots = await self._node.state_roots(privacy_group_id, block_numbers)
        return tuple(_shown(number, root) for number, root in zip(block_numbers, roots, strict=True))

    @read_again
    async def root_if_any(self, privacy_group_id: str, block_number: int) -> GroupView:
        """Return the group's state root at a block; that it is not there costs one call."""
        if await is_absent(self._node, privacy_group_id, block_number):
            return GroupView(block_number=block_number, exists=False)
        (root,) = await self._node.state_roots(privacy_group_id, [block_number])
        return _shown(block_number, root)

    @read_again
    async def roots_of(self, privacy_group_ids: Sequence[str], block_number: int) -> tuple[GroupView, ...]:
        """Return many groups' state roots at a block."""
        roots = await self._node.state_roots_of(privacy_group_ids, block_number)
        return tuple(_shown(block_number, root) for root in roots)

    @read_again
    async def public_roots(self, block_numbers: Sequence[int]) -> tuple[tuple[str, str], ...]:
        """Return the hashes of blocks, each with the public chain's state root."""
        return await read_public_roots(self._node, block_numbers)

    @read_again
    async def abi(self, privacy_group_id: str) -> str | None:
        """Return the dialect of the group's contract; it never changes, so it is read once."""
        if privacy_group_id not in self._abis:
            try:
                abi = await self._node.group_abi(privacy_group_id)
            except ManagementContractError:
                return "unusable"
            if abi is None:
                return None
            self._abis[privacy_group_id] = "unusable" if abi is Abi.LEGACY else abi.value
        return self._abis[privacy_group_id]

    @read_again
    async def owns(self, privacy_group_id: str, account: str) -> bool | None:
        """Return whether an account owns the group."""
        return await self._node.is_owner(privacy_group_id, account)

    @read_again
    async def private_nonce(self, privacy_group_id: str, account: str) -> int:
        """Return the next private nonce."""
        return await self._node.private_nonce(account, privacy_group_id)

    @read_again
    async def outcomes(self, pmt_hashes: Sequence[str]) -> tuple[PmtOutcome, ...]:
        """Return what each PMT came to; public receipts are read only where there is no private one."""
        receipts = await asyncio.gather(*(self._node.private_receipt(pmt_hash) for pmt_hash in pmt_hashes))
        found = {
            pmt_hash: outcome_of(pmt_hash, receipt, receipt)
            for pmt_hash, receipt in zip(pmt_hashes, receipts, strict=True)
            if receipt is not None
        }
        left = [pmt_hash for pmt_hash in pmt_hashes if pmt_hash not in found]
        for pmt_hash, (public, private) in zip(left, await self._node.receipts(left) if left else (), strict=True):
            found[pmt_hash] = outcome_of(pmt_hash, public or private, private)
        return tuple(found[pmt_hash] for pmt_hash in pmt_hashes)

    @meaning(send_failure)
    async def send(self, raw: bytes) -> str:
        """Send a signed private transaction, one at a time: sends that overlap can get one public nonce."""
        # Of overlapping sends some would never be mined (docs/besu.md#nonces, 5).
        async with self._one_send:
            return await self._node.send_raw(raw)

    @read_again
    async def pooled(self, pmt_hashes: Sequence[str]) -> bool | None:
        """Return True when one of the PMTs waits in the node's pool, False when all are in blocks; None: not known."""
        waits = await self._node.pooled(pmt_hashes)
        # One that waits can still be mined, whatever is not known of the others.
        return True if True in waits else None if None in waits else False

    @meaning(distribution_failure)
    async def distribute(self, raw: bytes, from_block: int | None = None) -> bytes:
        """Store a signed private transaction in its members' enclaves and return its payload key, 32 or 64 bytes."""
        try:
            return await self._node.distribute_raw(raw, from_block=from_block)
        except BatchRefusedError:
            return await self._node.distribute_raw(raw)  # nothing was done; whoever takes no batch is one node

    @meaning(marker_failure)
    async def broadcast(self, raw: bytes, transaction_hash: str) -> None:
        """Hand a signed marker, or a burn, to the node's pool; that the pool has it already is a success."""
        try:
            answered = await self._node.broadcast_raw(raw)
        # These very bytes, since they have one hash: by an earlier try of ours, or by gossip (docs/besu.md#markers, 4).
        except MarkerKnownError:
            return
        # Under another hash the marker would be looked for in vain, and be mined all the same.
        if answered != transaction_hash:
            raise ProtocolError(f"transaction {transaction_hash} was sent, {answered} was answered")

    @read_again
    async def account_nonce(self, account: str, block_number: int | None = None) -> int:
        """Return how many public transactions of an account are mined, up to a block or up to the node's head."""
        return await self._node.account_nonce(account, block_number)

    @read_again
    async def private_sizes(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[int, ...]:
        """Return the sizes in bytes of a group's signed transactions in some blocks, as far as the node has them."""
        return await read_private_sizes(self._node, privacy_group_id, block_numbers)

    @read_again
    async def additions(self, first_block: int, last_block: int) -> tuple[int, ...]:
        """Return the blocks that hold an addition's PMT."""
        blocks = await self._node.blocks(first_block, last_block)
        return tuple(
            block.head.number
            for block in blocks
            if any(item.to == PRIVACY_PRECOMPILE and len(item.data) == ADDITION_BYTES for item in block.transactions)
        )

    @read_again
    async def has_state(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[bool, ...]:
        """Return, for each block, whether the node has replayed the group that far."""
        return await self._node.replayed_at(privacy_group_id, block_numbers)

    @read_again
    async def groups(self, enclave_keys: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """Return the groups that all of these keys are members of, with all their members."""
        return {found.privacy_group_id: found.members for found in await self._node.find_groups(enclave_keys)}

    @read_again
    async def peers(self) -> int:
        """Return how many nodes it is connected to."""
        return await self._node.peer_count()

    async def enclave_trouble(self) -> str | None:
        """Return what is wrong with the node's enclave; None when it is up or can't be asked."""
        return None if self._enclave is None else await self._enclave.trouble()

    async def enclave_knows(self) -> frozenset[str] | None:
        """Return the keys that the node's enclave knows a host of; None when it does not tell."""
        return None if self._enclave is None else await self._enclave.known_keys()

    async def heads(self) -> AsyncIterator[Head]:
        """Yield new heads; raises `NodeError` when the connection is lost, and may then be called again."""
        if self._socket is None:
            detail = f"node {self.name} has no WebSocket address"
            raise NodeError(Reason(slug="node_unreachable", detail=detail), Said.REFUSED)
        subscription = self._socket.subscribe_heads()
        try:
            async for item in subscription:
                if isinstance(item, SeenHead):
                    yield _head(item)
                # Heads that were dropped for want of room are no loss: the next one says all that they said.
                elif isinstance(item, Gap) and item.reason is GapReason.DISCONNECTED:
                    raise NodeError(Reason(slug="node_unreachable", detail=f"node {self.name}: WebSocket lost"))
        except BesuError as error:
            raise read_failure(error, self.name) from error
        finally:
            await subscription.close()


def _shown(block_number: int, root: str | None) -> GroupView:
    return GroupView(block_number=block_number, exists=root is not None, state_root=root or "")


def _head(seen: SeenHead) -> Head:
    return Head(
        number=seen.number,
        block_hash=seen.hash,
        parent_hash=seen.parent_hash,
        transactions=seen.transaction_hashes,
    )
