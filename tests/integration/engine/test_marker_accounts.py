"""Markers of configured accounts, on devnets that permit accounts and charge for gas."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from orchestrator.besu.client.own_markers import pooled_keys
from orchestrator.membership.model import State
from tests.integration.engine.pooled_additions import add_through_pool
from tests.integration.repair.engine_on_devnet import OWNER, Running, running

SEED = "07" * 32
ACCOUNTS = 3
GROUPS = 5
GAS_PRICE = 1_000
POOL = frozenset(pooled_keys(bytes.fromhex(SEED), ACCOUNTS))


def a_pool(folder: Path, chain: str = "") -> str:
    seed = folder / "markers.seed"
    seed.write_text(SEED)
    seed.chmod(0o600)
    return f'[markers]\nseed_file = "markers.seed"\naccounts = {ACCOUNTS}\n{chain}'


async def add_to_many(daemon: Running) -> None:
    """Create groups of two and add the third member to all of them at once."""
    network = daemon.devnet.emulation.network
    created = [await daemon.ask(f"create{n}", "create_group", daemon.keys[:2]) for n in range(GROUPS)]
    ends = await asyncio.gather(*(daemon.at_rest(change.change_id) for change in created))
    assert {end.state for end in ends} == {State.SUCCEEDED}, [end.reason for end in ends]
    groups = [change.privacy_group_id for change in created]
    added = [await daemon.ask(f"add{n}", "add_members", [daemon.keys[2]], g) for n, g in enumerate(groups)]
    ends = await asyncio.gather(*(daemon.at_rest(change.change_id) for change in added))
    assert {end.state for end in ends} == {State.SUCCEEDED}, [end.reason for end in ends]
    blocks = [network.chain.block(number) for number in range(network.chain.head.number + 1)]
    senders = [Counter(t.sender for t in block.transactions) for block in blocks if block is not None]
    assert {count for block in senders for count in block.values()} <= {1}, "an account is twice in a block"
    assert sum((Counter(block) for block in senders), Counter()).total() == 3 * GROUPS
    assert {sender for block in senders for sender in block} == POOL


async def test_a_network_that_permits_accounts(tmp_path: Path) -> None:
    """Markers of permitted accounts go through, each account once a block, and no group stays locked."""
    async with running(tmp_path, more=a_pool(tmp_path)) as daemon:
        daemon.devnet.emulation.network.permitted = POOL
        await add_to_many(daemon)


async def test_a_network_that_charges_for_gas(tmp_path: Path) -> None:
    """Accounts with funds pay for their markers."""
    paid = {"min_gas_price_wei": GAS_PRICE, "local_priority": False, "balances_wei": dict.fromkeys(POOL, 10**15)}
    more = a_pool(tmp_path, f"[chain]\ngas_price = {GAS_PRICE}\n")
    async with running(tmp_path, more=more, **paid) as daemon:
        await add_to_many(daemon)


@pytest.mark.parametrize("permitted", [frozenset(), frozenset({OWNER})])
async def test_accounts_that_are_not_permitted_park_the_change(tmp_path: Path, permitted: frozenset[str]) -> None:
    """Before anything is locked, with the verb that lists what has to be permitted."""
    async with running(tmp_path, more=a_pool(tmp_path)) as daemon:
        daemon.devnet.emulation.network.permitted = permitted
        asked = await daemon.ask("create", "create_group", daemon.keys[:2])
        parked = await daemon.at_rest(asked.change_id)
        assert parked.reason is not None
        assert (parked.state, parked.reason.slug) == (State.PARKED, "marker_account_refused")
        daemon.devnet.emulation.network.permitted = POOL
        assert (await daemon.retry(asked.change_id)).state is State.SUCCEEDED


async def test_many_additions_use_each_account_in_every_block(tmp_path: Path) -> None:
    """No block holds an account twice, and of the blocks none is left out but for the locks' window."""
    run = await add_through_pool(tmp_path, groups=20, accounts=4)
    assert (run.succeeded, run.transactions) == (20, 40)
    assert (run.most, run.others) == (1, 0)
    assert run.blocks <= run.bound == 12
