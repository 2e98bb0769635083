"""Switching nodes off and on while a devnet runs."""

import asyncio

import aiohttp

from orchestrator.devnet import DevnetConfig, running_devnet
from tests.servers.ports import consecutive_ports


async def test_a_node_that_is_switched_by_several_at_once_is_up_in_the_end() -> None:
    """Whoever switches it on while another one is still closing its ports waits for that, and finds them free."""
    config = DevnetConfig(nodes=1, validators=1, block_period_seconds=0, base_port=consecutive_ports(2))
    async with running_devnet(config) as devnet, aiohttp.ClientSession() as session:
        (node,) = devnet.nodes
        for _ in range(10):
            switches = (devnet.call(1, "devnet_setNode", [1, up]) for up in (False, True, False, True))
            await asyncio.gather(*switches)
        async with session.get(f"{node.http_url}/liveness") as answer:
            assert answer.status == 200
