"""All enclaves' ports, and the nodes that speak to their enclaves there."""

import asyncio
from collections.abc import Callable

import aiohttp

from orchestrator.devnet.enclaves.link import EnclaveLink
from orchestrator.devnet.errors import DevnetError
from orchestrator.devnet.network.network import Network
from orchestrator.devnet.servers.enclave_client import AskedEnclave, fetch_payloads
from orchestrator.devnet.servers.enclave_server import EnclaveServer


class EnclavePorts:
    """The ports of a devnet's enclaves.

    Args:
        network: the devnet.
        on_answer: called when a node's enclave answered.
        advance: brings the network to the present time.

    Attributes:
        urls: where they answer, once they were opened; ``urls[0]`` is node 1's.
    """

    def __init__(self, network: Network, on_answer: Callable[[], None], advance: Callable[[], None]) -> None:
        config = network.config
        first = config.base_port and config.base_port + 2 * config.nodes
        self.urls: list[str] = []
        self._network = network
        self._on_answer = on_answer
        self._wanted = [asyncio.Event() for _ in network.nodes]
        self._session: aiohttp.ClientSession | None = None
        self._servers = [
            EnclaveServer(
                network.enclaves,
                node.enclave,
                host=config.host,
                port=first and first + node.number - 1,
                advance=advance,
            )
            for node in network.nodes
        ]

    async def open(self) -> None:
        """Listen on all ports, and have the nodes speak to their enclaves there.

        Raises:
            DevnetError: a port is taken.
        """
        self._session = aiohttp.ClientSession(trust_env=False)
        for node, server, wanted in zip(self._network.nodes, self._servers, self._wanted, strict=True):
            try:
                await server.open()
            except OSError as error:
                raise DevnetError(
                    f"enclave port {server.port} cannot be opened ({error.strerror}); choose another base port"
                ) from error
            client = AskedEnclave(self._session, self._network.enclaves.wait_seconds)
            client.link = node.link = EnclaveLink(server.url, client, wanted.set)
        self.urls = [server.url for server in self._servers]

    async def run(self) -> None:
        """Ask for what nodes wait for, for ever."""
        async with asyncio.TaskGroup() as tasks:
            for node, wanted in zip(self._network.nodes, self._wanted, strict=True):
                if node.link is not None:
                    tasks.create_task(fetch_payloads(node.link, wanted, self._on_answer))

    async def settle(self) -> None:
        """Close the ports of enclaves that were killed, and open those of enclaves that are back."""
        for server in self._servers:
            await server.follow()

    async def close(self) -> None:
        """Close all ports."""
        for server in self._servers:
            await server.end()
        if self._session is not None:
            await self._session.close()
