"""Filling the scratch group: private transactions of throw-away accounts, each with a marker of its own.

The node's markers are not used: where it signs them with a fixed key, two in one block would make that block
unreplayable for every group that is in it (docs/besu.md#what-a-replay-needs).
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Final

from orchestrator.besu.client.node import Node
from orchestrator.besu.client.own_markers import OwnMarkers, one_time_account
from orchestrator.besu.client.pmt_wait import NotMinedError, wait_mined
from orchestrator.besu.codec.private_transaction import USUAL_GAS_LIMIT, PrivateTransaction, sign_private_transaction
from orchestrator.besu.errors import BesuError

IN_A_BLOCK: Final = 20
TARGET: Final = "0x00000000000000000000000000000000000a9911"
"""An account without code: calling it executes, and costs next to nothing."""
_MINED_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.1


class FillingError(Exception):
    """The transactions can't be written; the message says why and what to do."""


async def fill(
    node: Node,
    privacy_group_id: str,
    enclave_key: str,
    transactions: int,
    gas_price: int,
    on_progress: Callable[[int], None],
) -> frozenset[int]:
    """Write private transactions to a group, some in each block, and return the blocks that hold them.

    Args:
        node: The member's node.
        privacy_group_id: The group.
        enclave_key: The member.
        transactions: How many.
        gas_price: In wei, of the markers.
        on_progress: Told how many are written, after each block.

    Raises:
        FillingError: The network does not take markers of accounts without funds, or one was not executed.
        BesuError: The node failed.
    """
    # Markers of one block are in no order (docs/besu.md#nonces, 4): one account can have one transaction in each block.
    keys = [secrets.token_bytes(32) for _ in range(min(IN_A_BLOCK, transactions))]
    chain_id = await node.chain_id()
    markers = OwnMarkers(gas_limit=USUAL_GAS_LIMIT, gas_price=gas_price)
    blocks: set[int] = set()
    written = nonce = 0
    while written < transactions:
        raws = []
        for key in keys[: transactions - written]:
            transaction = PrivateTransaction(
                private_nonce=nonce,
                private_from=enclave_key,
                to=TARGET,
                data=secrets.token_bytes(32),
                privacy_group_id=privacy_group_id,
                chain_id=chain_id,
            )
            raws.append(sign_private_transaction(transaction, key))
        sent = await asyncio.gather(*(_sent(node, raw, chain_id, markers) for raw in raws))
        for pmt_hash in sent:
            blocks.add(await _executed(node, pmt_hash))
        written, nonce = written + len(raws), nonce + 1
        on_progress(written)
    return frozenset(blocks)


async def _sent(node: Node, raw: bytes, chain_id: int, markers: OwnMarkers) -> str:
    # An account for each marker: an account twice in a block closes the group (docs/besu.md#what-a-replay-needs).
    marker = markers.make(await node.distribute_raw(raw), chain_id, one_time_account())
    try:
        await node.broadcast_raw(marker.raw)
    except BesuError as error:
        detail = f"the node does not take a marker of an account without funds: {error}"
        raise FillingError(
            f"{detail}. See docs/operations.md, Networks that permit accounts, or charge for gas."
        ) from error
    return marker.pmt_hash


async def _executed(node: Node, pmt_hash: str) -> int:
    """Return the block of a private transaction that was executed."""
    try:
        await wait_mined(node, pmt_hash, socket=None, timeout_seconds=_MINED_SECONDS, poll_seconds=_POLL_SECONDS)
        async with asyncio.timeout(_MINED_SECONDS):
            while (receipt := await node.private_receipt(pmt_hash)) is None:  # noqa: ASYNC110 - it happens on the node
                await asyncio.sleep(_POLL_SECONDS)
    except NotMinedError as error:
        raise FillingError(str(error)) from error
    except TimeoutError as error:
        raise FillingError(f"{node.name} does not say what became of transaction {pmt_hash}") from error
    if receipt.status != 1:
        raise FillingError(
            f"a transaction was mined in block {receipt.block_number} and failed (status {receipt.status})"
        )
    return receipt.block_number
