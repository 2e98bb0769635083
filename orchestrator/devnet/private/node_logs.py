"""Logs of private transactions with their place in the chain. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.besu.codec.management_contract import ContractLog
from orchestrator.devnet.chain.chain import Block, Chain
from orchestrator.devnet.private.head_maps import GroupTimeline
from orchestrator.devnet.private.private_state import ExecutedTransaction


@dataclass(frozen=True, slots=True)
class NodeLog:
    """A log of a private transaction, with its place."""

    privacy_group_id: bytes
    block: Block
    pmt_hash: bytes
    transaction_index: int
    log_index: int
    log: ContractLog
    removed: bool = False


def logs_of(
    privacy_group_id: bytes, block: Block, records: Iterable[ExecutedTransaction], *, removed: bool = False
) -> list[NodeLog]:
    """Logs of a group's records of one block, numbered through the block; records of other blocks have none here."""
    found: list[NodeLog] = []
    for record in records:
        if not record.receipt.logs:
            continue
        for index, transaction in enumerate(block.transactions):
            if transaction.hash == record.pmt_hash:
                found.extend(
                    NodeLog(privacy_group_id, block, record.pmt_hash, index, log_index, log, removed)
                    for log_index, log in enumerate(record.receipt.logs, start=len(found))
                )
    return found


def logs_between(
    chain: Chain, privacy_group_id: bytes, timeline: GroupTimeline, first: int, last: int
) -> list[NodeLog]:
    """Logs of a group in the canonical blocks from ``first`` to ``last``, oldest first."""
    found: list[NodeLog] = []
    for number, records in timeline.between(first, last):
        block = chain.block(number)
        if block is not None:
            found.extend(logs_of(privacy_group_id, block, records))
    return found


def matches(log: ContractLog, addresses: frozenset[str], topics: tuple[frozenset[str] | None, ...]) -> bool:
    """Tell whether a filter lets a log through.

    Args:
        log: the log.
        addresses: lower case; none let all through.
        topics: by position; None lets all through. More positions than the log has let nothing through.
    """
    if addresses and log.address not in addresses:
        return False
    if len(topics) > len(log.topics):
        return False
    return all(wanted is None or topic in wanted for wanted, topic in zip(topics, log.topics, strict=False))
