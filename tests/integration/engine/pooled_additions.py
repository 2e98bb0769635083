"""Many additions at once through a few marker accounts, and what the chain shows of it afterwards.

Blocks are made when each account has a marker in the pool, or when nothing has come for many looks, between which
everybody has a turn: so the number of blocks tells how well the accounts are used, on a busy machine as on an idle one.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.besu.client.own_markers import pooled_keys
from orchestrator.devnet.chain.chain import Block
from orchestrator.membership.model import RESTING, Change, State
from tests.integration.repair.engine_on_devnet import Running, running
from tests.patience import patient

SEED: Final = "07" * 32
GAS_PRICE: Final = 1_000
LOOK_SECONDS: Final = 0.01

QUIET_LOOKS: Final = 200
"""After so many without a new marker, two seconds or more, none is taken to come before the next block."""

SOON_LOOKS: Final = 20
"""After so many it is looked whether anything is left to be sent at all."""

PROVING: Final = frozenset({State.REPLAYING, State.VERIFYING})

PATIENCE_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledRun:
    """What the chain shows.

    Attributes:
        succeeded: Additions that did.
        transactions: Markers of these additions, locks included.
        blocks: From the first of them to the last.
        most: How often one block holds an account, at the most.
        others: Accounts in these blocks that are none of the pool's.
        accounts: How many the pool has.
    """

    succeeded: int
    transactions: int
    blocks: int
    most: int
    others: int
    accounts: int

    @property
    def bound(self) -> int:
        """So many blocks are enough: each account has one marker in each, and a lock's window takes two."""
        return -(-self.transactions // self.accounts) + 2


async def add_through_pool(folder: Path, groups: int, accounts: int) -> PooledRun:
    """Create groups of two and add the third member to all of them at once, on a network that charges for gas.

    Args:
        folder: For the configuration and the database.
        groups: How many.
        accounts: Marker accounts.
    """
    pool = frozenset(pooled_keys(bytes.fromhex(SEED), accounts))
    seed = folder / "markers.seed"
    seed.write_text(SEED)
    seed.chmod(0o600)
    more = f'[markers]\nseed_file = "markers.seed"\naccounts = {accounts}\n[chain]\ngas_price = {GAS_PRICE}\n'
    paid = {"min_gas_price_wei": GAS_PRICE, "local_priority": False, "balances_wei": dict.fromkeys(pool, 10**15)}
    async with running(folder, more=more, block_period_seconds=0, **paid) as daemon:
        daemon.devnet.emulation.network.permitted = pool
        created = [await daemon.ask(f"create{n}", "create_group", daemon.keys[:2]) for n in range(groups)]
        await _all_at_rest(daemon, created, accounts)
        first = daemon.devnet.emulation.network.chain.head.number + 1
        named = [change.privacy_group_id for change in created]
        added = [await daemon.ask(f"add{n}", "add_members", [daemon.keys[2]], g) for n, g in enumerate(named)]
        ends = await _all_at_rest(daemon, added, accounts)
        return _seen(daemon, ends, first, pool)


async def _all_at_rest(daemon: Running, changes: list[Change], accounts: int) -> list[Change]:
    """Make blocks until no change is at work."""
    network = daemon.devnet.emulation.network
    waiting = {change.change_id for change in changes}
    ended: list[Change] = []
    pooled, quiet = 0, 0
    async with asyncio.timeout(patient(PATIENCE_SECONDS)):
        while waiting:
            await asyncio.sleep(LOOK_SECONDS)
            now, quiet = len(network.pool.pending()), quiet + 1
            if now != pooled:
                pooled, quiet = now, 0
            elif pooled >= accounts or quiet >= QUIET_LOOKS or (quiet >= SOON_LOOKS and not pooled):
                found = [await daemon.engine.store.change(change_id) for change_id in waiting]
                rest = [c for c in found if c is not None and c.state in RESTING and c.state is not State.QUEUED]
                ended += rest
                waiting -= {change.change_id for change in rest}
                proven = all(c is not None and c.state in PROVING | RESTING - {State.QUEUED} for c in found)
                if pooled >= accounts or quiet >= QUIET_LOOKS or proven:
                    await daemon.devnet.call(1, "devnet_mine", ["0x1"])
                    pooled, quiet = 0, 0
    return ended


def _seen(daemon: Running, ends: list[Change], first: int, pool: frozenset[str]) -> PooledRun:
    chain = daemon.devnet.emulation.network.chain
    blocks = [block for n in range(first, chain.head.number + 1) if (block := chain.block(n)) is not None]
    holding = [block.number for block in blocks if block.transactions]
    senders = [_senders(block) for block in blocks]
    return PooledRun(
        succeeded=sum(change.state is State.SUCCEEDED for change in ends),
        transactions=sum(counted.total() for counted in senders),
        blocks=max(holding) - min(holding) + 1,
        most=max(count for counted in senders for count in counted.values()),
        others=len({sender for counted in senders for sender in counted} - pool),
        accounts=len(pool),
    )


def _senders(block: Block) -> Counter[str]:
    return Counter(transaction.sender for transaction in block.transactions)
