"""The faults: each strikes for a while, and is healed when its coroutine is done."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Final

from orchestrator.devnet import Devnet
from tests.integration.faults.jumping_clock import JumpingClock
from tests.servers.nats_server import NatsServer
from tests.servers.postgresql_server import PostgreSQLServer

RPC_PAUSE_SECONDS = 0.15
"""Between two faulty answers, so that calls that come through lie between them."""

JUMPS_HOURS = (-30.0, -3.0, -0.05, 0.05, 3.0, 30.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a daemon depends on, as far as it can be made to fail.

    Attributes:
        devnet: The nodes and enclaves.
        nats: The message queue.
        postgresql: The store's server; None when the store is a file.
        clock: The daemon's time; None when the daemon is a process of its own.
        chance: Draws nodes, depths and directions.
    """

    devnet: Devnet
    nats: NatsServer
    postgresql: PostgreSQLServer | None
    clock: JumpingClock | None
    chance: Random

    @property
    def some_node(self) -> int:
        """A node's number, drawn."""
        return self.chance.randint(1, len(self.devnet.nodes))


Fault = Callable[[Surroundings, float], Awaitable[None]]
"""Strikes for so many seconds."""


async def rpc_latency(around: Surroundings, seconds: float) -> None:
    """Answers come late."""
    await _rpc(around, seconds, {"kind": "latency", "seconds": 0.7})


async def rpc_5xx(around: Surroundings, seconds: float) -> None:
    """A proxy before the node answers instead of it."""
    await _rpc(around, seconds, {"kind": "status", "status": around.chance.choice((500, 502, 503))})


async def rpc_reset(around: Surroundings, seconds: float) -> None:
    """Connections end before, within or after what they were asked for."""
    await _rpc(around, seconds, {"kind": around.chance.choice(("reset", "half", "lost"))})


async def websocket_cut(around: Surroundings, seconds: float) -> None:
    """WebSocket connections end without a word, again and again."""
    for _ in range(3):
        await around.devnet.call(1, "devnet_dropWebSockets", [])
        await asyncio.sleep(seconds / 3)


async def node_down(around: Surroundings, seconds: float) -> None:
    """A node is away."""
    node = around.some_node
    await around.devnet.call(1, "devnet_setNode", [node, False])
    await asyncio.sleep(seconds)
    await around.devnet.call(1, "devnet_setNode", [node, True])


async def enclave_down(around: Surroundings, seconds: float) -> None:
    """An enclave is away: its node stops importing blocks."""
    node = around.some_node
    await around.devnet.call(1, "devnet_setEnclave", [node, False])
    await asyncio.sleep(seconds)
    await around.devnet.call(1, "devnet_setEnclave", [node, True])


async def pool_lost(around: Surroundings, seconds: float) -> None:
    """What waits to be mined is forgotten, again and again."""
    for _ in range(5):
        await around.devnet.call(1, "devnet_dropPendingTransactions", [])
        await asyncio.sleep(seconds / 5)


async def reorg(around: Surroundings, seconds: float) -> None:
    """The newest blocks are replaced, with their transactions or without."""
    for _ in range(2):
        depth, drop = around.chance.randint(1, 2), around.chance.random() < 0.5
        await around.devnet.call(1, "devnet_reorg", [depth, drop])
        await asyncio.sleep(seconds / 2)


async def database_restart(around: Surroundings, seconds: float) -> None:
    """The database server is killed and comes back."""
    assert around.postgresql is not None, "a file can't be restarted"
    await asyncio.to_thread(around.postgresql.kill)
    await asyncio.sleep(seconds / 2)
    await asyncio.to_thread(around.postgresql.start)


async def broker_restart(around: Surroundings, seconds: float) -> None:
    """The message queue's server is killed and comes back."""
    await asyncio.to_thread(around.nats.kill)
    await asyncio.sleep(seconds / 2)
    await asyncio.to_thread(around.nats.start)


async def clock_jump(around: Surroundings, seconds: float) -> None:
    """The clock is set wrong, and then, or not, right again."""
    assert around.clock is not None, "another process's clock can't be set"
    around.clock.ahead += timedelta(hours=around.chance.choice(JUMPS_HOURS))
    await asyncio.sleep(seconds)
    if around.chance.random() < 0.5:
        around.clock.ahead = timedelta()


FAULTS: Final[Mapping[str, Fault]] = {
    fault.__name__: fault
    for fault in (
        rpc_latency,
        rpc_5xx,
        rpc_reset,
        websocket_cut,
        node_down,
        enclave_down,
        pool_lost,
        reorg,
        database_restart,
        broker_restart,
        clock_jump,
    )
}


async def heal(devnet: Devnet) -> None:
    """Undo what faults that were cut short left behind in the nodes."""
    await devnet.call(1, "devnet_clearFaults")
    for node in devnet.nodes:
        await devnet.call(1, "devnet_setNode", [node.number, True])
        await devnet.call(1, "devnet_setEnclave", [node.number, True])


async def _rpc(around: Surroundings, seconds: float, fault: dict[str, object]) -> None:
    for _ in range(max(1, round(seconds / RPC_PAUSE_SECONDS))):
        await around.devnet.call(1, "devnet_rpcFault", [{**fault, "node": around.some_node, "count": 2}])
        await asyncio.sleep(RPC_PAUSE_SECONDS)
