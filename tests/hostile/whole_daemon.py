"""A real daemon on emulated nodes, one of them behind a lying proxy, and what is asked of it."""

import asyncio
import base64
import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest.mock import patch

import aiohttp

from orchestrator.app.configured import node_access
from orchestrator.app.daemon import run_daemon
from orchestrator.besu.transport.http_client import HttpNode
from orchestrator.config import Config
from orchestrator.devnet import Devnet, DevnetConfig, running_devnet
from orchestrator.store import migrate
from tests.hostile.lying_proxy import LyingProxy
from tests.integration.faults import chain_truth as truth
from tests.patience import within
from tests.servers.side_loop import in_a_thread

OWNER: Final = "0xFE3B557E8Fb62b89F4916B721be55cEb828dBd73"
OWNER_KEY: Final = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
"""The well-known public development key of that account."""

NODES: Final = 4
VALIDATORS: Final = 3
BLOCK_SECONDS: Final = 0.25
RPC_SECONDS: Final = 1.0
LEAST_SECONDS: Final = 20.0
ENDED: Final = ("succeeded", "failed", "cancelled", "parked")


@dataclass(frozen=True, slots=True)
class Asked:
    """A change that was asked for.

    Attributes:
        kind: What.
        group: Where.
        members: Whom, by their nodes' numbers.
    """

    kind: str
    group: str
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cast:
    """Who is who.

    Attributes:
        liar: Number of the node that lies.
    """

    liar: int

    def without_liar(self, random: Random, *, again: bool = False) -> list[Asked]:
        """A group of the other nodes: it is created, gets a member and loses it, and may get it once more."""
        group, (first, second, third) = _group(random), random.sample(self._others, 3)
        return [
            Asked("create_group", group, (first, second)),
            Asked("add_members", group, (third,)),
            Asked("remove_members", group, (third,)),
            *([Asked("add_members", group, (third,))] if again else []),
        ]

    def with_liar(self, random: Random) -> list[Asked]:
        """A group that the lying node is in from the start, or comes into."""
        group, (first, second) = _group(random), random.sample(self._others, 2)
        founders, comes = random.choice([((self.liar, first), second), ((first, second), self.liar)])
        asked = [Asked("create_group", group, founders), Asked("add_members", group, (comes,))]
        return [*asked, Asked("remove_members", group, (comes,))] if random.random() < 0.5 else asked

    def shared(self, random: Random) -> list[Asked]:
        """A group of the lying node and each other one."""
        return [Asked("create_group", _group(random), (self.liar, other)) for other in self._others]

    @property
    def _others(self) -> list[int]:
        return [number for number in range(1, NODES + 1) if number != self.liar]


@dataclass(frozen=True, slots=True)
class Rig:
    """A daemon on emulated nodes, one of them behind a proxy that does not lie yet.

    Attributes:
        devnet: The nodes.
        cast: Who is who.
        proxy: In front of the one that is going to lie.
        daemon: The daemon.
        usual_seconds: What a group's changes took with all nodes honest.
    """

    devnet: Devnet
    cast: Cast
    proxy: LyingProxy
    daemon: "Daemon"
    usual_seconds: float


@asynccontextmanager
async def beside_a_liar(random: Random, seed: int, make_proxy: type[LyingProxy]) -> AsyncIterator[Rig]:
    """Run a daemon, and let a group's changes come to their end while all nodes are honest."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        devnet = await stack.enter_async_context(
            running_devnet(
                DevnetConfig(
                    nodes=NODES,
                    validators=VALIDATORS,
                    base_port=0,
                    block_period_seconds=BLOCK_SECONDS,
                    replay_ms_per_transaction=1,
                    seed=seed,
                )
            )
        )
        cast = Cast(random.randint(1, NODES))
        liar = devnet.nodes[cast.liar - 1]
        others = [node.http_url for node in devnet.nodes if node is not liar]
        proxy = make_proxy(seed, liar.http_url, liar.ws_url, others, slow_seconds=RPC_SECONDS * 1.2)
        places = {node.number: (node.http_url, node.ws_url) for node in devnet.nodes}
        places[cast.liar] = stack.enter_context(in_a_thread(proxy.start))
        daemon = await stack.enter_async_context(_running(folder, devnet, list(places.values())))
        loop = asyncio.get_running_loop()
        began = loop.time()
        await daemon.ended(await daemon.ask(cast.without_liar(random)), LEAST_SECONDS * 3)
        yield Rig(devnet, cast, proxy, daemon, loop.time() - began)


def _group(random: Random) -> str:
    return base64.b64encode(random.randbytes(32)).decode()


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running daemon, asked over HTTP."""

    running: "asyncio.Task[None]"
    http: aiohttp.ClientSession
    url: str
    keys: Sequence[str]

    async def ask(self, asked: Sequence[Asked]) -> dict[str, Asked]:
        """Ask for changes of a group one behind the other; returns them by their ids."""
        found: dict[str, Asked] = {}
        for one in asked:
            body = {
                "kind": one.kind,
                "privacy_group_id": one.group,
                "members": [self.keys[number - 1] for number in one.members],
            }
            headers = {"Idempotency-Key": f"{one.group}-{len(found)}"}
            async with self.http.post(f"{self.url}/v1/changes", json=body, headers=headers) as answer:
                assert answer.status < 300, await answer.text()
                found[(await answer.json())["change_id"]] = one
        return found

    async def seen(self, asked: dict[str, Asked]) -> list[dict[str, Any]]:
        """Return what is told of changes."""
        found = []
        for change_id in asked:
            async with self.http.get(f"{self.url}/v1/changes/{change_id}") as answer:
                found.append(json.loads(await answer.text()))
        return found

    async def ended(self, asked: dict[str, Asked], seconds: float, *, must: bool = True) -> None:
        """Wait until changes have ended."""
        found: list[dict[str, Any]] = []
        for _ in within(seconds, math.inf if must else seconds):
            found = await self.seen(asked)
            if self.running.done() or all(change["state"] in ENDED for change in found):
                return
            await asyncio.sleep(0.1)
        assert not must, f"not ended after {seconds:.0f} s: {[(c['state'], c['reason']) for c in found]}"


@asynccontextmanager
async def _running(folder: Path, devnet: Devnet, places: list[tuple[str, str]]) -> AsyncIterator[Daemon]:
    key_file = folder / "owner.key"
    key_file.touch(mode=0o600)
    key_file.write_text(OWNER_KEY)
    url = f"sqlite:///{folder}/store.db"
    await asyncio.to_thread(migrate, url)
    config = Config.model_validate(
        {
            "store": {"url": url},
            "broker": {"url": "embedded:", "data_dir": str(folder / "queue")},
            "api": {"listen": "127.0.0.1:0"},
            "chain": {"proof_blocks": 2, "audit_blocks": 5, "poll_seconds": 0.3, "block_period_seconds": BLOCK_SECONDS},
            "nodes": [
                {"name": f"member{node.number}", "http": http_url, "ws": ws_url, "enclave_keys": [node.enclave_key]}
                for node, (http_url, ws_url) in zip(devnet.nodes, places, strict=True)
            ],
            "accounts": [{"address": OWNER, "key_file": str(key_file)}],
        },
        context={"folder": folder},
    )
    stopping, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    with patch.object(node_access, "HttpNode", partial(HttpNode, timeout_seconds=RPC_SECONDS)):
        running = asyncio.create_task(run_daemon(config, stopping, ready.set_result))
        await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED, timeout=60)
    try:
        if running.done():
            await running
        keys = [node.enclave_key for node in devnet.nodes]
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
            yield Daemon(running, session, ready.result(), keys)
    finally:
        stopping.set()
        await asyncio.wait_for(running, 60)


def check(rig: Rig, asked: Sequence[Asked], found: Sequence[dict[str, Any]]) -> None:
    """Hold what is told of a group's changes against what an honest member's node has."""
    devnet, cast, proxy = rig.devnet, rig.cast, rig.proxy
    group = asked[0].group
    witness = next(number for number in asked[0].members if number != cast.liar)
    keys = [node.enclave_key for node in devnet.nodes]
    names = {key: number for number, key in enumerate(keys, 1)}
    timeline = truth.timeline(devnet, group, witness)
    done = truth.actions(devnet, group, witness)
    for change, told in zip(asked, found, strict=True):
        if told["state"] != "succeeded":
            continue
        block = told["effect"]["block_number"]
        state = timeline.state_at(block)
        assert state is not None, f"{change} succeeded in block {block}, where node {witness} has no group; {proxy}"
        members = {names[key] for key in state.contract.participants}
        wanted = (
            members >= set(change.members) if change.kind != "remove_members" else not members & set(change.members)
        )
        assert wanted, f"{change} succeeded in block {block}, where the members are {members}; {proxy}"
    most = Counter(change.kind for change in asked)
    assert done.count("add") <= most["add_members"], f"{done} for {most}; {proxy}"
    assert done.count("create") <= 1, f"{done}; {proxy}"
    if all(told["state"] == "succeeded" for told in found):
        assert not truth.is_locked(devnet, group, witness), f"{group} is left locked; {proxy}"
