"""Asking nodes and enclaves what an inspection judges; every question has a limit of time and of size."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, TypeVar

import aiohttp

from orchestrator.besu import answers
from orchestrator.besu.errors import (
    BesuError,
    MethodNotEnabledError,
    MethodNotFoundError,
    PrivacyDisabledError,
    RpcError,
    UnauthorizedError,
)
from orchestrator.besu.inspection import (
    PROBED_BATCH,
    EnclaveSeen,
    Expected,
    HeadDelivered,
    MarkerKeys,
    NodeSeen,
    NodeSilent,
    Unanswered,
)
from orchestrator.besu.inspection_enclave import ask_enclave
from orchestrator.besu.json_rpc import Call, result_of
from orchestrator.besu.management_contract import PRIVACY_PRECOMPILE, Abi, ManagementContractError
from orchestrator.besu.node import FIND_METHODS, Node
from orchestrator.besu.results import Head
from orchestrator.besu.tokens import TokenError, TokenFile
from orchestrator.besu.versions import native_abi
from orchestrator.besu.websocket_client import NodeSocket

ANSWER_SECONDS: Final = 15.0
"""For each question."""
CONNECT_SECONDS: Final = 5.0
LONGEST_WAIT_SECONDS: Final = 120.0
"""For a head over WebSocket, however slow the chain is."""

MARKER_BLOCKS: Final = 64
MARKERS: Final = 64
PERIOD_BLOCKS: Final = 10
KEYS: Final = 16
GROUPS: Final = 1_000
DIALECTS: Final = 50
OWNER_QUESTIONS: Final = 512

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One node to inspect, as it is configured.

    Attributes:
        node: Its HTTP side.
        enclave_keys: The keys that its enclave hosts.
        ws_url: Its WebSocket address; None when there is none.
        enclave_url: Its enclave's address for clients; None when there is none.
        token: Its bearer token.
        tls: For "wss" and for an enclave's "https"; None for the system's.
    """

    node: Node
    enclave_keys: tuple[str, ...]
    ws_url: str | None = None
    enclave_url: str | None = None
    token: TokenFile | None = None
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspector:
    """Asks nodes.

    Attributes:
        session: For enclaves.
        random: Spreads reconnections.
        now: The local clock, seconds since 1970.
        expected: What the configuration expects.
        member_sets: Sets of enclave keys that an offchain group may have.
    """

    session: aiohttp.ClientSession
    random: Random
    now: Callable[[], float]
    expected: Expected
    member_sets: Sequence[tuple[str, ...]] = ()

    async def inspect(self, targets: Sequence[Target]) -> tuple[NodeSeen | NodeSilent, ...]:
        """Return what was seen of each node; all are asked at the same time."""
        return tuple(await asyncio.gather(*(self.inspect_node(target) for target in targets)))

    async def inspect_node(self, target: Target) -> NodeSeen | NodeSilent:
        """Return what was seen of a node."""
        node = target.node
        head = await _asked(node.head())
        if isinstance(head, Unanswered):
            return NodeSilent(node.name, node.http.url, head)
        seen_at = self.now()
        period = await _asked(_block_seconds(node, head))
        async with asyncio.TaskGroup() as asking:
            find = asking.create_task(_find(target))
            offchain = asking.create_task(_asked(_answers_offchain(target)))
            subscription = asking.create_task(self._subscription(target, period))
            enclave = asking.create_task(self._enclave(target))
            markers = asking.create_task(_asked(_markers(target, head)))
            client = asking.create_task(_asked(node.client_version()))
            batches = asking.create_task(_asked(_most_in_batch(node)))
            distributes = asking.create_task(_asked(_distributes(node)))
            chain_id = asking.create_task(_asked(node.chain_id()))
            genesis = asking.create_task(_asked(_genesis(node)))
            api_groups = asking.create_task(_asked(node.api_groups()))
            validator = asking.create_task(_asked(_validates(node)))
            peers = asking.create_task(_asked(node.peer_count()))
            syncing = asking.create_task(_asked(node.syncing()))
            gas_price = asking.create_task(_asked(_quantity(node, "eth_gasPrice")))
            base_fee = asking.create_task(_asked(_base_fee(node)))
        found = find.result()
        groups = found if isinstance(found, Unanswered) else found[1]
        return NodeSeen(
            name=node.name,
            enclave_keys=target.enclave_keys,
            seen_at=seen_at,
            client=client.result(),
            configured_version=node.known_version,
            most_in_batch=batches.result(),
            distributes=distributes.result(),
            chain_id=chain_id.result(),
            genesis=genesis.result(),
            api_groups=api_groups.result(),
            find_method=found if isinstance(found, Unanswered) else found[0],
            groups=groups,
            foreign_groups=await _asked(_foreign(node, groups)),
            offchain_answered=offchain.result(),
            validator=validator.result(),
            peers=peers.result(),
            syncing=syncing.result(),
            head=head,
            block_seconds=period if isinstance(period, float) else None,
            gas_price=gas_price.result(),
            base_fee=base_fee.result(),
            markers=markers.result(),
            subscription=subscription.result(),
            enclave=enclave.result(),
        )

    async def _enclave(self, target: Target) -> EnclaveSeen | Unanswered | None:
        if target.enclave_url is None:
            return None
        sets = [members for members in self.member_sets if set(members).intersection(target.enclave_keys)]
        return await ask_enclave(self.session, target.enclave_url, sets, target.tls)

    async def _subscription(
        self, target: Target, period: float | Unanswered | None
    ) -> HeadDelivered | Unanswered | None:
        if target.ws_url is None:
            return None
        block_seconds = period if isinstance(period, float) else 0.0
        within = min(max(self.expected.head_within_seconds, 3 * block_seconds), LONGEST_WAIT_SECONDS)
        async with NodeSocket(target.ws_url, random=self.random, token=target.token, tls=target.tls) as socket:
            reader = socket.subscribe_heads()
            if not await socket.wait_connected(min(CONNECT_SECONDS, within)):
                return Unanswered("not_connected", socket.last_error or f"no connection to {target.ws_url}")
            began = self.now()
            try:
                async with asyncio.timeout(within):
                    async for item in reader:
                        if isinstance(item, Head):
                            at = self.now()
                            return HeadDelivered(
                                block_number=item.number,
                                after_seconds=at - began,
                                clock_lead_seconds=at - item.timestamp,
                            )
            except TimeoutError:
                return Unanswered("timeout", f"nothing came in {within:g} s")
            except BesuError as error:
                return Unanswered(error.reason, str(error))
        return Unanswered("not_connected", socket.last_error or "the connection ended")


async def owned_groups(
    seen: Sequence[NodeSeen | NodeSilent], nodes: Mapping[str, Node], accounts: Sequence[str], known: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the groups that each account owns, of those that nodes list and those that are known otherwise.

    Asks at most `OWNER_QUESTIONS` times; what is beyond is left out.

    Args:
        seen: What was seen of the nodes.
        nodes: The nodes by name.
        accounts: Addresses.
        known: Ids of groups known otherwise, such as from the store.
    """
    where: dict[str, str] = {}
    for node in seen:
        if isinstance(node, NodeSeen) and not isinstance(node.groups, Unanswered):
            for group in node.groups:
                where.setdefault(group, node.name)
    answering = [node.name for node in seen if isinstance(node, NodeSeen)]
    questions = [(account, group, [name]) for account in accounts for group, name in where.items()]
    questions += [(account, group, answering) for account in accounts for group in known if group not in where]
    asked = questions[:OWNER_QUESTIONS]
    told = await asyncio.gather(*(_owns(nodes, account, group, names) for account, group, names in asked))
    found: dict[str, list[str]] = {account: [] for account in accounts}
    for (account, group, _), owns in zip(asked, told, strict=True):
        if owns:
            found[account].append(group)
    return {account: tuple(groups) for account, groups in found.items()}


async def _asked(question: Awaitable[T]) -> T | Unanswered:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await question
    except BesuError as error:
        return Unanswered(error.reason, str(error))
    except TokenError as error:
        return Unanswered("unauthorized", str(error))
    except TimeoutError:
        return Unanswered("timeout", f"no answer within {ANSWER_SECONDS:g} s")


async def _owns(nodes: Mapping[str, Node], account: str, group: str, names: Sequence[str]) -> bool:
    for name in names:
        owns = await _asked(nodes[name].is_owner(group, account))
        if isinstance(owns, bool):
            return owns
    return False


async def _find(target: Target) -> tuple[str, tuple[str, ...]] | Unanswered:
    """Return the find method's name and the groups of the node's keys: it lists groups that *contain* the keys given.

    Source: ``findPrivacyGroupByMembers`` of Besu's ``FlexiblePrivacyController``.
    """
    failure = Unanswered("method_not_found", "none of the find methods is known")
    for method in FIND_METHODS:
        found: dict[str, None] = {}
        for key in target.enclave_keys[:KEYS]:
            listed = await _asked(target.node.http.call(method, [key]))
            if isinstance(listed, Unanswered):
                failure = listed
                break
            groups = answers.read_list(answers.read_found_group, listed)
            found.update(dict.fromkeys(group.privacy_group_id for group in groups[:GROUPS]))
        else:
            return method, tuple(found)
        if failure.reason not in {MethodNotFoundError.reason, MethodNotEnabledError.reason}:
            break
    return failure


async def _foreign(node: Node, groups: tuple[str, ...] | Unanswered) -> tuple[str, ...]:
    """Return the groups whose contract is of another dialect than the node's, of the first `DIALECTS`."""
    if isinstance(groups, Unanswered):
        return ()
    try:
        native = native_abi(await node.version())
    except BesuError:
        return ()  # what the version is has a finding of its own
    spoken = await asyncio.gather(*(_dialect(node, group) for group in groups[:DIALECTS]))
    return tuple(group for group, abi in zip(groups, spoken, strict=False) if abi is not native)


async def _dialect(node: Node, group: str) -> Abi | None:
    try:
        return await node.group_abi(group)
    except ManagementContractError:
        return None


async def _answers_offchain(target: Target) -> bool:
    await target.node.http.call("priv_findPrivacyGroup", list(target.enclave_keys[:1]))
    return True


async def _validates(node: Node) -> bool:
    return (await node.own_address()).lower() in {address.lower() for address in await node.validators()}


async def _most_in_batch(node: Node) -> int:
    answered = await node.http.batch([Call("eth_chainId")] * PROBED_BATCH)
    for answer in answered:
        result_of(answer)
    return min(node.http.most_in_batch, PROBED_BATCH)


async def _distributes(node: Node) -> bool:
    """Ask the method with bytes that are no transaction: a node that has it says so of the bytes."""
    try:
        await node.distribute_raw(b"\xc0")
    except (MethodNotFoundError, MethodNotEnabledError, PrivacyDisabledError, UnauthorizedError):
        raise
    except RpcError:
        pass
    return True


async def _genesis(node: Node) -> str:
    return (await node.header(0)).hash


async def _quantity(node: Node, method: str) -> int:
    return answers.read_quantity(await node.http.call(method))


async def _base_fee(node: Node) -> int:
    block = await node.http.call("eth_getBlockByNumber", "latest", False)
    fee = block.get("baseFeePerGas") if isinstance(block, dict) else None
    return answers.read_quantity(fee) if fee is not None else 0


async def _block_seconds(node: Node, head: Head) -> float | None:
    # The genesis block's time is its file's; block 1 is the first that was made.
    earlier = max(head.number - PERIOD_BLOCKS, 1)
    if head.number <= earlier:
        return None
    first = await node.header(earlier)
    return (head.timestamp - first.timestamp) / (head.number - earlier)


async def _markers(target: Target, head: Head) -> MarkerKeys:
    first = max(head.number - MARKER_BLOCKS + 1, 0)
    blocks = await target.node.blocks(first, head.number)
    seen = [item for block in blocks for item in block.transactions if item.to == PRIVACY_PRECOMPILE]
    newest = seen[-MARKERS:]
    carried = await target.node.private_transactions([item.transaction_hash for item in newest]) if newest else ()
    own = tuple(
        (item.sender, item.sender_nonce)
        for item, signed in zip(newest, carried, strict=True)
        if signed is not None and signed.transaction.private_from in target.enclave_keys
    )
    return MarkerKeys(blocks=len(blocks), seen=len(seen), own=own)
