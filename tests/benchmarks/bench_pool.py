"""Additions through a few marker accounts: whether a block ever holds one twice, and how many blocks it takes."""

from pathlib import Path

from tests.benchmarks.figures import Figure, at_least, at_most
from tests.benchmarks.scale import Scale
from tests.integration.engine.pooled_additions import add_through_pool


async def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Measure the part pool; blocks are made when no account is left or nothing comes, so that load changes nothing."""
    groups, accounts = scale.pooled_additions, scale.marker_accounts
    folder = directory / "pool"
    folder.mkdir()
    run = await add_through_pool(folder, groups, accounts)
    note = f"{run.transactions} markers, {accounts} accounts, a network that permits accounts and charges for gas"
    return [
        Figure("pool", "additions that succeeded", run.succeeded, "", at_least(groups), note),
        Figure("pool", "how often a block holds an account, at the most", run.most, "", at_most(1)),
        Figure("pool", "blocks from the first marker to the last", run.blocks, "", at_most(run.bound)),
    ]
