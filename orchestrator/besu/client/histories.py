"""What the forecast of an addition reads of a node: blocks, their roots, balances, who came into groups and left."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from orchestrator.besu.client.group_snapshots import read_presence, version_call
from orchestrator.besu.client.long_lists import read_long_list
from orchestrator.besu.client.node import MANAGEMENT_ADDRESSES, Node
from orchestrator.besu.codec import answers
from orchestrator.besu.codec.json_rpc import Call, result_of
from orchestrator.besu.codec.management_contract import (
    ContractLog,
    ManagementContractError,
    ParticipantAdded,
    decode_log,
)
from orchestrator.besu.codec.results import Block as SeenBlock
from orchestrator.besu.codec.results import PublicTransaction as SeenTransaction
from orchestrator.besu.errors import ProtocolError
from orchestrator.engine.ports.nodes import Block
from orchestrator.membership.forecast.blocks import ADDITION_BYTES, PRIVACY_PRECOMPILE, ChainBlock, PublicTransaction
from orchestrator.membership.forecast.memberships import MembershipLog

KEY_BYTES: Final = 32
MARKER_BYTES: Final = (KEY_BYTES, ADDITION_BYTES)

BLOCKS_AT_ONCE: Final = 64
"""Blocks in one batch: a block of a busy chain takes up to hundreds of kilobytes."""

GROUPS_AT_ONCE: Final = 16
MOST_SIZES: Final = 128
LOG_BLOCKS_AT_ONCE: Final = 10_000
"""Groups in one batch of logs, and blocks in one question: a node looks each block up, for each group."""

MOST_LOG_BLOCKS: Final = 100_000_000
"""Three years of a block a second: a node that says that its chain is longer would be read for ever."""


async def read_blocks(node: Node, block_numbers: Sequence[int]) -> tuple[Block, ...]:
    """Return blocks with their transactions in full, in batches.

    Args:
        node: Where to read.
        block_numbers: Which; the node has to have them.

    Raises:
        BesuError: The node cannot be read, or has not all of the blocks.
    """
    found: list[Block] = []
    for start in range(0, len(block_numbers), BLOCKS_AT_ONCE):
        numbers = block_numbers[start : start + BLOCKS_AT_ONCE]
        answered = await node.http.batch([Call("eth_getBlockByNumber", (hex(number), True)) for number in numbers])
        for number, answer in zip(numbers, answered, strict=True):
            block = answers.known(answers.read_block, result_of(answer), f"block {number}")
            if block.head.number != number:
                raise ProtocolError(f"asked for block {number}, answered another")
            found.append(_whole(block))
    return tuple(found)


async def read_public_roots(node: Node, block_numbers: Sequence[int]) -> tuple[tuple[str, str], ...]:
    """Return the hashes of some blocks, each with the state root of the public chain after it, in batches.

    Args:
        node: Where to read.
        block_numbers: Which; the node has to have them.

    Raises:
        BesuError: The node cannot be read, or has not all of the blocks.
    """
    found: list[tuple[str, str]] = []
    for start in range(0, len(block_numbers), BLOCKS_AT_ONCE):
        numbers = block_numbers[start : start + BLOCKS_AT_ONCE]
        answered = await node.http.batch([Call("eth_getBlockByNumber", (hex(number), False)) for number in numbers])
        for number, answer in zip(numbers, answered, strict=True):
            at, block_hash, root = answers.known(answers.read_public_root, result_of(answer), f"block {number}")
            if at != number:
                raise ProtocolError(f"asked for block {number}, answered another")
            found.append((block_hash, root))
    return tuple(found)


async def is_absent(node: Node, privacy_group_id: str, block_number: int) -> bool:
    """Return whether a node says by one call that it has no such group at a block that it has.

    Only ``0x`` says so (docs/besu.md#looking-before-leaping, 4). That a tenant is refused the call does not: it may be
    no member, or lack the permission, which the root tells apart (docs/besu.md#multi-tenancy, 3).

    Raises:
        NotKnownError: The node does not have the block.
        BesuError: The node cannot be read.
    """
    (answer,) = await node.http.batch([version_call(privacy_group_id, hex(block_number))])
    return answer.error is None and not read_presence(answer)


async def read_private_sizes(node: Node, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[int, ...]:
    """Return the sizes in bytes of a group's signed transactions in some blocks; those of at most `MOST_SIZES` markers.

    Args:
        node: Where to read.
        privacy_group_id: The group.
        block_numbers: Which; the node has to have them.

    Raises:
        BesuError: The node cannot be read, or has not all of the blocks.
    """
    blocks = await read_blocks(node, block_numbers)
    content = [block.content for block in blocks if block.content is not None]
    markers = [item.transaction_hash for block in content for item in block.transactions if item.marker][:MOST_SIZES]
    found = await node.private_transactions(markers) if markers else ()
    return tuple(
        len(item.raw) for item in found if item is not None and item.transaction.privacy_group_id == privacy_group_id
    )


async def read_balances(node: Node, accounts: Sequence[str], block_number: int) -> Mapping[str, int]:
    """Return what accounts have after a block, in wei, in one batch.

    Raises:
        BesuError: The node cannot be read.
    """
    answered = await node.http.batch([Call("eth_getBalance", (account, hex(block_number))) for account in accounts])
    return {
        account: answers.known(answers.read_quantity, result_of(answer), "such block")
        for account, answer in zip(accounts, answered, strict=True)
    }


async def read_memberships(
    node: Node, privacy_group_ids: Sequence[str], first_block: int, last_block: int
) -> tuple[MembershipLog, ...]:
    """Return who came into groups and who left them, group by group, in batches.

    Args:
        node: Where to read; it has to hold the groups.
        privacy_group_ids: The groups.
        first_block: The first block to look into.
        last_block: The last one.

    Raises:
        BesuError: The node cannot be read.
    """
    if last_block - first_block > MOST_LOG_BLOCKS:
        raise ProtocolError(f"blocks {first_block} to {last_block} are more than are read; is the node's head true?")
    found: dict[str, list[MembershipLog]] = {group: [] for group in privacy_group_ids}
    for start in range(0, len(privacy_group_ids), GROUPS_AT_ONCE):
        groups = privacy_group_ids[start : start + GROUPS_AT_ONCE]
        for first in range(first_block, last_block + 1, LOG_BLOCKS_AT_ONCE):
            last = min(first + LOG_BLOCKS_AT_ONCE - 1, last_block)
            wanted = {"fromBlock": hex(first), "toBlock": hex(last), "address": list(MANAGEMENT_ADDRESSES)}
            # Logs up to a block that a late replica does not have are cut off at its head without a word.
            newest, *answered = await node.http.batch(
                [
                    Call("eth_getBlockByNumber", (hex(last), False)),
                    *(Call("priv_getLogs", (group, wanted)) for group in groups),
                ]
            )
            answers.known(answers.read_head, result_of(newest), f"block {last}")
            for group, answer in zip(groups, answered, strict=True):
                read = await read_long_list(partial(_membership, group), result_of(answer))
                found[group] += [membership for membership in read if membership is not None]
    return tuple(log for of_group in found.values() for log in of_group)


def _whole(block: SeenBlock) -> Block:
    transactions = tuple(
        PublicTransaction(
            transaction_hash=item.transaction_hash,
            sender=item.sender.lower(),
            to=None if item.to is None else item.to.lower(),
            value=item.value,
            gas_limit=item.gas_limit,
            gas_price=item.gas_price,
            data_bytes=len(item.data),
            addition=item.data.hex() if len(item.data) == ADDITION_BYTES and _is_marker(item) else "",
            payload_key=item.data[:KEY_BYTES].hex() if len(item.data) in MARKER_BYTES and _is_marker(item) else "",
        )
        for item in block.transactions
    )
    number, block_hash = block.head.number, block.head.hash
    content = ChainBlock(number=number, block_hash=block_hash, gas_limit=block.gas_limit, transactions=transactions)
    hashes = tuple(item.transaction_hash for item in transactions)
    return Block(number=number, block_hash=block_hash, transactions=hashes, content=content)


def _is_marker(item: SeenTransaction) -> bool:
    return (item.to or "").lower() == PRIVACY_PRECOMPILE


def _membership(privacy_group_id: str, given: object) -> MembershipLog | None:
    log = answers.read_log(given)
    if log.removed:
        return None
    try:
        read = decode_log(ContractLog(log.address, log.topics, log.data))
    except ManagementContractError:
        return None  # a contract that was put in place of the management contract may log what it likes
    if read is None or (isinstance(read, ParticipantAdded) and not read.success):
        return None
    return MembershipLog(
        privacy_group_id=privacy_group_id,
        block_number=log.block_number,
        block_hash=log.block_hash,
        member=read.member,
        added=isinstance(read, ParticipantAdded),
    )
