"""The questions that an inspection asks of one node; each raises `BesuError` unless it says otherwise."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from dataclasses import replace
from typing import Final, TypeVar

from orchestrator.besu.client.node import FIND_METHODS, Node
from orchestrator.besu.codec import answers
from orchestrator.besu.codec.json_rpc import Call, result_of
from orchestrator.besu.codec.management_contract import PRIVACY_PRECOMPILE, Abi, ManagementContractError
from orchestrator.besu.codec.results import Block, Head
from orchestrator.besu.errors import (
    BesuError,
    MethodNotEnabledError,
    MethodNotFoundError,
    PrivacyDisabledError,
    RpcError,
    UnauthorizedError,
)
from orchestrator.besu.versions import native_abi
from orchestrator.doctor.findings import PROBED_BATCH, MarkerKeys, NextBlock, Pair, Unanswered
from orchestrator.membership.forecast.blocks import ADDITION_BYTES

ANSWER_SECONDS: Final = 15.0
"""For each question."""

MARKER_BLOCKS: Final = 64
MARKERS: Final = 64
PAIRS: Final = 16
PERIOD_BLOCKS: Final = 10
KEYS: Final = 16
GROUPS: Final = 1_000
DIALECTS: Final = 50

T = TypeVar("T")


async def asked(question: Awaitable[T]) -> T | Unanswered:
    """Return the answer to a question, or why there is none; never raises what nodes cause."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await question
    except BesuError as error:
        return Unanswered(error.reason, str(error))
    except TimeoutError:
        return Unanswered("timeout", f"no answer within {ANSWER_SECONDS:g} s")


async def find(node: Node, enclave_keys: tuple[str, ...]) -> tuple[str, tuple[str, ...]] | Unanswered:
    """Return the find method's name and the groups of the node's keys: it lists groups that *contain* the keys given.

    Source: ``findPrivacyGroupByMembers`` of Besu's ``FlexiblePrivacyController``.
    """
    failure = Unanswered("method_not_found", "none of the find methods is known")
    for method in FIND_METHODS:
        found: dict[str, None] = {}
        # One by one: the answer for several is of groups that have them all, and a tenant's token may ask for its own
        # only (docs/besu.md#addresses-and-events, 6, and docs/besu.md#multi-tenancy, 4).
        for key in enclave_keys[:KEYS]:
            listed = await asked(node.http.call(method, [key]))
            if isinstance(listed, Unanswered):
                failure = listed
                break
            groups = answers.read_list(answers.read_found_group, listed)
            found.update(dict.fromkeys(group.privacy_group_id for group in groups[:GROUPS]))
        else:
            return method, tuple(found)
        # Any other failure is the node's answer; another name of the method would only hide it.
        if failure.reason not in {MethodNotFoundError.reason, MethodNotEnabledError.reason}:
            break
    return failure


async def foreign(node: Node, groups: tuple[str, ...] | Unanswered) -> tuple[str, ...]:
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


async def answers_offchain(node: Node, enclave_keys: tuple[str, ...]) -> bool:
    """Return True when the node answers a method of offchain groups."""
    await node.http.call("priv_findPrivacyGroup", list(enclave_keys[:1]))
    return True


async def validates(node: Node) -> bool:
    """Return whether the node makes blocks."""
    # A validator's address is its node key's (docs/besu.md#consensus-and-validators, 1).
    return (await node.own_address()).lower() in {address.lower() for address in await node.validators()}


async def most_in_batch(node: Node) -> int:
    """Return how many requests the node takes at once, at most `PROBED_BATCH`."""
    answered = await node.http.batch([Call("eth_chainId")] * PROBED_BATCH)
    # A batch may be answered while each request in it is refused.
    for answer in answered:
        result_of(answer)
    return min(node.http.most_in_batch, PROBED_BATCH)


async def distributes(node: Node) -> bool:
    """Ask the method with bytes that are no transaction: a node that has it says so of the bytes."""
    try:
        await node.distribute_raw(b"\xc0")
    except (MethodNotFoundError, MethodNotEnabledError, PrivacyDisabledError, UnauthorizedError):
        raise
    except RpcError:
        pass
    return True


async def genesis(node: Node) -> str:
    """Return the hash of the node's block 0."""
    return (await node.header(0)).hash


async def quantity(node: Node, method: str) -> int:
    """Return the number that a method without parameters answers."""
    return answers.read_quantity(await node.http.call(method))


async def base_fee(node: Node) -> int | None:
    """Return the newest block's base fee in wei; None where there is none."""
    # Not by a header: those that the client reads hold what every line has, and a base fee is not among it.
    block = await node.http.call("eth_getBlockByNumber", "latest", False)
    fee = block.get("baseFeePerGas") if isinstance(block, dict) else None
    return answers.read_quantity(fee) if fee is not None else None


async def block_seconds(node: Node, head: Head) -> float | None:
    """Return the mean time between the newest blocks; None when there are too few."""
    # The genesis block's time is its file's; block 1 is the first that was made.
    earlier = max(head.number - PERIOD_BLOCKS, 1)
    if head.number <= earlier:
        return None
    first = await node.header(earlier)
    return (head.timestamp - first.timestamp) / (head.number - earlier)


async def markers(node: Node, enclave_keys: tuple[str, ...], head: Head) -> MarkerKeys:
    """Return who signed the markers of the newest blocks, and which accounts are twice in one of these."""
    first = max(head.number - MARKER_BLOCKS + 1, 0)
    blocks = await node.blocks(first, head.number)
    seen = [item for block in blocks for item in block.transactions if item.to == PRIVACY_PRECOMPILE]
    newest = seen[-MARKERS:]
    carried = await node.private_transactions([item.transaction_hash for item in newest]) if newest else ()
    own = tuple(
        (item.sender, item.sender_nonce)
        for item, signed in zip(newest, carried, strict=True)
        # Another member's node may sign its markers otherwise: only those of this one tell how it does.
        if signed is not None and signed.transaction.private_from in enclave_keys
    )
    pairs = [pair for block in blocks for pair in pairs_of(block)][-PAIRS:]
    named = [await _with_groups(node, pair, blocks[pair.block_number - first]) for pair in pairs]
    return MarkerKeys(blocks=len(blocks), seen=len(seen), own=own, pairs=tuple(named))


def pairs_of(block: Block) -> list[Pair]:
    """Return which accounts are twice in a block, without the groups that it concerns."""
    sent = Counter(item.sender for item in block.transactions)
    marking = {item.sender for item in block.transactions if item.to == PRIVACY_PRECOMPILE}
    return [
        Pair(block_number=block.head.number, account=account, times=times, markers=account in marking)
        for account, times in sent.items()
        if times > 1
    ]


async def _with_groups(node: Node, pair: Pair, block: Block) -> Pair:
    """Only an executed transaction counts: one that failed closes no group (docs/besu.md#what-a-replay-needs)."""
    hashes = [item.transaction_hash for item in block.transactions if item.to == PRIVACY_PRECOMPILE][:MARKERS]
    if not hashes:
        return pair
    carried = await node.private_transactions(hashes)
    known = [(pmt_hash, signed) for pmt_hash, signed in zip(hashes, carried, strict=True) if signed is not None]
    receipts = await node.receipts([pmt_hash for pmt_hash, _ in known]) if known else ()
    groups = dict.fromkeys(
        signed.transaction.privacy_group_id
        for (_, signed), (_, receipt) in zip(known, receipts, strict=True)
        if receipt is not None and receipt.status == 1
    )
    return replace(pair, groups=tuple(group for group in groups if group is not None))


async def next_block(node: Node, number: int, newest: int) -> NextBlock:
    """Return what a block is that another node does not get past."""
    (block,) = await node.blocks(number, number)
    found = [item for item in block.transactions if item.to == PRIVACY_PRECOMPILE]
    bringing = [item.transaction_hash for item in found if len(item.data) == ADDITION_BYTES][:MARKERS]
    carried = await node.private_transactions(bringing) if bringing else ()
    groups = dict.fromkeys(one.transaction.privacy_group_id for one in carried if one is not None)
    return NextBlock(
        number=number,
        newest=newest,
        markers=len(found),
        additions=len(bringing),
        groups=tuple(group for group in groups if group is not None),
    )
