"""One run of a group under faults: created, extended while they strike, reduced; then everything is looked at."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import nats
import sqlalchemy as sa

from orchestrator.app.daemon import run_daemon
from orchestrator.broker.names import Access, Limits, Names
from orchestrator.broker.nats.queue import NatsBroker
from orchestrator.config import Config
from orchestrator.devnet import DevnetConfig, running_devnet
from orchestrator.engine.ports.queues import BrokerError
from orchestrator.store.commits.schema_version import migrate
from orchestrator.store.database.connections import normalised
from tests.fakes.migrated_stores import migrated
from tests.integration.faults import chain_truth as truth
from tests.integration.faults.jumping_clock import JumpingClock
from tests.integration.faults.striking import FAULTS, Surroundings, heal
from tests.patience import patient
from tests.servers.nats_server import NatsServer
from tests.servers.ports import consecutive_ports
from tests.servers.postgresql_server import PostgreSQLServer

# A well-known public development key and its account.
OWNER_KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
OWNER = "0xFE3B557E8Fb62b89F4916B721be55cEb828dBd73"
GROUP = "ZmF1bHQtbWF0cml4LWdyb3VwLW9mLTMyLWJ5dGVzLi4="
BLOCK_SECONDS = 0.2
PATIENCE_SECONDS = 75.0
LOOK_SECONDS = 0.1
_MIGRATING = threading.Lock()
"""Alembic keeps the migration that runs in module-wide variables."""

RESTING = ("succeeded", "failed", "parked", "cancelled")


@dataclass(frozen=True, slots=True)
class Run:
    """A daemon, what it depends on, and one group.

    Attributes:
        around: What can fail.
        url: Address of the daemon's HTTP interface.
        store_url: Address of its store.
        http: For asking it.
    """

    around: Surroundings
    url: str
    store_url: str
    http: aiohttp.ClientSession

    async def ask(self, request_id: str, kind: str, members: Sequence[str]) -> None:
        """Put a request into the queue, twice, however often that must be tried."""
        data = {"kind": kind, "privacy_group_id": GROUP, "members": list(members)}
        event = {"specversion": "1.0", "type": "membership.change.requested.v1", "source": "/faults", "id": request_id}
        broker = NatsBroker(self.around.nats.url, names=Names(), limits=Limits(call_seconds=1.0), access=Access())
        try:
            # Another layout of the same document: the queue does not know it for the same message.
            for indent in (None, 1):
                body = json.dumps({**event, "data": data}, indent=indent).encode()
                async with asyncio.timeout(patient(PATIENCE_SECONDS)):
                    while not await _sent(broker, body):  # noqa: ASYNC110 - a queue that is away tells nobody
                        await asyncio.sleep(LOOK_SECONDS)
        finally:
            await broker.close()

    async def rested(self, request_id: str) -> dict[str, Any]:
        """Return a request's change once it rests for good."""
        found: dict[str, Any] = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patient(PATIENCE_SECONDS)):
                while found.get("state") not in RESTING:
                    await asyncio.sleep(LOOK_SECONDS)
                    found = next((c for c in await self._changes() if c["request_id"] == request_id), found)
        return found

    async def _changes(self) -> list[dict[str, Any]]:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self.http.get(f"{self.url}/v1/changes") as response:
                if response.status == 200:
                    return list((await response.json())["changes"])
        return []

    async def come_about(self, what: str, check: Callable[[], bool]) -> None:
        """Wait until something holds; fails when it does not."""
        try:
            async with asyncio.timeout(patient(PATIENCE_SECONDS / 3)):
                while not check():  # noqa: ASYNC110 - the nodes tell nobody
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{what} did not come about") from None


async def _sent(broker: NatsBroker, body: bytes) -> bool:
    try:
        await broker.request(body)
    except BrokerError:
        return False
    return True


async def run(folder: Path, faults: Sequence[str], seed: str) -> None:
    """Make one run and check that nothing is lost, nothing doubled, and the group not left locked.

    Args:
        folder: For this run's files; exists.
        faults: Names in `FAULTS` of those that strike.
        seed: Decides when they strike, for how long, and what exactly.

    Raises:
        AssertionError: Something was.
    """
    chance = Random(seed)  # noqa: S311 - repeatable, not secret
    async with harness(folder, faults, chance) as run:
        keys = [node.enclave_key for node in run.around.devnet.nodes]
        await run.ask("create", "create_group", keys[:2])
        _check_state(await run.rested("create"))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run.ask("add", "add_members", keys[2:]))
            for name in faults:
                tasks.create_task(_strike(run.around, name, chance.uniform(0.0, 1.2), chance.uniform(0.6, 2.0)))
        await heal(run.around.devnet)
        await _check_added(run, await run.rested("add"), keys, may_part="reorg" in faults)
        await run.ask("remove", "remove_members", keys[2:])
        _check_state(await run.rested("remove"))
        await _check_members(run, keys[:2], 2)
        await _check_effects(run)
        await _check_events(run)


async def _strike(around: Surroundings, name: str, after_seconds: float, seconds: float) -> None:
    await asyncio.sleep(after_seconds)
    await FAULTS[name](around, seconds)


# --- what must hold ---------------------------------------------------------------------------------------------------


def _check_state(change: dict[str, Any]) -> None:
    told = {key: change.get(key) for key in ("request_id", "state", "reason", "tries", "not_before")}
    assert change.get("state") == "succeeded", told


async def _check_added(run: Run, change: dict[str, Any], keys: Sequence[str], *, may_part: bool) -> None:
    """The member is in sync; or a reorganisation really parted it, and that was found out and left to a person."""
    reason = change.get("reason") or {}
    if may_part and change.get("state") == "parked" and reason.get("slug") in ("member_diverged", "member_missing"):
        await run.come_about("what was reported", lambda: truth.has_parted(run.around.devnet, GROUP))
    else:
        _check_state(change)
        await _check_members(run, keys, 3)


async def _check_members(run: Run, keys: Sequence[str], count: int) -> None:
    devnet = run.around.devnet
    await run.come_about("nodes at the same block", lambda: truth.is_level(devnet))
    members = range(1, count + 1)
    assert set(truth.participants(devnet, GROUP)) == set(keys), "other participants than were asked for"
    await run.come_about("equal roots", lambda: len(truth.roots(devnet, GROUP, members)) == 1)
    assert not truth.is_locked(devnet, GROUP), "the group stayed locked"


async def _check_effects(run: Run) -> None:
    devnet = run.around.devnet
    done = truth.actions(devnet, GROUP)
    assert [action for action in done if action not in ("lock", "unlock")] == ["create", "add", "remove"], done
    assert done.count("lock") == done.count("unlock") + 1, done
    assert truth.private_nonce(devnet, GROUP, OWNER) == len(done), done


async def _check_events(run: Run) -> None:
    engine = sa.create_engine(normalised(run.store_url))
    try:
        await run.come_about("publication", lambda: _one(engine, "outbox WHERE published_at IS NULL") == 0)
        assert _one(engine, "changes") == 3, "changes were made twice, or lost"
        # Nodes that stand still, and markers that nobody expected, are told of beside the group.
        stored = _one(engine, f"outbox WHERE privacy_group_id = '{GROUP}'")
    finally:
        engine.dispose()
    connection = await nats.connect(run.around.nats.url)
    try:
        jetstream = connection.jetstream(timeout=patient(30))
        assert (await jetstream.stream_info("membership-requests-dead")).state.messages == 0, "a request was buried"
        last = (await jetstream.stream_info("membership-events")).state.last_seq
        published = [
            json.loads((await jetstream.get_msg("membership-events", n)).data or b"") for n in range(1, last + 1)
        ]
    finally:
        await connection.close()
    of_group = [event for event in published if event.get("subject") == GROUP]
    first_seen = list(dict.fromkeys(int(event["data"]["sequence"]) for event in of_group))
    # What was stored by then; more may have been told of the group since.
    assert len(first_seen) >= stored, sorted({event["type"] for event in published})
    assert first_seen == list(range(1, len(first_seen) + 1)), sorted({event["type"] for event in published})
    endings = [
        event["type"] for event in published if event["type"].endswith((".succeeded.v1", ".failed.v1", ".parked.v1"))
    ]
    assert len({event["id"] for event in published if event["type"] in endings}) == 3, endings


def _one(engine: sa.Engine, what: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(sa.text(f"SELECT count(*) FROM {what}")).scalar_one())  # noqa: S608 - a test's own words


# --- the harness ------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def harness(folder: Path, faults: Sequence[str], chance: Random) -> AsyncIterator[Run]:
    """Run a daemon on nodes, a queue and a store of its own."""
    async with contextlib.AsyncExitStack() as stack:
        queue = await _entered(stack, NatsServer())
        postgresql = None
        if "database_restart" in faults:
            postgresql = await _entered(stack, await asyncio.to_thread(PostgreSQLServer))
            url = postgresql.url_of(await asyncio.to_thread(postgresql.create_database))
            await asyncio.to_thread(_migrate, url)
        else:
            url = migrated(folder / "store.db")
        devnet = await stack.enter_async_context(
            running_devnet(
                DevnetConfig(
                    base_port=consecutive_ports(6),  # a node that was down must find its ports free again
                    block_period_seconds=BLOCK_SECONDS,
                    replay_ms_per_transaction=5.0,
                    enclave_timeout_ms=300.0,
                    seed=chance.randrange(1 << 31),
                )
            )
        )
        clock = JumpingClock()
        around = Surroundings(devnet=devnet, nats=queue, postgresql=postgresql, clock=clock, chance=chance)
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5.0)))
        config = _configuration(folder, around, url, confirmations=2 if "reorg" in faults else 0)
        stopping, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
        daemon = asyncio.create_task(run_daemon(config, stopping, ready.set_result, clock))
        try:
            await asyncio.wait({daemon, ready}, return_when=asyncio.FIRST_COMPLETED, timeout=patient(60))
            if daemon.done():
                await daemon
            yield Run(around, await ready, url, http)
        finally:
            stopping.set()
            await asyncio.wait_for(daemon, patient(60))


def _migrate(url: str) -> None:
    with _MIGRATING:
        migrate(url)


async def _entered(stack: contextlib.AsyncExitStack, server: Any) -> Any:
    await asyncio.to_thread(server.__enter__)
    stack.push_async_callback(asyncio.to_thread, server.__exit__, None, None, None)
    return server


def _configuration(folder: Path, around: Surroundings, url: str, *, confirmations: int) -> Config:
    key_file = folder / "owner.key"
    key_file.touch(mode=0o600)
    key_file.write_text(OWNER_KEY)
    return Config.model_validate(
        {
            "store": {"url": url},
            "broker": {"url": around.nats.url},
            "api": {"listen": "127.0.0.1:0"},
            "chain": {"confirmations": confirmations, "proof_blocks": 1, "audit_blocks": 0, "poll_seconds": 0.3},
            "nodes": [
                {"name": f"member{n.number}", "http": n.http_url, "ws": n.ws_url, "enclave_keys": [n.enclave_key]}
                for n in around.devnet.nodes
            ],
            "accounts": [{"address": OWNER, "key_file": str(key_file)}],
        },
        context={"folder": folder},
    )
