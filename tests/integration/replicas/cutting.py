"""The ways of one replica to its store, its queue and its nodes, to be cut; and what is seen of it meanwhile."""

import contextlib
import re
import time
from collections.abc import Callable

import aiohttp

from tests.integration.takeover.sendings import SENDING
from tests.servers.switch import Switch
from tests.soak.rolling import Harness

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

    def __init__(self, running: Harness, ways: Ways, session: aiohttp.ClientSession) -> None:
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


async def cut_off(cut: Cut, lease_seconds: float) -> None:
    """Cut the first replica off from its store, its queue and its nodes, one after the other, and see what it does.

    Raises:
        AssertionError: It sent something although its leases were over.
        TimeoutError: Something that should happen did not; the message says what.
    """
    running, ways = cut.running, cut.ways
    await cut.until_told("store", works=True)
    await cut.until_it_holds(bool, "it holds lanes")

    ways.store.freeze()
    over = time.monotonic() + lease_seconds
    await cut.until_told("store", works=False)
    await cut.until_it_holds(lambda lanes: not lanes, "its lanes are taken over")
    await running.until_changes_go_on()
    if late := [at - over for at in ways.sent if at > over]:
        raise AssertionError(f"it sent, so many seconds after its leases were over: {late}")
    ways.store.thaw()
    await cut.until_told("store", works=True)
    await cut.until_it_holds(bool, "it holds lanes again")

    queue_port = ways.queue.target
    ways.queue.refuse()
    await cut.until_told("broker", works=False)
    await running.until_changes_go_on()
    ways.queue.lead_to(queue_port, cut=False)
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
