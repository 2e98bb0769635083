"""A devnet whose nodes speak to their enclaves over HTTP, and what owners, applications and attackers do to it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from aiohttp import ClientSession
from eth_hash.auto import keccak

from orchestrator.besu.adapter.port import BesuNode
from orchestrator.besu.client.node import Node
from orchestrator.besu.codec.management_contract import (
    MANAGEMENT_PROXY,
    Method,
    decode_participants,
    encode_add_participants,
    encode_call,
    encode_remove_participant,
)
from orchestrator.besu.codec.private_transaction import (
    PrivateTransaction,
    address_of_private_key,
    sign_private_transaction,
)
from orchestrator.besu.transport.http_client import HttpNode
from orchestrator.devnet import Devnet, DevnetConfig, running_devnet
from orchestrator.devnet.chain.public_transaction import PublicTransaction
from orchestrator.devnet.encoding import from_base64, to_base64
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.runtime.clock import SystemClock
from tests.fakes.public_transactions import PublicTransactions
from tests.patience import patient

APPLICATION = "0x" + "11" * 20
OWNER_KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
OTHER_KEY = "c87509a1c067bbde78beb793e6fa76530b6382a4c0241e5e4a9ec0a0f44dc0d3"
SETTINGS = DevnetConfig(
    nodes=4,
    validators=2,
    base_port=0,
    block_period_seconds=0,
    replay_ms_per_transaction=0,
    submission_ms=0,
    enclave_http=True,
)
WAIT_SECONDS = 20.0


async def until(condition: Callable[[], object]) -> None:
    """Come back when a condition holds."""
    async with asyncio.timeout(patient(WAIT_SECONDS)):
        while not condition():  # noqa: ASYNC110 - nodes tell nobody
            await asyncio.sleep(0.002)


class GuardedNetwork(PublicTransactions):
    """A running devnet.

    Args:
        devnet: The devnet.
    """

    def __init__(self, devnet: Devnet) -> None:
        super().__init__()
        self.devnet = devnet
        self.network = devnet.emulation.network
        self.keys = [node.key for node in self.network.nodes]
        self.abi = self.network.behaviour.abi

    async def call(self, node: int, method: str, *params: Any) -> Any:
        """Call a method of a node."""
        return await self.devnet.call(node, method, params)

    def group(self, name: str) -> str:
        """Return the id of a group."""
        return to_base64(keccak(name.encode()))

    async def distribute(
        self, data: bytes, group: str, node: int = 1, *, to: str = MANAGEMENT_PROXY, key: str = OWNER_KEY
    ) -> bytes:
        """Sign a private transaction, have a node distribute it and return its payload key, or its two keys."""
        count = await self.call(node, "priv_getTransactionCount", address_of_private_key(key), group)
        transaction = PrivateTransaction(
            private_nonce=int(count, 16),
            private_from=self.keys[node - 1],
            privacy_group_id=group,
            chain_id=1337,
            to=to,
            data=data,
        )
        raw = "0x" + sign_private_transaction(transaction, key).hex()
        return bytes.fromhex((await self.call(node, "priv_distributeRawTransaction", raw))[2:])

    async def block(self, *transactions: PublicTransaction) -> int:
        """Make a block of exactly these transactions; returns its number when the nodes are through with it."""
        number = self.network.append_block(list(transactions)).number
        await self.imported()
        return number

    def advanced(self) -> bool:
        """Let the nodes do what is due; always true, to be asked within a condition."""
        self.devnet._advance_and_kick()
        return True

    async def imported(self) -> None:
        """Come back when each node has the newest block or stands before it for good."""
        head = self.network.chain.head

        def through() -> bool:
            return self.advanced() and all(
                not n.up or n.halted or n.misreads or n.head is head for n in self.network.nodes
            )

        await until(through)

    async def execute(self, data: bytes, group: str, node: int = 1, **options: Any) -> int:
        """Execute a private transaction in a block of its own and return the block's number."""
        return await self.block(self.marker(await self.distribute(data, group, node, **options)))

    async def create(self, group: str, *nodes: int) -> int:
        """Create a group."""
        return await self.execute(self.addition(*nodes), group, nodes[0])

    def addition(self, *nodes: int) -> bytes:
        """Return the call data of an addition."""
        return encode_add_participants(self.abi, [self.keys[node - 1] for node in nodes])

    async def write(self, group: str, node: int = 1, key: str = OWNER_KEY) -> int:
        """Write an application's transaction."""
        return await self.execute(b"\x01", group, node, to=APPLICATION, key=key)

    async def lock_and_distribute(self, group: str, added: int) -> bytes:
        """Lock a group, let a block pass, and distribute an addition; returns the payload that its marker brings."""
        await self.lock(group)
        await self.block()
        return await self.distribute(self.addition(added), group)

    async def lock(self, group: str, node: int = 1) -> int:
        """Lock a group."""
        return await self.execute(encode_call(Method.LOCK), group, node)

    async def unlock(self, group: str, node: int = 1) -> int:
        """Unlock a group."""
        return await self.execute(encode_call(Method.UNLOCK), group, node)

    async def remove(self, group: str, removed: int, node: int = 1) -> int:
        """Remove a member."""
        return await self.execute(encode_remove_participant(self.abi, self.keys[removed - 1]), group, node)

    async def add(self, group: str, *added: int, node: int = 1, window: int = 2) -> tuple[bytes, int]:
        """Lock, wait so many blocks, and add; returns the marker's input and the addition's block."""
        await self.lock(group, node)
        for _ in range(window - 1):
            await self.block()
        payload = await self.distribute(self.addition(*added), group, node)
        return payload, await self.block(self.marker(payload))

    def root(self, node: int, group: str) -> bytes | None:
        """Return the group's state root at a node's head."""
        timeline = self.network.nodes[node - 1].timelines.get(from_base64(group) or b"")
        last = timeline.last_at(self.network.nodes[node - 1].head.number) if timeline is not None else None
        return None if last is None else last.root

    def misreads(self, node: int) -> bool:
        """Return whether a node can't import the next block as its enclave answers."""
        return self.network.nodes[node - 1].misreads is not None

    def halted(self, node: int) -> bool:
        """Return whether a node stands before a block for good."""
        return self.network.nodes[node - 1].halted is not None

    async def members(self, node: int, group: str) -> tuple[str, ...]:
        """Return the group's members as a node knows them."""
        call = {"to": MANAGEMENT_PROXY, "data": "0x" + encode_call(Method.GET_PARTICIPANTS).hex()}
        answer = await self.call(node, "priv_call", group, call, "latest")
        return decode_participants(bytes.fromhex(answer[2:])) if answer and answer != "0x" else ()


@asynccontextmanager
async def guarded_network(**options: Any) -> AsyncIterator[GuardedNetwork]:
    """Run a devnet whose blocks are made on demand."""
    async with running_devnet(replace(SETTINGS, **options)) as devnet:
        yield GuardedNetwork(devnet)


def fleet_of(network: GuardedNetwork, session: ClientSession) -> Fleet:
    """Return the devnet's nodes as a daemon of all members has them configured."""
    nodes = [
        BesuNode(f"member{seen.number}", (seen.enclave_key,), Node(HttpNode(session, seen.http_url)), None)
        for seen in network.devnet.nodes
    ]
    return Fleet([ChainWatcher(node, SystemClock(), timedelta(seconds=1)) for node in nodes])
