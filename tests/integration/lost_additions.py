"""Losing an addition as real networks do: by another group's addition of the same member right behind it.

While another group's lock is in the block of the addition, and its own addition in the next, the new member's node
writes the head map of the first addition's block anew, without it (docs/besu.md#how-replay-damages-other-groups).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

from eth_hash.auto import keccak

from orchestrator.besu.codec.management_contract import MANAGEMENT_PROXY, Method, encode_add_participants, encode_call
from orchestrator.besu.codec.private_transaction import (
    PrivateTransaction,
    address_of_private_key,
    sign_private_transaction,
)
from orchestrator.devnet import Devnet
from orchestrator.devnet.encoding import to_base64
from tests.patience import patient

# The second well-known public development key: the owner of the other group.
_KEY = "c87509a1c067bbde78beb793e6fa76530b6382a4c0241e5e4a9ec0a0f44dc0d3"
_PACE = timedelta(milliseconds=50)
_LIMIT = timedelta(seconds=30)


@contextlib.asynccontextmanager
async def losing_the_next_addition(devnet: Devnet, member: int) -> AsyncIterator[None]:
    """Have the next addition that anybody sends lost by a new member's node one block later.

    Args:
        devnet: of at least three nodes; its blocks are made from here until the addition is lost.
        member: number of the new member's node, from 3.

    Raises:
        TimeoutError: nobody sent an addition to a group with a history.
    """
    losing = asyncio.create_task(_lose(devnet, member))
    try:
        yield
    finally:
        await asyncio.wait_for(losing, patient(_LIMIT.total_seconds()))


@contextlib.asynccontextmanager
async def held_at_the_next_addition(devnet: Devnet) -> AsyncIterator[None]:
    """Let the next addition that anybody sends be in the newest block while the context lasts.

    Args:
        devnet: its blocks are made from here, until the addition's is.

    Raises:
        TimeoutError: nobody sent an addition to a group with a history.
    """
    period = devnet.emulation.controls.block_period_seconds
    await devnet.call(1, "devnet_setBlockPeriod", [0])
    try:
        async with asyncio.timeout(patient(_LIMIT.total_seconds())):
            await _until_an_addition_waits(devnet)
        await devnet.call(1, "devnet_mine", [1])
        yield
    finally:
        await devnet.call(1, "devnet_setBlockPeriod", [period])


async def _until_an_addition_waits(devnet: Devnet) -> None:
    # A call in this process makes its block before anybody else runs: none slips in between the look and the block.
    while not _addition_waits(devnet):
        await devnet.call(1, "devnet_mine", [1])
        await asyncio.sleep(_PACE.total_seconds())


async def _lose(devnet: Devnet, member: int) -> None:
    period = devnet.emulation.controls.block_period_seconds
    await devnet.call(1, "devnet_setBlockPeriod", [0])
    try:
        group = keccak(b"beside %d" % devnet.emulation.network.chain.head.number)
        keys = [node.enclave_key for node in devnet.nodes]
        abi = devnet.emulation.network.behaviour.abi
        await send_call(devnet, group, encode_add_participants(abi, keys[:2]))
        await _until_an_addition_waits(devnet)
        for call_data in (encode_call(Method.LOCK), encode_add_participants(abi, [keys[member - 1]])):
            await send_call(devnet, group, call_data)
            await devnet.call(1, "devnet_mine", [1])
    finally:
        await devnet.call(1, "devnet_setBlockPeriod", [period])


async def send_call(devnet: Devnet, group: bytes, call_data: bytes) -> None:
    """Send a call of a group's contract through the first node, as the other owner, and wait for no block."""
    group_id = to_base64(group)
    count = await devnet.call(1, "priv_getTransactionCount", [address_of_private_key(_KEY), group_id])
    transaction = PrivateTransaction(
        private_nonce=int(count, 16),
        private_from=devnet.nodes[0].enclave_key,
        to=MANAGEMENT_PROXY,
        data=call_data,
        privacy_group_id=group_id,
        chain_id=devnet.emulation.network.config.chain_id,
    )
    raw = "0x" + sign_private_transaction(transaction, _KEY).hex()
    await devnet.call(1, "eea_sendRawTransaction", [raw])


def _addition_waits(devnet: Devnet) -> bool:
    return any(waiting.history_key is not None for waiting in devnet.emulation.network.pool.pending())
