"""Another client of the owner's account locks a group with the same private nonce, in the block of our lock."""

import asyncio
from pathlib import Path

import pytest

from orchestrator.besu.client.own_markers import OwnMarkers, one_time_account
from orchestrator.besu.codec.management_contract import MANAGEMENT_PROXY, Method, encode_call
from orchestrator.besu.codec.private_transaction import PrivateTransaction, sign_private_transaction
from orchestrator.membership.attempt import Action, Attempt
from orchestrator.membership.model import State
from tests.integration.repair.engine_on_devnet import OWNER_KEY, Running, running
from tests.patience import patient

MARKERS = OwnMarkers(gas_limit=3_000_000, gas_price=0)


async def our_lock(run: Running, change_id: str) -> Attempt:
    """Wait until the lock is in the pools."""
    async with asyncio.timeout(patient(30)):
        while True:
            change = await run.engine.store.change(change_id)
            attempt = change.attempt if change is not None else None
            if attempt is not None and attempt.action is Action.LOCK and attempt.sent_block is not None:
                return attempt
            await asyncio.sleep(0.02)


async def foreign_call(run: Running, group: str, method: Method, private_nonce: int) -> bytes:
    """Distribute a call of the group's contract, signed by the owner; returns its payload's key."""
    transaction = PrivateTransaction(
        private_nonce=private_nonce,
        private_from=run.keys[0],
        to=MANAGEMENT_PROXY,
        data=encode_call(method),
        privacy_group_id=group,
        chain_id=run.devnet.emulation.network.config.chain_id,
    )
    raw = "0x" + sign_private_transaction(transaction, OWNER_KEY).hex()
    return bytes.fromhex((await run.devnet.call(1, "priv_distributeRawTransaction", [raw]))[2:])


async def send_marker(run: Running, payload_key: bytes, *, beside: str, before: bool) -> str:
    """Send a marker that comes before, or behind, another one in the same block: they are ordered by hash there."""
    chain_id = run.devnet.emulation.network.config.chain_id
    while True:
        marker = MARKERS.make(payload_key, chain_id, one_time_account())
        if (marker.pmt_hash < beside) is before:
            break
    sent: str = await run.devnet.call(1, "eth_sendRawTransaction", ["0x" + marker.raw.hex()])
    return sent


async def receipt_status(run: Running, pmt_hash: str) -> str:
    status: str = (await run.devnet.call(1, "priv_getTransactionReceipt", [pmt_hash]))["status"]
    return status


@pytest.mark.parametrize("before", [True, False], ids=["foreign lock first", "our lock first"])
async def test_a_foreign_lock_with_our_private_nonce_is_not_ours(tmp_path: Path, before: bool) -> None:
    """Of two locks with one private nonce in one block the first holds the group: we add under our own only.

    Where it is the other's, we neither add under it nor undo it; the change waits until it is gone, and then succeeds
    under a lock of its own.
    """
    async with running(tmp_path) as run:
        created = await run.at_rest((await run.ask("create", "create_group", run.keys[:2])).change_id)
        group = created.privacy_group_id
        await run.devnet.call(1, "devnet_setBlockPeriod", [0])
        await run.devnet.call(1, "devnet_mine", [1])  # no lock is sent in the block of the creation
        change = await run.ask("add", "add_members", [run.keys[2]], group)
        ours = await our_lock(run, change.change_id)
        payload_key = await foreign_call(run, group, Method.LOCK, ours.private_nonce)
        foreign = await send_marker(run, payload_key, beside=ours.marker.pmt_hash, before=before)
        await run.devnet.call(1, "devnet_mine", [1])
        holder, other = (foreign, ours.marker.pmt_hash) if before else (ours.marker.pmt_hash, foreign)
        assert await receipt_status(run, holder) == "0x1"
        assert await receipt_status(run, other) == "0x2"  # its private nonce is used
        if before:
            await run.until(change.change_id, State.QUEUED)
            assert [a.action for a in await run.engine.store.attempts(change.change_id)] == [Action.LOCK]
            waiting = await run.engine.store.change(change.change_id)
            assert waiting is not None
            assert waiting.waits_for is not None or waiting.reason is not None
            unlocking = await foreign_call(run, group, Method.UNLOCK, ours.private_nonce + 1)
            await send_marker(run, unlocking, beside="0x" + "f" * 64, before=True)
            await run.devnet.call(1, "devnet_mine", [1])
        await run.devnet.call(1, "devnet_setBlockPeriod", [0.1])
        ended = await run.at_rest(change.change_id)
        assert ended.state is State.SUCCEEDED, ended.reason
        attempts = await run.engine.store.attempts(change.change_id)
        assert [attempt.action for attempt in attempts] == [Action.LOCK] * (1 + before) + [Action.ADD]
        assert set(await run.members(group)) == set(run.keys)
