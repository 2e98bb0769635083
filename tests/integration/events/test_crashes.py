"""Requests pour in while daemon and message queue are killed: every request ends once, every event arrives."""

import asyncio
import base64
import json
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.msg import Msg

from orchestrator.broker.connecting import connect
from orchestrator.broker.port import Broker, DeadLetter
from orchestrator.engine.ports import BrokerError
from orchestrator.engine.requests import REQUEST_TYPE
from tests.servers.nats_server import NatsServer
from tests.servers.ports import free_port

OWNER = "0xFE3B557E8Fb62b89F4916B721be55cEb828dBd73"
OWNER_KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
"""The well-known public development key of that account: never to hold anything of value."""

REQUESTS = 5000
INVALID_EVERY = 25
GROUPS = 500
PATIENCE_SECONDS = 240
ENDED = {f"membership.change.{end}.v1" for end in ("succeeded", "failed", "cancelled")}


def group_of(number: int) -> str:
    return base64.b64encode((number % GROUPS).to_bytes(32, "big")).decode()


def request_of(number: int) -> bytes:
    """A request that fails in a second, because there is no node; now and then one that can't be accepted."""
    kind = "create_group" if number % INVALID_EVERY else "explode"
    data = {"kind": kind, "privacy_group_id": group_of(number), "members": [group_of(number)], "deadline_seconds": 1}
    return json.dumps(
        {"specversion": "1.0", "id": f"r-{number}", "source": "/test", "type": REQUEST_TYPE, "data": data}
    ).encode()


class Daemon:
    """`orchestrator run`, killed and started again."""

    def __init__(self, folder: Path, broker_url: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = folder / "daemon.log"
        key_file = folder / "owner.key"
        key_file.write_text(OWNER_KEY)
        key_file.chmod(0o600)
        dead = free_port()
        self._config = folder / "orchestrator.toml"
        self._config.write_text(
            f'[store]\nurl = "sqlite:///{folder}/store.db"\n[broker]\nurl = "{broker_url}"\n'
            f'[api]\nlisten = "{self.url.removeprefix("http://")}"\n'
            f'[[nodes]]\nname = "away"\nhttp = "http://127.0.0.1:{dead}"\nenclave_keys = ["{group_of(0)}"]\n'
            f'[[accounts]]\naddress = "{OWNER}"\nkey_file = "{key_file}"\n'
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator", "run", "--migrate", "--config", str(self._config)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def stop(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)


@dataclass
class Heard:
    """What a subscriber on the message queue has got."""

    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, message: Msg) -> None:
        document = json.loads(message.data)
        known = self.documents.setdefault(document["id"], document)
        assert known == document, "an event that comes again is the same"
        if known is document:
            self.order.append(document["id"])
            if document["type"] in ENDED:
                self.ended.add(document["data"]["change_id"])
        self.moved.set()

    async def until_ended(self, changes: int) -> None:
        """Wait for the ends of so many changes."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.ended) < changes:
                self.moved.clear()
                await self.moved.wait()


@asynccontextmanager
async def subscriber(url: str) -> AsyncIterator[Heard]:
    """Read the events' stream with a durable consumer, over the server's restarts."""
    heard = Heard()
    client = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=silent)

    async def read() -> None:
        pulling = await client.jetstream().pull_subscribe("membership.events.>", durable="test")
        while True:
            try:
                messages = await pulling.fetch(500, timeout=1)
            except (nats.errors.Error, TimeoutError):
                await asyncio.sleep(0.05)
                continue
            for message in messages:
                heard.take(message)
                await message.ack()

    try:
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(read())
            yield heard
            reading.cancel()
    finally:
        await client.close()


async def silent(_: Exception) -> None: ...


async def publish(broker: Broker, numbers: range) -> None:
    for number in numbers:
        while True:
            try:
                await broker.request(request_of(number))
            except BrokerError:
                await asyncio.sleep(0.05)
            else:
                break


@asynccontextmanager
async def prepared(url: str, folder: Path) -> AsyncIterator[Broker]:
    """A queue whose streams are there."""
    async with connect(url, directory=folder) as broker:
        await broker.check()
        yield broker


@contextmanager
def running(daemon: Daemon) -> Iterator[Daemon]:
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.kill()


@pytest.mark.timeout(PATIENCE_SECONDS + 120)
async def test_nothing_is_lost_or_done_twice(tmp_path: Path) -> None:
    """SIGKILL of the daemon, of the queue, and of both, under 5,000 requests: each is one change or one dead letter."""
    with NatsServer() as server, running(Daemon(tmp_path, server.url)) as daemon:
        async with (
            prepared(server.url, tmp_path) as broker,
            subscriber(server.url) as heard,
            asyncio.TaskGroup() as tasks,
        ):
            for first in range(16):
                tasks.create_task(publish(broker, range(first, REQUESTS, 16)))

            async def strike() -> None:
                await heard.until_ended(REQUESTS // 8)
                await asyncio.to_thread(daemon.kill)
                daemon.start()
                await heard.until_ended(REQUESTS // 4)
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
                await heard.until_ended(REQUESTS // 2)
                await asyncio.gather(asyncio.to_thread(daemon.kill), asyncio.to_thread(server.kill))
                await asyncio.to_thread(server.start)
                daemon.start()

            tasks.create_task(strike())
            invalid = len(range(0, REQUESTS, INVALID_EVERY))
            await heard.until_ended(REQUESTS - invalid)
            letters = await until_buried(broker, invalid)
            assert await asyncio.to_thread(daemon.stop) == 0

    check_events(heard)
    accepted = Counter(document["data"]["request_id"] for document in heard.documents.values() if is_accepted(document))
    valid = {f"r-{number}" for number in range(REQUESTS) if number % INVALID_EVERY}
    assert accepted == Counter(valid), "each valid request is one change"
    buried = Counter(json.loads(letter.body)["id"] for letter in letters)
    assert buried == Counter(f"r-{number}" for number in range(0, REQUESTS, INVALID_EVERY)), "each other a dead letter"
    assert all("data.kind must be one of" in letter.reason for letter in letters)


async def until_buried(broker: Broker, count: int) -> tuple[DeadLetter, ...]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(letters := await broker.dead_letters(limit=REQUESTS)) < count:  # noqa: ASYNC110 - nothing tells of them
            await asyncio.sleep(0.5)
    return letters


def is_accepted(document: dict[str, Any]) -> bool:
    return bool(document["type"] == "membership.change.accepted.v1")


def check_events(heard: Heard) -> None:
    """Each group's events came in order and without a gap."""
    sequences: defaultdict[str, list[int]] = defaultdict(list)
    for event_id in heard.order:
        data = heard.documents[event_id]["data"]
        sequences[data["privacy_group_id"] or ""].append(data["sequence"])
    for group, found in sequences.items():
        assert found == list(range(1, len(found) + 1)), group
