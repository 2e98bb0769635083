"""A devnet with real ports: what makes blocks as time passes, and what ``orchestrator devnet`` runs."""

import asyncio
import contextlib
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from orchestrator.devnet.banner import DevnetNode, banner_lines
from orchestrator.devnet.clock import Clock, LoopClock, VirtualClock
from orchestrator.devnet.config import DevnetConfig
from orchestrator.devnet.emulation import Emulation
from orchestrator.devnet.errors import DevnetError, RpcError
from orchestrator.devnet.journal import JOURNAL_NAME, genesis_timestamp_of, open_journal
from orchestrator.devnet.network.history import make_history
from orchestrator.devnet.servers.enclave_ports import EnclavePorts
from orchestrator.devnet.servers.gateway import Gateway
from orchestrator.devnet.servers.in_process import InProcessNode
from orchestrator.devnet.servers.jwt_auth import TokenVerifier
from orchestrator.devnet.servers.node_servers import NodeServer

_IDLE_SECONDS: Final = 60.0


class Devnet:
    """A devnet in this process; ``running_devnet`` makes it.

    Attributes:
        config: as it was set up.
        emulation: everything behind the ports.
        nodes: where the nodes answer; ``nodes[0]`` is node 1.
    """

    def __init__(self, config: DevnetConfig, clock: Clock) -> None:
        self.config = config
        kept_since = genesis_timestamp_of(config.data_dir / JOURNAL_NAME) if config.data_dir else None
        wall_time = time.time()
        genesis_timestamp = int(wall_time) if kept_since is None else kept_since
        self.emulation = Emulation(config, genesis_timestamp=genesis_timestamp, now=clock.now(), wall_time=wall_time)
        self._journal = (
            open_journal(self.emulation.network, config.data_dir / JOURNAL_NAME) if config.data_dir else None
        )
        if config.history and self.emulation.network.chain.head.number == 0:
            make_history(self.emulation.network, config.history)
        self.nodes: Sequence[DevnetNode] = ()
        self._clock = clock
        self._kick = asyncio.Event()
        self._switches: list[tuple[int, bool]] = []
        verifier = TokenVerifier.from_file(config.jwt_public_key_file) if config.jwt_public_key_file else None
        tls = _tls_context(config)
        controls = self.emulation.controls
        controls.on_change = self._kick.set
        controls.on_node = lambda number, up: self._switches.append((number, up))
        controls.on_websocket_drop = self._drop_websockets
        controls.move_time = clock.move if isinstance(clock, VirtualClock) else None
        self._servers = [
            NodeServer(
                Gateway(api, clock, verifier, self._advance, self._kick.set),
                clock,
                controls.faults,
                host=config.host,
                http_port=config.base_port and config.base_port + 2 * index,
                websocket_port=config.base_port and config.base_port + 2 * index + 1,
                tls=tls,
                settle=self.settle,
            )
            for index, api in enumerate(self.emulation.apis)
        ]
        self._settling = asyncio.Lock()
        self._opening: set[asyncio.Task[None]] = set()
        self._enclaves = (
            EnclavePorts(self.emulation.network, self._advance_and_kick, self._advance) if config.enclave_http else None
        )

    async def call(self, node: int, method: str, params: Sequence[Any] = (), *, tenant: str | None = None) -> Any:
        """Call a method of node ``node`` (from 1) without a socket and return its result.

        Raises:
            RpcError: as the node answers.
        """
        caller = InProcessNode(self.emulation.apis[node - 1], self._clock, self._advance)
        result = await caller.call(method, params, tenant=tenant)
        await self.settle()
        self._kick.set()
        return result

    def _advance(self) -> None:
        # Real time may be late for a block, which the loop that makes them then makes; virtual time is exact.
        if isinstance(self._clock, VirtualClock):
            self.emulation.advance(self._clock.now())
        else:
            self.emulation.network.advance(self._clock.now())

    def _advance_and_kick(self) -> None:
        self._advance()
        self._kick.set()

    async def settle(self) -> None:
        """Open and close the ports of nodes and enclaves that were switched on or off."""
        # In a task of its own: who asks may be a request to the very node whose port is closed, and ends with that.
        task = asyncio.create_task(self._settle())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        await asyncio.shield(task)

    async def _settle(self) -> None:
        # One after the other: a port that is opened while another caller is still closing it is taken.
        async with self._settling:
            while self._switches:
                number, up = self._switches.pop(0)
                server = self._servers[number - 1]
                await server.close()
                if up:
                    await server.open()
            if self._enclaves is not None and self._enclaves.urls:
                await self._enclaves.settle()

    async def open(self) -> None:
        """Listen on all ports.

        Raises:
            DevnetError: a port is taken.
        """
        if self._enclaves is not None:
            await self._enclaves.open()
        for server in self._servers:
            try:
                await server.open()
            except OSError as error:
                raise DevnetError(
                    f"node port {server.http_port} or {server.websocket_port} cannot be opened ({error.strerror}); "
                    "choose another base port"
                ) from error
        scheme = "s" if self.config.tls_certificate_file is not None else ""
        self.nodes = tuple(
            DevnetNode(
                number=api.node.number,
                http_url=f"http{scheme}://{self.config.host}:{server.http_port}",
                ws_url=f"ws{scheme}://{self.config.host}:{server.websocket_port}",
                enclave_key=api.node.key,
                enclave_url=self._enclaves.urls[api.node.number - 1] if self._enclaves is not None else "",
            )
            for api, server in zip(self.emulation.apis, self._servers, strict=True)
        )

    async def close(self) -> None:
        """Close all ports."""
        await asyncio.gather(*self._opening, return_exceptions=True)
        for server in self._servers:
            await server.end()
        if self._enclaves is not None:
            await self._enclaves.close()
        if self._journal is not None:
            self._journal.close()

    async def run(self) -> None:
        """Make blocks and let replays go on as time passes, for ever."""
        async with asyncio.TaskGroup() as tasks:
            if self._enclaves is not None:
                tasks.create_task(self._enclaves.run())
            tasks.create_task(self._make_blocks())

    async def _make_blocks(self) -> None:
        is_virtual = isinstance(self._clock, VirtualClock)
        while True:
            self._kick.clear()
            wake_at = self.emulation.advance(self._clock.now(), catch_up=is_virtual)
            # Virtual time only moves when somebody moves it, and then the event is set.
            seconds = _IDLE_SECONDS if wake_at is None or is_virtual else wake_at - self._clock.now()
            if seconds <= 0:
                await asyncio.sleep(0)
                continue
            with contextlib.suppress(TimeoutError):
                # Not wait_for: in Python 3.11 it swallows a cancellation that comes together with the event.
                async with asyncio.timeout(seconds):
                    await self._kick.wait()

    def _drop_websockets(self, node: int | None) -> None:
        for number, server in enumerate(self._servers, start=1):
            if node in {None, number}:
                server.drop_websockets()


@contextlib.asynccontextmanager
async def running_devnet(config: DevnetConfig, clock: Clock | None = None) -> AsyncIterator[Devnet]:
    """Run a devnet in this event loop; it stops when the block is left.

    Raises:
        DevnetError: a port is taken, or a file of the configuration cannot be read.
    """
    devnet = Devnet(config, clock or (VirtualClock() if config.virtual_time else LoopClock()))
    try:
        await devnet.open()
        try:
            async with asyncio.TaskGroup() as tasks:
                maker = tasks.create_task(devnet.run())
                try:
                    yield devnet
                finally:
                    maker.cancel()
        except BaseExceptionGroup as group:
            # What the caller's own block raised reaches the caller as it was raised.
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise
    finally:
        await devnet.close()


async def serve(config: DevnetConfig, on_open: Callable[[Devnet], None] = lambda _: None) -> None:
    """Run a devnet until SIGINT or SIGTERM; prints the line ``ready`` when it answers, then where and for whom.

    Args:
        config: as it is to be set up.
        on_open: told the devnet before that line is printed.

    Raises:
        DevnetError: it cannot be started.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with running_devnet(config) as devnet:
            on_open(devnet)
            sys.stdout.write("\n".join(("ready", *banner_lines(devnet.config, devnet.nodes), "")))
            sys.stdout.flush()
            await stop.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _tls_context(config: DevnetConfig) -> ssl.SSLContext | None:
    if config.tls_certificate_file is None or config.tls_key_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(config.tls_certificate_file, config.tls_key_file)
    except (OSError, ssl.SSLError) as error:
        raise DevnetError(f"the TLS certificate or key cannot be read: {error}") from error
    return context


__all__ = ["Devnet", "DevnetNode", "RpcError", "running_devnet", "serve"]
