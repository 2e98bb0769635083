"""The changes of a load by clients that know nothing of what a replay does: the public library, and a window of one."""

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from random import Random
from typing import Final

from orchestrator.besu import (
    BesuError,
    HttpNode,
    NodeSocket,
    NotMinedError,
    PrivateTransaction,
    open_session,
    sign_private_transaction,
    wait_mined,
)
from orchestrator.besu.client.node import Node
from orchestrator.besu.codec.management_contract import (
    MANAGEMENT_PROXY,
    Abi,
    Method,
    encode_add_participants,
    encode_call,
    encode_remove_participant,
)
from orchestrator.besu.versions import native_abi
from orchestrator.devnet import Devnet
from tests.benchmarks.harness import OWNER, OWNER_KEY
from tests.benchmarks.harness import Devnet as Addresses
from tests.integration.harm.changes import Asked, draw_changes
from tests.integration.harm.load import Load, loaded
from tests.integration.harm.network import network
from tests.integration.harm.truth import Harm, find_harm, unreplayable_blocks

_FOLDER: Final = Path(__file__).parents[2] / "clients/web3js-quorum"
_SCRIPT: Final = Path(__file__).parents[2] / "benchmarks/baselines/changes.js"
_CHAIN_ID: Final = 1337
_MINED_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRun:
    """How a run ended.

    Attributes:
        harm: What is wrong on the nodes.
        done: How many changes the client calls done.
        failed: How many it calls failed.
        blocks: From the first block of the load to the end of the last change.
        writes: How many transactions of applications nodes took.
        unreplayable: How many blocks no new member can replay.
    """

    harm: Harm
    done: int
    failed: int
    blocks: int
    writes: int
    unreplayable: int


async def change_by_window_of_one(load: Load) -> ClientRun:
    """Add in the block after the lock's, all groups at once, round by round."""
    async with (
        network(load) as (devnet, addresses),
        open_session() as session,
        NodeSocket(addresses.ws(1), random=Random(load.seed)) as socket,  # noqa: S311 - it spreads reconnections
    ):
        version = await Node(HttpNode(session, addresses.http(1))).version()
        client = _WindowOfOne(
            Node(HttpNode(session, addresses.http(1))), socket, addresses.members, native_abi(version)
        )
        began = devnet.emulation.network.chain.head.number
        async with loaded(devnet, load) as applications:
            ends: Counter[bool] = Counter()
            for _, together in groupby(draw_changes(load), attrgetter("round_number")):
                ends.update(await asyncio.gather(*(client.change(asked) for asked in together)))
            ended = devnet.emulation.network.chain.head.number
        return _ended(devnet, load, ends[True], ends[False], ended - began, applications.sent)


async def change_by_library(directory: Path, load: Load, *, patience_seconds: float) -> ClientRun:
    """Use ``web3js-quorum``, all groups at once, round by round.

    Args:
        directory: For its plan.
        load: What goes on meanwhile; of a version whose contract the library can speak.
        patience_seconds: How long it may take.

    Raises:
        TimeoutError: It did not end within that.
        RuntimeError: It failed as a whole.
    """
    async with network(load) as (devnet, addresses):
        plan = directory / "changes.json"
        plan.write_text(json.dumps(_plan(addresses, draw_changes(load))))
        began = devnet.emulation.network.chain.head.number
        async with loaded(devnet, load) as applications:
            said = await _run_library(plan, patience_seconds)
            ended = devnet.emulation.network.chain.head.number
        return _ended(devnet, load, said["done"], said["failed"], ended - began, applications.sent)


class _WindowOfOne:
    """The schedule of the shortest lock: the addition is submitted as soon as the lock's block is there.

    Args:
        node: What everything goes through.
        socket: Its socket.
        members: Each node's enclave key.
        abi: The contract's dialect.
    """

    def __init__(self, node: Node, socket: NodeSocket, members: Sequence[str], abi: Abi) -> None:
        self._node = node
        self._socket = socket
        self._members = members
        self._abi = abi

    async def change(self, asked: Asked) -> bool:
        """Make a change; returns whether all of it executed."""
        try:
            for node in asked.leaving:
                data = encode_remove_participant(self._abi, self._members[node - 1])
                if not await self._execute(asked.group, data):
                    return False
            if not asked.joining:
                return True
            if not await self._execute(asked.group, encode_call(Method.LOCK)):
                return False
            keys = [self._members[node - 1] for node in asked.joining]
            if await self._execute(asked.group, encode_add_participants(self._abi, keys)):
                return True
            await self._execute(asked.group, encode_call(Method.UNLOCK))
        except (BesuError, NotMinedError):
            return False
        return False

    async def _execute(self, group: str, data: bytes) -> bool:
        transaction = PrivateTransaction(
            private_nonce=await self._node.private_nonce(OWNER, group),
            private_from=self._members[0],
            to=MANAGEMENT_PROXY,
            data=data,
            privacy_group_id=group,
            chain_id=_CHAIN_ID,
        )
        pmt_hash = await self._node.send_raw(sign_private_transaction(transaction, OWNER_KEY))
        await wait_mined(self._node, pmt_hash, socket=self._socket, timeout_seconds=_MINED_SECONDS, poll_seconds=1.0)
        receipt = await self._node.private_receipt(pmt_hash)
        return receipt is not None and receipt.status == 1


def _ended(devnet: Devnet, load: Load, done: int, failed: int, blocks: int, writes: int) -> ClientRun:
    return ClientRun(
        harm=find_harm(devnet, load.group_ids),
        done=done,
        failed=failed,
        blocks=blocks,
        writes=writes,
        unreplayable=len(unreplayable_blocks(devnet)),
    )


def _plan(addresses: Addresses, changes: Sequence[Asked]) -> dict[str, object]:
    keys = addresses.members
    rounds = [
        [
            {
                "privacyGroupId": asked.group,
                "joining": [keys[node - 1] for node in asked.joining],
                "leaving": [keys[node - 1] for node in asked.leaving],
            }
            for asked in together
        ]
        for _, together in groupby(changes, attrgetter("round_number"))
    ]
    return {
        "url": addresses.http(1),
        "chainId": _CHAIN_ID,
        "privateKey": OWNER_KEY,
        "enclaveKey": keys[0],
        "rounds": rounds,
    }


async def _run_library(plan: Path, patience_seconds: float) -> dict[str, int]:
    node = shutil.which("node")
    if node is None:
        raise RuntimeError("node is not installed: run `make setup`")
    process = await asyncio.create_subprocess_exec(
        *(node, str(_SCRIPT), str(plan)), cwd=_FOLDER, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(patience_seconds):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode or not output:
        raise RuntimeError(f"web3js-quorum ended with {process.returncode}: {errors.decode()[-1000:]}")
    found: dict[str, int] = json.loads(output.splitlines()[-1])  # the library has its own to say before
    return found
