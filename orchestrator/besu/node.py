"""One Besu node: everything that is read from it and sent to it, as typed values."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from orchestrator.besu import answers
from orchestrator.besu.errors import (
    MethodNotEnabledError,
    MethodNotFoundError,
    NodeNotReadyError,
    ProtocolError,
    RpcError,
    UnrelatedRefusalError,
)
from orchestrator.besu.group_reading import (
    group_calls,
    lock_call,
    read_group_view,
    read_lock,
    read_root,
    read_state,
    state_calls,
)
from orchestrator.besu.http_client import HttpNode
from orchestrator.besu.identifiers import bytes_to_hex
from orchestrator.besu.json_rpc import Answer, Call, result_of
from orchestrator.besu.management_contract import (
    MANAGEMENT_IMPLEMENTATION,
    MANAGEMENT_PROXY,
    Abi,
    Method,
    abi_of_code,
    encode_call,
)
from orchestrator.besu.node_identity import address_of_enode
from orchestrator.besu.private_transaction import SignedPrivateTransaction
from orchestrator.besu.results import (
    Block,
    ClientVersion,
    FoundGroup,
    GroupView,
    Head,
    Log,
    PrivateReceipt,
    PublicReceipt,
    Syncing,
)
from orchestrator.besu.simulation import Forecast, Simulation, simulated_error, simulated_output

T = TypeVar("T")

FIND_METHODS: Final = (
    "privx_findFlexiblePrivacyGroup",
    "privx_findOnchainPrivacyGroup",
    "privx_findOnChainPrivacyGroup",
)
_VALIDATOR_METHODS: Final = (
    "ibft_getValidatorsByBlockNumber",
    "qbft_getValidatorsByBlockNumber",
    "clique_getSigners",
)
MANAGEMENT_ADDRESSES: Final = (MANAGEMENT_IMPLEMENTATION, MANAGEMENT_PROXY)
SEND_TIMEOUT_SECONDS: Final = 180.0
"""Bundling a long history makes a send slow: 5 to 6 s at 6,000 transactions (docs/besu.md#replay-measured)."""


class Node:
    """A node and what it is asked.

    Every method raises ``RpcError`` when the node answers with an error, ``TransportError`` when it does not answer,
    and ``ProtocolError`` when it answers something else than the method does.

    Args:
        http: the way to the node.
        name: what to call it in messages; its address when not given.
        enclave_key: the member's key, base64, that changes are sent from; None when the node is only read.
    """

    def __init__(self, http: HttpNode, *, name: str = "", enclave_key: str | None = None) -> None:
        self.http = http
        self.enclave_key = enclave_key
        self.name = name or http.url
        self._find_method: str | None = None
        self._validator_method: str | None = None

    def __repr__(self) -> str:
        return f"Node({self.name!r})"

    async def head_number(self) -> int:
        """Return the number of the newest block."""
        return answers.read_quantity(await self.http.call("eth_blockNumber"))

    async def head(self) -> Head:
        """Return the newest block's header with the hashes of its transactions."""
        return answers.read_head(await self.http.call("eth_getBlockByNumber", "latest", False))

    async def header(self, block_number: int) -> Head | None:
        """Return a block's header with the hashes of its transactions; None beyond the head."""
        block = await self.http.call("eth_getBlockByNumber", hex(block_number), False)
        return answers.optional(answers.read_head, block)

    async def block(self, block_number: int) -> Block | None:
        """Return a block with its transactions in full; None beyond the head."""
        return answers.optional(
            answers.read_block, await self.http.call("eth_getBlockByNumber", hex(block_number), True)
        )

    async def blocks(self, first: int, last: int) -> tuple[Block, ...]:
        """Return the blocks from ``first`` to ``last``, both included, as far as the node has them, in one batch."""
        calls = [Call("eth_getBlockByNumber", (hex(number), True)) for number in range(first, last + 1)]
        found = await self._read_all(calls, lambda value: answers.optional(answers.read_block, value))
        return tuple(block for block in found if block is not None)

    async def chain_id(self) -> int:
        """Return the chain id that signatures must be bound to."""
        return answers.read_quantity(await self.http.call("eth_chainId"))

    async def client_version(self) -> ClientVersion:
        """Return what the node says that it is."""
        return answers.read_client_version(await self.http.call("web3_clientVersion"))

    async def syncing(self) -> Syncing | None:
        """Return how far the node is behind; None when it is in sync."""
        return answers.read_syncing(await self.http.call("eth_syncing"))

    async def peer_count(self) -> int:
        """Return the number of connected nodes."""
        return answers.read_quantity(await self.http.call("net_peerCount"))

    async def api_groups(self) -> frozenset[str]:
        """Return the JSON-RPC groups that are enabled, in lower case: "eea", "priv", "eth" …"""
        modules = await self.http.call("rpc_modules")
        if not isinstance(modules, dict):
            raise ProtocolError(f"{self.name} answered rpc_modules with something else")
        return frozenset(str(module).lower() for module in modules)

    async def public_receipt(self, pmt_hash: str) -> PublicReceipt | None:
        """Return the receipt of a mined PMT; None while it is not mined."""
        return answers.optional(
            answers.read_public_receipt, await self.http.call("eth_getTransactionReceipt", pmt_hash)
        )

    async def private_receipt(self, pmt_hash: str) -> PrivateReceipt | None:
        """Return what became of the private transaction; None while not mined, and on nodes without the payload."""
        return answers.optional(
            answers.read_private_receipt, await self.http.call("priv_getTransactionReceipt", pmt_hash)
        )

    async def receipts(
        self, pmt_hashes: Sequence[str]
    ) -> tuple[tuple[PublicReceipt | None, PrivateReceipt | None], ...]:
        """Return the public and the private receipt of many PMTs, in one batch; see the two methods above."""
        public = [Call("eth_getTransactionReceipt", (pmt_hash,)) for pmt_hash in pmt_hashes]
        private = [Call("priv_getTransactionReceipt", (pmt_hash,)) for pmt_hash in pmt_hashes]
        answered = [result_of(answer) for answer in await self.http.batch([*public, *private])]
        return tuple(
            (
                answers.optional(answers.read_public_receipt, answered[index]),
                answers.optional(answers.read_private_receipt, answered[index + len(public)]),
            )
            for index in range(len(public))
        )

    async def private_transactions(self, pmt_hashes: Sequence[str]) -> tuple[SignedPrivateTransaction | None, ...]:
        """Return the private transactions of PMTs, in one batch; None where the node lacks the payload."""
        calls = [Call("priv_getPrivateTransaction", (pmt_hash,)) for pmt_hash in pmt_hashes]
        return await self._read_all(calls, lambda value: answers.optional(answers.read_private_transaction, value))

    async def private_signatures(self, pmt_hashes: Sequence[str]) -> tuple[tuple[int, int] | None, ...]:
        """Return r and s alone of PMTs' private transactions, unverified, which costs much less; None as above."""
        calls = [Call("priv_getPrivateTransaction", (pmt_hash,)) for pmt_hash in pmt_hashes]
        return await self._read_all(calls, lambda value: answers.optional(answers.read_signature, value))

    async def private_nonce(self, account: str, privacy_group_id: str) -> int:
        """Return the next private nonce of an account in a group, by executed transactions at the node's head."""
        return answers.read_quantity(await self.http.call("priv_getTransactionCount", account, privacy_group_id))

    async def state_roots(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[str | None, ...]:
        """Return the group's state root at each block, in one batch; None where the node has no state for the group."""
        calls = [Call("priv_debugGetStateRoot", (privacy_group_id, hex(number))) for number in block_numbers]
        return tuple(read_root(answer) for answer in await self.http.batch(calls))

    async def state_roots_of(self, privacy_group_ids: Sequence[str], block_number: int) -> tuple[str | None, ...]:
        """Return many groups' state roots at one block, in few batches; None where the node has no state."""
        calls = [Call("priv_debugGetStateRoot", (group, hex(block_number))) for group in privacy_group_ids]
        return tuple(read_root(answer) for answer in await self.http.batch(calls))

    async def replayed_at(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[bool, ...]:
        """Return for each block whether the node has the group's state there, in one batch.

        This tells how far a replay is: blocks that are not replayed yet answer nothing (docs/besu.md#replay-measured).
        """
        asked = {"to": MANAGEMENT_PROXY, "data": bytes_to_hex(encode_call(Method.GET_VERSION))}
        calls = [Call("priv_call", (privacy_group_id, asked, hex(number))) for number in block_numbers]
        return await self._read_all(calls, lambda value: bool(answers.optional(answers.read_data, value)))

    async def group_view(
        self,
        privacy_group_id: str,
        block_number: int | None = None,
        *,
        account: str | None = None,
        with_code: bool = False,
    ) -> GroupView | None:
        """Return a group's state at one block, in one batch; None when the node does not have the block.

        Args:
            privacy_group_id: the group.
            block_number: the block; None for the head, which costs one more call.
            account: whose private nonce to ask too; it is the node's newest, not that of the block.
            with_code: whether to ask the contract's code too.
        """
        at = await self.head_number() if block_number is None else block_number
        (view,) = await self.group_views([privacy_group_id], at, account=account, with_code=with_code)
        return view

    async def group_lock(self, privacy_group_id: str, block_number: int) -> bool | None:
        """Return whether the group is locked at a block, by one call; None when the node has no such group there."""
        (answer,) = await self.http.batch([lock_call(privacy_group_id, block_number)])
        return read_lock(answer)

    async def group_state(self, privacy_group_id: str, block_number: int) -> GroupView:
        """Return a group's state at a block that is known to be there, in one batch; its hash is left empty."""
        answered = await self.http.batch(state_calls(privacy_group_id, block_number))
        return read_state(answered, block_number, "")

    async def group_views(
        self,
        privacy_group_ids: Sequence[str],
        block_number: int,
        *,
        account: str | None = None,
        with_code: bool = False,
    ) -> tuple[GroupView | None, ...]:
        """Return many groups' states at the same block, in as few HTTP requests as batches allow."""
        wanted = [group_calls(group, block_number, account=account, with_code=with_code) for group in privacy_group_ids]
        answered = await self.http.batch([call for calls in wanted for call in calls])
        size = len(wanted[0]) if wanted else 0
        return tuple(
            read_group_view(answered[start : start + size], with_nonce=account is not None, with_code=with_code)
            for start in range(0, len(answered), size or 1)
        )

    async def group_abi(self, privacy_group_id: str, block: str = "latest") -> Abi | None:
        """Return the dialect of the group's own contract; None when the node has no such group.

        Raises:
            ManagementContractError: the group's contract is none that is known.
        """
        code = await self.http.call("priv_getCode", privacy_group_id, MANAGEMENT_PROXY, block)
        return abi_of_code(answers.optional(answers.read_data, code) or b"")

    async def find_groups(self, members: Sequence[str]) -> tuple[FoundGroup, ...]:
        """Return the groups that all of these enclave keys are members of, by the method that this node's version has.

        There may be other members, too: asked for the node's own key, it lists all groups that the node is a member of
        (``findPrivacyGroupByMembers`` of Besu's ``FlexiblePrivacyController``).

        Raises:
            MethodNotFoundError: the node has none of the methods: privacy is off, or the version is 25.6 or later.
        """
        found, self._find_method = await self._first_known(FIND_METHODS, self._find_method, list(members))
        return answers.read_list(answers.read_found_group, found)

    async def simulate(
        self, privacy_group_id: str, account: str, data: bytes, block_number: int | None = None
    ) -> Simulation:
        """Return what a call to the management contract would do if ``account`` sent it; no signature is needed.

        Before 21.7.4 ``unlock()`` is forecast to succeed, and fails (docs/besu.md#versions).
        """
        asked = {"to": MANAGEMENT_PROXY, "data": bytes_to_hex(data), "from": account}
        block = "latest" if block_number is None else hex(block_number)
        try:
            answered = await self.http.call("priv_call", privacy_group_id, asked, block)
        except RpcError as error:
            return simulated_error(error)
        return simulated_output(answers.optional(answers.read_data, answered))

    async def is_owner(self, privacy_group_id: str, account: str, block_number: int | None = None) -> bool | None:
        """Return whether the account owns the group; None when the node has no such group."""
        simulation = await self.simulate(privacy_group_id, account, encode_call(Method.CAN_UPGRADE), block_number)
        if simulation.forecast in {Forecast.EMPTY, Forecast.NO_BLOCK}:
            return None
        return simulation.forecast is Forecast.SUCCEEDS

    async def private_logs(
        self,
        privacy_group_id: str,
        first_block: int,
        last_block: int,
        addresses: Sequence[str] = MANAGEMENT_ADDRESSES,
    ) -> tuple[Log, ...]:
        """Return the logs that contracts of a group wrote from ``first_block`` to ``last_block``, both included."""
        wanted = {"fromBlock": hex(first_block), "toBlock": hex(last_block), "address": list(addresses)}
        return answers.read_list(answers.read_log, await self.http.call("priv_getLogs", privacy_group_id, wanted))

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
        except (MethodNotFoundError, MethodNotEnabledError, NodeNotReadyError, UnrelatedRefusalError):
            return answers.read_address(await self.http.call("eth_coinbase"))

    async def pooled(self, pmt_hashes: Sequence[str]) -> tuple[bool, ...]:
        """Return, for each hash, whether the transaction waits in the node's pool: known, and in no block."""
        calls = [Call("eth_getTransactionByHash", (pmt_hash,)) for pmt_hash in pmt_hashes]
        return await self._read_all(calls, answers.read_pooled)

    async def send_raw(self, raw: bytes, *, timeout: float = SEND_TIMEOUT_SECONDS) -> str:
        """Submit a signed private transaction and return the hash of the PMT that the node made for it.

        Of several PMTs with the same bytes one executes at most (docs/besu.md#nonces). Never send an addition again
        while one may wait in a pool: where the two are mined in different blocks, the sending node and the new member
        fall back to the history that came with the second (Besu 23.10.3, ``PrivacyBlockProcessor.maybeRehydrate``).

        Args:
            raw: what ``sign_private_transaction`` returned.
            timeout: seconds.
        """
        return answers.read_hash(await self.http.call("eea_sendRawTransaction", bytes_to_hex(raw), timeout=timeout))

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
