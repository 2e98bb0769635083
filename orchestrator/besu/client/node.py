"""One Besu node: everything that is read from it and sent to it, as typed values; its public chain in `ChainNode`."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

from orchestrator.besu.client.chain_node import ChainNode
from orchestrator.besu.client.group_snapshots import (
    group_calls,
    lock_call,
    read_group_view,
    read_lock,
    read_presence,
    read_root,
    read_state,
    state_calls,
    version_call,
)
from orchestrator.besu.client.long_lists import read_long_list
from orchestrator.besu.codec import answers
from orchestrator.besu.codec.identifiers import bytes_to_hex, enclave_key_to_bytes
from orchestrator.besu.codec.json_rpc import Call, result_of
from orchestrator.besu.codec.management_contract import (
    MANAGEMENT_IMPLEMENTATION,
    MANAGEMENT_PROXY,
    Abi,
    Method,
    abi_of_code,
    encode_call,
)
from orchestrator.besu.codec.marker_transaction import PAYLOAD_KEY_BYTES
from orchestrator.besu.codec.private_transaction import SignedPrivateTransaction
from orchestrator.besu.codec.results import (
    FoundGroup,
    GroupView,
    Log,
    PrivateReceipt,
    PublicReceipt,
)
from orchestrator.besu.codec.simulation import Forecast, Simulation, simulated_error, simulated_output
from orchestrator.besu.errors import (
    NotKnownError,
    ProtocolError,
    RpcError,
)
from orchestrator.besu.transport.http_client import HttpNode
from orchestrator.membership.besu_lines import Version

T = TypeVar("T")

FIND_METHODS: Final = (
    "privx_findFlexiblePrivacyGroup",
    "privx_findOnchainPrivacyGroup",
    "privx_findOnChainPrivacyGroup",
)
MANAGEMENT_ADDRESSES: Final = (MANAGEMENT_IMPLEMENTATION, MANAGEMENT_PROXY)
SEND_TIMEOUT_SECONDS: Final = 180.0
"""Bundling a long history makes a send slow: 5 to 6 s at 6,000 transactions (docs/besu.md#replay-measured)."""


class Node(ChainNode):
    """A node with its private groups, and what it is asked; its methods raise what those of `ChainNode` raise.

    Args:
        http: the way to the node.
        name: what to call it in messages; its address when not given.
        enclave_key: the member's key, base64, that changes are sent from; None when the node is only read.
        version: (major, minor, patch) of a node that does not say it; None to ask the node.
    """

    def __init__(
        self, http: HttpNode, *, name: str = "", enclave_key: str | None = None, version: Version | None = None
    ) -> None:
        super().__init__(http, name=name, version=version)
        self.enclave_key = enclave_key
        self._find_method: str | None = None

    async def private_receipt(self, pmt_hash: str) -> PrivateReceipt | None:
        """Return what became of the private transaction; None while that is not known here.

        So it is before the PMT is mined, for a moment after, and on nodes without the payload.
        """
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

    async def private_nonce(self, account: str, privacy_group_id: str) -> int:
        """Return the next private nonce of an account in a group, by executed transactions at the node's head."""
        return answers.read_number(await self.http.call("priv_getTransactionCount", account, privacy_group_id))

    async def state_roots(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[str | None, ...]:
        """Return the group's state root at each block, in one batch; None where the node has no state for the group."""
        return await self._roots([(privacy_group_id, hex(number)) for number in block_numbers])

    async def state_roots_of(self, privacy_group_ids: Sequence[str], block_number: int) -> tuple[str | None, ...]:
        """Return many groups' state roots at one block, in few batches; None where the node has no state."""
        return await self._roots([(group, hex(block_number)) for group in privacy_group_ids])

    async def replayed_at(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[bool, ...]:
        """Return for each block whether the node has the group's state there, in one batch.

        This tells how far a replay is: blocks that are not replayed yet answer nothing (docs/besu.md#replay-measured).
        """
        calls = [version_call(privacy_group_id, hex(number)) for number in block_numbers]
        return tuple(read_presence(answer) for answer in await self.http.batch(calls))

    async def group_view(
        self,
        privacy_group_id: str,
        block_number: int | None = None,
        *,
        account: str | None = None,
        with_code: bool = False,
    ) -> GroupView:
        """Return a group's state at one block, in one batch.

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
        """Return whether the group is locked at a block, by one call; None when the node has no such group."""
        (answer,) = await self.http.batch([lock_call(privacy_group_id, block_number)])
        return read_lock(answer)

    async def group_state(self, privacy_group_id: str, block_number: int) -> GroupView:
        """Return a group's state at a block, in one batch; the block's hash is left empty."""
        answered = await self.http.batch(state_calls(privacy_group_id, block_number))
        return read_state(answered, block_number, "")

    async def group_views(
        self,
        privacy_group_ids: Sequence[str],
        block_number: int,
        *,
        account: str | None = None,
        with_code: bool = False,
    ) -> tuple[GroupView, ...]:
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
        if code is None:
            # null is said of a group that the node doesn't have, and of a block; another call tells which.
            (presence,) = await self.http.batch([version_call(privacy_group_id, block)])
            if read_presence(presence):
                raise NotKnownError("null: the group's contract is not told")
            return None
        return abi_of_code(answers.read_data(code))

    async def private_code(self, privacy_group_id: str, address: str, block_number: int | None = None) -> bytes | None:
        """Return the code of a contract in a group; None when the node tells none: no such contract, group or block."""
        block = "latest" if block_number is None else hex(block_number)
        code = await self.http.call("priv_getCode", privacy_group_id, address, block)
        return answers.optional(answers.read_data, code)

    async def private_call(
        self,
        privacy_group_id: str,
        to: str,
        data: bytes,
        *,
        sender: str | None = None,
        block_number: int | None = None,
    ) -> bytes:
        """Call a contract of a group without sending anything, and return what it answered: nothing for no contract.

        Args:
            privacy_group_id: the group.
            to: the contract.
            data: the call.
            sender: the account that it seems to come from; Besu's default for None.
            block_number: the block whose state is read; None for the head.

        Raises:
            NotKnownError: the node does not have the block.
            RpcError: the contract failed; by which error depends on the line (docs/besu.md#looking-before-leaping).
        """
        asked = {"to": to, "data": bytes_to_hex(data)} | ({} if sender is None else {"from": sender})
        block = "latest" if block_number is None else hex(block_number)
        answered = await self.http.call("priv_call", privacy_group_id, asked, block)
        return answers.known(answers.read_data, answered, "such block")

    async def find_groups(self, members: Sequence[str]) -> tuple[FoundGroup, ...]:
        """Return the groups that all of these enclave keys are members of, by the method that this node's version has.

        There may be other members, too: asked for the node's own key, it lists all groups that the node is a member of
        (``findPrivacyGroupByMembers`` of Besu's ``FlexiblePrivacyController``).

        Raises:
            MethodNotFoundError: the node has none of the methods: privacy is off, or the version is 25.6 or later.
        """
        found, self._find_method = await self._first_known(FIND_METHODS, self._find_method, list(members))
        return await read_long_list(answers.read_found_group, found)

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
        """Return whether the account owns the group; None when the node has no such group.

        The question never reverts: 1 for the owner and 0 for others (docs/besu.md#looking-before-leaping), so that an
        error is no answer.
        """
        asked = {"to": MANAGEMENT_PROXY, "data": bytes_to_hex(encode_call(Method.CAN_UPGRADE)), "from": account}
        block = "latest" if block_number is None else hex(block_number)
        answered = await self.http.call("priv_call", privacy_group_id, asked, block)
        simulation = simulated_output(answers.known(answers.read_data, answered, "such block"))
        return None if simulation.forecast is Forecast.EMPTY else simulation.forecast is Forecast.SUCCEEDS

    async def private_logs(
        self,
        privacy_group_id: str,
        first_block: int,
        last_block: int,
        addresses: Sequence[str] = MANAGEMENT_ADDRESSES,
        topics: Sequence[Any] = (),
    ) -> tuple[Log, ...]:
        """Return the logs that contracts of a group wrote from ``first_block`` to ``last_block``, both included.

        Args:
            privacy_group_id: the group.
            first_block, last_block: the first and the last block, neither above the node's head.
            addresses: the contracts; none for all of the group.
            topics: by position a topic, a list of those that fit, or None for any.
        """
        wanted: dict[str, Any] = {"fromBlock": hex(first_block), "toBlock": hex(last_block)}
        if addresses:
            wanted["address"] = list(addresses)
        if topics:
            wanted["topics"] = list(topics)
        return await read_long_list(answers.read_log, await self.http.call("priv_getLogs", privacy_group_id, wanted))

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

    async def distribute_raw(
        self, raw: bytes, *, from_block: int | None = None, timeout: float = SEND_TIMEOUT_SECONDS
    ) -> bytes:
        """Store a signed private transaction in its members' enclaves and return its payload key, 32 or 64 bytes.

        It is checked as a send is. What is returned is the input of its marker transaction. Doing it again gives other
        keys and harms nothing; an addition's history is disclosed to the new members from here on
        (docs/besu.md#markers, #disclosure).

        Args:
            raw: what ``sign_private_transaction`` returned.
            from_block: the block that what answers must have. Behind one address there may be several nodes, and a
                late one bundles a history that lacks its end, such as the lock (docs/besu.md#stale-bundles).
            timeout: seconds.

        Raises:
            NotKnownError: what answered lacks that block; nothing of it is to be used.
        """
        call = Call("priv_distributeRawTransaction", (bytes_to_hex(raw),))
        if from_block is None:
            answered = await self.http.call(call.method, *call.params, timeout=timeout)
        else:
            # In one HTTP request, which one node answers (unless it takes no batches).
            head, answer = await self.http.batch([Call("eth_blockNumber"), call], timeout=timeout)
            # Looked at first: what a late node refuses, such as a group that it has not seen yet, is no refusal.
            if (head.error is None or answer.error is None) and answers.read_number(result_of(head)) < from_block:
                raise NotKnownError(f"what answered has no block {from_block} yet, and would bundle less than there is")
            answered = result_of(answer)
        payload_key = answers.read_data(answered)
        if len(payload_key) not in PAYLOAD_KEY_BYTES:
            raise ProtocolError(f"a payload key of {len(payload_key)} bytes, instead of 32 or 64")
        return payload_key

    async def _roots(self, places: Sequence[tuple[str, str]]) -> tuple[str | None, ...]:
        """Read the roots of groups at blocks; a second look, where there is none, whether the node has the block."""
        answered = await self.http.batch([Call("priv_debugGetStateRoot", place) for place in places])
        roots = [read_root(answer) for answer in answered]
        unclear = [place for place, answer in zip(places, answered, strict=True) if answer.error is not None]
        looked = await self.http.batch([version_call(*place) for place in unclear]) if unclear else []
        if any(read_presence(answer) for answer in looked):
            raise NotKnownError("a group that was not there a moment ago is; the node, or a replica of it, is late")
        return tuple(roots)


def sending_key(node: Node, enclave_key: str | None) -> str:
    """Return the member's enclave key that a node sends for: the one named, else the node's own.

    Raises:
        ValueError: There is none, or it is no enclave key.
    """
    key = enclave_key or node.enclave_key
    if key is None:
        raise ValueError("name the member's enclave key, here or as the node's enclave_key: it is what sends")
    enclave_key_to_bytes(key)
    return key
