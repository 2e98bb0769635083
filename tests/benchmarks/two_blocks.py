"""The least that safe additions take: a client that knows everything before, and waits for nothing but two blocks.

It reads, checks and keeps nothing, so that no client that adds in the second block after the lock can be faster.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from orchestrator.besu import (
    HttpNode,
    NodeSocket,
    PrivateTransaction,
    open_session,
    sign_private_transaction,
    wait_mined,
)
from orchestrator.besu.client.node import Node
from orchestrator.besu.codec.management_contract import MANAGEMENT_PROXY, Method, encode_add_participants, encode_call
from orchestrator.besu.versions import native_abi
from orchestrator.cli.demo.processes import ProcessError
from tests.benchmarks.harness import OWNER_KEY, Devnet
from tests.benchmarks.watching import Watch

MINED_SECONDS = 60.0
_LOCK_NONCE = 1
"""A group that was only created: its creation has the owner's private nonce 0."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What is signed for one addition before the clock runs."""

    lock: bytes
    addition: bytes


async def sign_additions(devnet: Devnet, groups: Sequence[str], new_key: str) -> list[Signed]:
    """Sign the lock and the addition of each group; the groups were created and nothing else was done to them."""
    async with open_session() as session:
        abi = native_abi(await Node(HttpNode(session, devnet.http(1))).version())

    def signed(group: str, private_nonce: int, data: bytes) -> bytes:
        transaction = PrivateTransaction(
            private_nonce=private_nonce,
            private_from=devnet.members[0],
            to=MANAGEMENT_PROXY,
            data=data,
            privacy_group_id=group,
            chain_id=1337,
        )
        return sign_private_transaction(transaction, OWNER_KEY)

    return [
        Signed(
            signed(group, _LOCK_NONCE, encode_call(Method.LOCK)),
            signed(group, _LOCK_NONCE + 1, encode_add_participants(abi, [new_key])),
        )
        for group in groups
    ]


async def add_all(devnet: Devnet, watch: Watch, additions: Sequence[Signed]) -> None:
    """Lock, let a block pass, add: all groups at once; returns when all receipts say that it is done.

    Raises:
        ProcessError: One was not done.
    """
    async with (
        open_session() as session,
        NodeSocket(devnet.ws(1), random=Random(0)) as socket,  # noqa: S311 - it spreads reconnections
        asyncio.TaskGroup() as tasks,
    ):
        node = Node(HttpNode(session, devnet.http(1)))
        for addition in additions:
            tasks.create_task(_add(node, socket, watch, addition))


async def _add(node: Node, socket: NodeSocket, watch: Watch, addition: Signed) -> None:
    locked_in = await _execute(node, socket, addition.lock)
    await watch.wait_for(lambda: watch.head > locked_in, MINED_SECONDS)
    await _execute(node, socket, addition.addition)


async def _execute(node: Node, socket: NodeSocket, raw: bytes) -> int:
    pmt_hash = await node.send_raw(raw)
    mined = await wait_mined(node, pmt_hash, socket=socket, timeout_seconds=MINED_SECONDS, poll_seconds=1.0)
    receipt = await node.private_receipt(pmt_hash)
    if receipt is None or receipt.status != 1:
        raise ProcessError(f"{pmt_hash} was mined in block {mined.block_number} without effect")
    return mined.block_number
