"""The emulated network of a load, in this process, so that what is so can be read past everything under test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrator.devnet import Devnet, DevnetConfig, running_devnet
from tests.benchmarks.harness import Devnet as Addresses
from tests.integration.harm.load import Load, create_groups
from tests.servers.ports import consecutive_ports


@asynccontextmanager
async def network(load: Load) -> AsyncIterator[tuple[Devnet, Addresses]]:
    """Run the nodes of a load with all its groups.

    Only the first node makes blocks: where a client halts nodes, the chain goes on and the whole load is done.
    """
    base_port = consecutive_ports(2 * load.nodes)
    config = DevnetConfig(
        nodes=load.nodes,
        validators=1,
        base_port=base_port,
        block_period_seconds=load.block_seconds,
        besu_version=load.version,
        replay_ms_per_transaction=0.5,
        seed=load.seed,
    )
    async with running_devnet(config) as devnet:
        await create_groups(devnet, load)
        yield devnet, Addresses(base_port, load.nodes)
