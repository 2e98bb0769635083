"""Switching nodes off and on while a devnet runs."""

import asyncio
import contextlib

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


async def test_a_node_that_is_switched_by_a_request_to_itself_is_up_in_the_end() -> None:
    """A request that closes the node's own port, and so itself, does not leave it closed."""
    config = DevnetConfig(nodes=1, validators=1, block_period_seconds=0, base_port=consecutive_ports(2))
    async with running_devnet(config) as devnet, aiohttp.ClientSession() as session:
        (node,) = devnet.nodes
        call = {"jsonrpc": "2.0", "id": 1, "method": "devnet_setNode", "params": [1, True]}
        with contextlib.suppress(aiohttp.ClientConnectionError):
            await session.post(node.http_url, json=call)
        await devnet.settle()
        async with session.get(f"{node.http_url}/liveness") as answer:
            assert answer.status == 200
