"""What a network does while groups are changed: applications write to all groups, others send public transactions."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Final

from orchestrator.besu.codec.management_contract import MANAGEMENT_PROXY, encode_add_participants
from orchestrator.besu.codec.private_transaction import (
    PrivateTransaction,
    address_of_private_key,
    sign_private_transaction,
)
from orchestrator.devnet import Devnet
from orchestrator.devnet.errors import RpcError
from tests.benchmarks.harness import OWNER_KEY, group_id
from tests.patience import patient

CONTRACT: Final = "0x" + "a9" * 20
"""What applications call: no code, so that a call changes the state and nothing else."""
_FOUNDERS: Final = 2
_LOOKS_A_BLOCK: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much goes on.

    Attributes:
        groups: Groups, each of the first two nodes at the start.
        nodes: Members' nodes.
        rounds: Changes asked for of each group.
        writes_per_second: Private transactions of applications, to all groups in turn.
        block_seconds: Between blocks.
        public_accounts: Accounts that send public transactions.
        public_share: The share of blocks that has one of an account.
        pair_blocks: Every so many blocks an account is twice in one: no new member can replay that block.
        version: Of Besu.
        seed: Of everything that is drawn.
    """

    groups: int
    nodes: int = 5
    rounds: int = 5
    writes_per_second: float = 20.0
    block_seconds: float = 1.0
    public_accounts: int = 2
    public_share: float = 0.05
    pair_blocks: int = 20
    version: str = "22.4.4"
    seed: int = 1

    @property
    def group_ids(self) -> tuple[str, ...]:
        """The groups, base64."""
        return tuple(group_id(f"harm-{number}") for number in range(self.groups))


class Applications:
    """Members' applications: they write to all groups in turn, each through the node of some member.

    Attributes:
        sent: How many writes nodes took.

    Args:
        devnet: The nodes.
        load: How much.
    """

    def __init__(self, devnet: Devnet, load: Load) -> None:
        self._devnet = devnet
        self._load = load
        self._chance = Random(load.seed)  # noqa: S311 - repeatable, not secret
        self._keys = [self._chance.randbytes(32).hex() for _ in range(load.nodes)]
        self._accounts = [address_of_private_key(key) for key in self._keys]
        self._written_at: dict[tuple[str, int], int] = {}
        self.sent = 0

    async def run(self) -> None:
        """Write until cancelled."""
        pause = 1 / self._load.writes_per_second
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            for group in self._chance.sample(self._load.group_ids, self._load.groups):
                await self._write(group)
                due = max(due + pause, loop.time() - 1.0)  # what a busy machine missed is not made up for at once
                await asyncio.sleep(due - loop.time())

    async def _write(self, group: str) -> None:
        network = self._devnet.emulation.network
        members = [
            node
            for node in network.nodes
            if node.halted is None and node.head is network.chain.head and is_member(self._devnet, group, node.number)
        ]
        if not members:
            return
        node = self._chance.choice(members)
        if self._written_at.get((group, node.number)) == node.head.number:
            return  # the one before waits in the pool: its private nonce is not used yet
        try:
            count = await self._devnet.call(
                node.number, "priv_getTransactionCount", [self._accounts[node.number - 1], group]
            )
            transaction = PrivateTransaction(
                private_nonce=int(count, 16),
                private_from=node.key,
                to=CONTRACT,
                data=self._chance.randbytes(36),
                privacy_group_id=group,
                chain_id=network.config.chain_id,
            )
            raw = sign_private_transaction(transaction, self._keys[node.number - 1])
            await self._devnet.call(node.number, "eea_sendRawTransaction", ["0x" + raw.hex()])
        except RpcError:
            return  # the group is locked just now, or its membership changes
        self._written_at[group, node.number] = node.head.number
        self.sent += 1


def is_member(devnet: Devnet, group: str, node: int) -> bool:
    """Whether a node (from 1) has a group and believes itself a member of it."""
    found = devnet.emulation.network.nodes[node - 1]
    timeline = found.timelines.get(base64.b64decode(group))
    state = timeline.state_at(found.head.number) if timeline is not None else None
    return state is not None and found.key in state.contract.participants


async def create_groups(devnet: Devnet, load: Load) -> None:
    """Create all groups of the first two nodes, owned by the daemon's account; returns when all exist."""
    abi = devnet.emulation.network.behaviour.abi
    keys = [node.enclave_key for node in devnet.nodes[:_FOUNDERS]]
    for group in load.group_ids:
        transaction = PrivateTransaction(
            private_nonce=0,
            private_from=keys[0],
            to=MANAGEMENT_PROXY,
            data=encode_add_participants(abi, keys),
            privacy_group_id=group,
            chain_id=devnet.emulation.network.config.chain_id,
        )
        raw = sign_private_transaction(transaction, OWNER_KEY)
        await devnet.call(1, "eea_sendRawTransaction", ["0x" + raw.hex()])
    async with asyncio.timeout(patient(60)):
        while not all(is_member(devnet, group, 1) for group in load.group_ids):  # noqa: ASYNC110 - nodes tell nobody
            await asyncio.sleep(load.block_seconds / _LOOKS_A_BLOCK)


async def pass_blocks(devnet: Devnet, count: int, block_seconds: float) -> None:
    """Wait until so many more blocks were made."""
    chain = devnet.emulation.network.chain
    wanted = chain.head.number + count
    async with asyncio.timeout(patient(30 + 10 * count * block_seconds)):
        while chain.head.number < wanted:  # noqa: ASYNC110 - nodes tell nobody
            await asyncio.sleep(block_seconds / _LOOKS_A_BLOCK)


@asynccontextmanager
async def loaded(devnet: Devnet, load: Load) -> AsyncIterator[Applications]:
    """Let applications and others send while the context lasts, and let what is pending then be mined."""
    applications = Applications(devnet, load)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(applications.run()), tasks.create_task(_public(devnet, load))]
        yield applications
        for task in running:
            task.cancel()
    await devnet.call(1, "devnet_publicTraffic", [0, 0])
    await pass_blocks(devnet, 3, load.block_seconds)


async def _public(devnet: Devnet, load: Load) -> None:
    """Send public transactions now and then, and at times two of an account for one block."""
    while True:
        await devnet.call(1, "devnet_publicTraffic", [load.public_accounts, load.public_share])
        await pass_blocks(devnet, load.pair_blocks - 1, load.block_seconds)
        await devnet.call(1, "devnet_publicTraffic", [1, 2])
        await pass_blocks(devnet, 1, load.block_seconds)
