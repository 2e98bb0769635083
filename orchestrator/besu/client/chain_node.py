"""One Besu node's public chain: blocks, receipts, its pool and what it says of itself, as typed values."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from orchestrator.besu.codec import answers
from orchestrator.besu.codec.identifiers import bytes_to_hex
from orchestrator.besu.codec.json_rpc import Answer, Call, result_of
from orchestrator.besu.codec.node_identity import address_of_enode
from orchestrator.besu.codec.results import Block, ClientVersion, Head, PublicReceipt, Syncing
from orchestrator.besu.errors import (
    MethodNotEnabledError,
    MethodNotFoundError,
    ProtocolError,
    UnrelatedRefusalError,
    VersionUnknownError,
)
from orchestrator.besu.transport.http_client import HttpNode
from orchestrator.membership.besu_lines import Version

T = TypeVar("T")

_VALIDATOR_METHODS: Final = (
    "ibft_getValidatorsByBlockNumber",
    "qbft_getValidatorsByBlockNumber",
    "clique_getSigners",
)


class ChainNode:
    """A node and what it is asked about its public chain.

    Every method raises ``RpcError`` when the node answers with an error, ``TransportError`` when it does not answer,
    ``NotKnownError`` when it has no answer to this, here or yet (null), and ``ProtocolError`` when it answers something
    else than the method does.

    Args:
        http: the way to the node.
        name: what to call it in messages; its address when not given.
        version: (major, minor, patch) of a node that does not say it; None to ask the node.
    """

    def __init__(self, http: HttpNode, *, name: str = "", version: Version | None = None) -> None:
        self.http = http
        self.known_version = version
        self.name = name or http.url
        self._validator_method: str | None = None

    def __repr__(self) -> str:
        return f"Node({self.name!r})"

    async def head_number(self) -> int:
        """Return the number of the newest block."""
        return answers.read_number(await self.http.call("eth_blockNumber"))

    async def head(self) -> Head:
        """Return the newest block's header with the hashes of its transactions."""
        return answers.read_head(await self.http.call("eth_getBlockByNumber", "latest", False))

    async def header(self, block_number: int) -> Head:
        """Return a block's header with the hashes of its transactions."""
        block = await self.http.call("eth_getBlockByNumber", hex(block_number), False)
        return answers.known(answers.read_head, block, f"block {block_number}")

    async def block(self, block_number: int) -> Block:
        """Return a block with its transactions in full."""
        block = await self.http.call("eth_getBlockByNumber", hex(block_number), True)
        return answers.known(answers.read_block, block, f"block {block_number}")

    async def blocks(self, first: int, last: int) -> tuple[Block, ...]:
        """Return the blocks from ``first`` to ``last``, both included, in one batch."""
        calls = [Call("eth_getBlockByNumber", (hex(number), True)) for number in range(first, last + 1)]
        return await self._read_all(calls, lambda value: answers.known(answers.read_block, value, "such block"))

    async def chain_id(self) -> int:
        """Return the chain id that signatures must be bound to."""
        return answers.read_number(await self.http.call("eth_chainId"))

    async def client_version(self) -> ClientVersion:
        """Return what the node says that it is."""
        return answers.read_client_version(await self.http.call("web3_clientVersion"))

    async def version(self) -> Version:
        """Return the node's version of Besu, as it was given or as the node says.

        Raises:
            VersionUnknownError: it was not given, and the node does not say it.
        """
        if self.known_version is not None:
            return self.known_version
        client = await self.client_version()
        if client.version is None:
            raise VersionUnknownError(f"{self.name} says that it is {client.text!r}, which names no version of Besu")
        return client.version

    async def syncing(self) -> Syncing | None:
        """Return how far the node is behind; None when it is in sync."""
        return answers.read_syncing(await self.http.call("eth_syncing"))

    async def peer_count(self) -> int:
        """Return the number of connected nodes."""
        return answers.read_number(await self.http.call("net_peerCount"))

    async def api_groups(self) -> frozenset[str]:
        """Return the JSON-RPC groups that are enabled, in lower case: "eea", "priv", "eth" …"""
        modules = await self.http.call("rpc_modules")
        if not isinstance(modules, dict):
            raise ProtocolError(f"{self.name} answered rpc_modules with something else")
        return frozenset(str(module).lower() for module in modules)

    async def public_receipt(self, pmt_hash: str) -> PublicReceipt | None:
        """Return the receipt of a mined PMT; None when the node knows none, which does not say that there is none."""
        return answers.optional(
            answers.read_public_receipt, await self.http.call("eth_getTransactionReceipt", pmt_hash)
        )

    async def account_nonce(self, account: str, block_number: int | None = None) -> int:
        """Return how many public transactions of an account are mined, up to a block or up to the head."""
        block = "latest" if block_number is None else hex(block_number)
        count = await self.http.call("eth_getTransactionCount", account, block)
        return answers.known(answers.read_number, count, "such block")

    async def pooled(self, pmt_hashes: Sequence[str]) -> tuple[bool | None, ...]:
        """Return, for each hash, whether the transaction waits in the node's pool; None when the node doesn't know it.

        True: known, and in no block.
        """
        calls = [Call("eth_getTransactionByHash", (pmt_hash,)) for pmt_hash in pmt_hashes]
        return await self._read_all(calls, answers.read_pooled)

    async def validators(self, block: str = "latest") -> frozenset[str]:
        """Return the addresses of the nodes that make blocks.

        Raises:
            MethodNotFoundError: the node has neither IBFT, QBFT nor Clique methods enabled.
        """
        found, self._validator_method = await self._first_known(_VALIDATOR_METHODS, self._validator_method, block)
        return frozenset(answers.read_list(answers.read_address, found))

    async def own_address(self) -> str:
        """Return the node's own address, which is among the validators when it makes blocks.

        It is that of the node's key; a node that does not tell its enode says it as the address that it would make
        blocks as (Besu 22.4.4 and 25.4.1, ``BftMiningCoordinator.getCoinbase``).
        """
        try:
            return address_of_enode(await self.http.call("net_enode"))
        except (MethodNotFoundError, MethodNotEnabledError, UnrelatedRefusalError):
            return answers.read_address(await self.http.call("eth_coinbase"))

    async def broadcast_raw(self, raw: bytes) -> str:
        """Hand a signed public transaction to the node's pool and return its hash; again does no more than once.

        Raises:
            MarkerKnownError: the pool has it already.
            NonceTooLowError: one of that account and nonce was mined, this one or another.
        """
        return answers.read_hash(await self.http.call("eth_sendRawTransaction", bytes_to_hex(raw)))

    async def _first_known(self, methods: Sequence[str], known: str | None, *params: Any) -> tuple[Any, str]:
        if known is not None:
            return await self.http.call(known, *params), known
        *earlier, last = methods
        for method in earlier:
            try:
                return await self.http.call(method, *params), method
            except (MethodNotFoundError, MethodNotEnabledError):
                continue
        return await self.http.call(last, *params), last

    async def _read_all(self, calls: Sequence[Call], read: Callable[[Any], T]) -> tuple[T, ...]:
        answered: list[Answer] = await self.http.batch(calls)
        return tuple(read(result_of(answer)) for answer in answered)
