"""The application of the demo: writes private transactions to a group, many in each block.

Markers of one block are in no order (docs/besu.md#nonces), so that one account can have one transaction in each block;
many accounts, each with a private nonce of its own in the group, write side by side.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from eth_hash.auto import keccak

from orchestrator.besu import HttpNode, Node, PrivateReceipt, PrivateTransaction, open_session, sign_private_transaction
from orchestrator.cli.demo.environment import CHAIN_ID

ACCOUNTS: Final = 20
_APPLICATION: Final = "0x00000000000000000000000000000000000a9911"
_BLOCK_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.1


class WritingError(Exception):
    """The application's transactions were not executed."""


async def write(
    url: str, privacy_group_id: str, enclave_key: str, transactions: int, on_progress: Callable[[int], None]
) -> int:
    """Write private transactions to a group and return when all are executed; returns how many blocks that took.

    Args:
        url: HTTP address of a member's node.
        privacy_group_id: The group.
        enclave_key: The member's key.
        transactions: How many.
        on_progress: Told how many are executed, after each block.

    Raises:
        WritingError: A block did not come, or a transaction was not executed.
        BesuError: The node failed.
    """
    keys = [keccak(b"account %d of the demo's application" % number) for number in range(ACCOUNTS)]
    async with open_session() as session:
        node = Node(HttpNode(session, url), name="application")
        written = blocks = 0
        while written < transactions:
            count = min(ACCOUNTS, transactions - written)
            head = await node.head_number()
            raws = [
                _signed(keys[index], blocks, privacy_group_id, enclave_key, b"entry %d" % (written + index))
                for index in range(count)
            ]
            async with asyncio.TaskGroup() as tasks:
                sends = [tasks.create_task(node.send_raw(raw)) for raw in raws]
            await _executed(node, [send.result() for send in sends], head)
            written, blocks = written + count, blocks + 1
            on_progress(written)
        return blocks


def _signed(key: bytes, private_nonce: int, privacy_group_id: str, enclave_key: str, data: bytes) -> bytes:
    transaction = PrivateTransaction(
        private_nonce=private_nonce,
        private_from=enclave_key,
        to=_APPLICATION,
        data=data,
        privacy_group_id=privacy_group_id,
        chain_id=CHAIN_ID,
    )
    return sign_private_transaction(transaction, key)


async def _executed(node: Node, pmt_hashes: list[str], head: int) -> None:
    receipts: list[PrivateReceipt] = []
    try:
        async with asyncio.timeout(_BLOCK_SECONDS):
            while len(receipts) < len(pmt_hashes):
                while await node.head_number() <= head:  # noqa: ASYNC110 - the block is made elsewhere
                    await asyncio.sleep(_POLL_SECONDS)
                head += 1
                receipts = [private for _, private in await node.receipts(pmt_hashes) if private is not None]
    except TimeoutError:
        raise WritingError(f"no block had the application's transactions within {_BLOCK_SECONDS:g} s") from None
    failed = sum(1 for receipt in receipts if receipt.status != 1)
    if failed:
        raise WritingError(f"{failed} of {len(pmt_hashes)} private transactions of the application failed")
