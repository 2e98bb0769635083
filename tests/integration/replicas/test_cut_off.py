"""A replica that is cut off from its store, its queue or its nodes, while two others are not."""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import aiohttp
import pytest

from orchestrator.store import migrate
from tests.integration.takeover.sendings import SENDING
from tests.servers.nats_server import NatsServer
from tests.servers.postgresql_server import PostgreSQLServer
from tests.servers.switch import Switch
from tests.soak.rolling import Stage, stage

GROUPS = 3
LEASE_SECONDS = 4.0
_NODE = re.compile(r'(http|ws) = "(?:http|ws)://127\.0\.0\.1:(\d+)"')
_SENDING = tuple(name.encode() for name in SENDING)


class Ways:
    """The ways of the first replica to everything, each by a switch.

    Attributes:
        store: To PostgreSQL.
        queue: To NATS.
        nodes: To the nodes' interfaces.
        sent: When it sent something to a node, by the monotonic clock.
        api: Where it answers.
    """

    def __init__(self, stack: contextlib.ExitStack, store_port: int, queue_port: int) -> None:
        self._stack = stack
        self.store = stack.enter_context(Switch(store_port))
        self.queue = stack.enter_context(Switch(queue_port))
        self.nodes: list[Switch] = []
        self.sent: list[float] = []
        self.api = ""

    def lead(self, number: int, configuration: str) -> str:
        """Return the first replica's configuration with these ways in it; the others' as they are."""
        if number != 1:
            return configuration
        for way in (self.store, self.queue):
            configuration = configuration.replace(f"127.0.0.1:{way.target}", f"127.0.0.1:{way.port}")
        (self.api,) = re.findall(r'listen = "([^"]+)"', configuration)
        return _NODE.sub(self._to_node, configuration)

    def _to_node(self, found: re.Match[str]) -> str:
        way = self._stack.enter_context(Switch(int(found[2]), self._observed))
        self.nodes.append(way)
        return f'{found[1]} = "{found[1]}://127.0.0.1:{way.port}"'

    def _observed(self, content: bytes) -> None:
        if any(name in content for name in _SENDING):
            self.sent.append(time.monotonic())


class Cut:
    """Looks at the first replica, and at who has its lanes."""

    def __init__(self, running: Stage, ways: Ways, session: aiohttp.ClientSession) -> None:
        self.running = running
        self.ways = ways
        self._session = session

    async def told(self, what: str, *, works: bool) -> bool:
        """Whether ``/readyz`` says of something whether it works."""
        async with self._session.get(f"http://{self.ways.api}/readyz") as answer:
            checks = {check["name"]: check["ok"] for check in (await answer.json())["checks"]}
            return checks[what] is works and (answer.status == 200) is all(checks.values())

    async def until_told(self, what: str, *, works: bool) -> None:
        await self.running.until(lambda: self.told(what, works=works), f"{what} works: {works}")

    async def until_it_holds(self, wanted: Callable[[int], bool], what: str) -> None:
        async def holds() -> bool:
            return wanted(await self.running.held_by("r1"))

        await self.running.until(holds, what)


@pytest.mark.timeout(400)
async def test_who_is_cut_off_sends_nothing_and_comes_back(
    tmp_path: Path, nats_server: NatsServer, postgresql_server: PostgreSQLServer, postgresql_url: str
) -> None:
    """Cut off from the store, the queue or all nodes a replica says so, others go on with its lanes, and it returns.

    Without the store it sends nothing once its leases are over. In the end each change was done once and in order.
    """
    await asyncio.to_thread(migrate, postgresql_url)
    chance = Random(11)  # noqa: S311 - a plan that can be repeated
    with contextlib.ExitStack() as stack:
        ways = Ways(stack, postgresql_server.port, nats_server.port)
        async with (
            stage(
                tmp_path,
                chance,
                store_url=postgresql_url,
                queue_url=nats_server.url,
                replicas=3,
                groups=GROUPS,
                lease_seconds=LEASE_SECONDS,
                changed=ways.lead,
            ) as running,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session,
        ):
            cut = Cut(running, ways, session)
            await cut.until_told("store", works=True)
            await cut.until_it_holds(bool, "it holds lanes")

            ways.store.freeze()
            over = time.monotonic() + LEASE_SECONDS
            await cut.until_told("store", works=False)
            await cut.until_it_holds(lambda lanes: not lanes, "its lanes are taken over")
            await running.until_changes_go_on()
            assert [at for at in ways.sent if at > over] == []
            ways.store.thaw()
            await cut.until_told("store", works=True)
            await cut.until_it_holds(bool, "it holds lanes again")

            ways.queue.refuse()
            await cut.until_told("broker", works=False)
            await running.until_changes_go_on()
            ways.queue.lead_to(nats_server.port, cut=False)
            await cut.until_told("broker", works=True)

            await cut.until_it_holds(bool, "it holds lanes")
            targets = {way: way.target for way in ways.nodes}
            for way in ways.nodes:
                way.refuse()
            await cut.until_told("nodes", works=False)
            await cut.until_it_holds(lambda lanes: not lanes, "its lanes are given up")
            await running.until_changes_go_on()
            for way, target in targets.items():
                way.lead_to(target, cut=False)
            await cut.until_told("nodes", works=True)
            await cut.until_it_holds(bool, "it holds lanes again")

            await running.quiet()
            assert await running.problems() == []
