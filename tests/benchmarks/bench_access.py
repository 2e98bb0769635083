"""Access control on against off: the same changes and reads by two daemons on the same nodes, in turn.

With it half of the requests come over HTTP with a token and half by the queue, each signed; without it, the same ways
bare. Processor time is compared beside the time that passes: what else the machine does counts less in it.
"""

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from orchestrator.cli.demo.processes import ProcessError
from orchestrator.engine.messages.signed_events import signed_event
from tests.benchmarks.figures import Figure, at_most
from tests.benchmarks.harness import (
    Daemon,
    Devnet,
    ask_for,
    group_id,
    running_daemon,
    running_devnet,
    running_queue,
    trigger,
)
from tests.benchmarks.processes import orchestrator
from tests.benchmarks.scale import Scale
from tests.benchmarks.watching import Watch, watching

PAIRS: Final = 5
AT_ONCE: Final = 16
PATIENCE_SECONDS: Final = 300.0
_BOUND: Final = 1.05


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One daemon, with or without access control.

    Attributes:
        name: Which.
        daemon: It.
        watch: Its status events.
        headers: What is shown over HTTP.
        sealed: Makes of a request what is put on the queue.
    """

    name: str
    daemon: Daemon
    watch: Watch
    headers: dict[str, str]
    sealed: Callable[[bytes], bytes]

    def cost(self) -> tuple[float, float]:
        return time.monotonic(), self.daemon.child.cpu_seconds()

    async def changes(self, devnet: Devnet, names: Sequence[str]) -> tuple[float, float]:
        """Return the seconds, and those of the processor, from the first request to the last change's end."""
        half = len(names) // 2
        by_queue = [
            self.sealed(trigger(f"create-{name}", "create_group", group_id(name), devnet.members[:2]))
            for name in names[half:]
        ]
        await self.watch.wait_for_block()
        begun, used = self.cost()
        async with asyncio.TaskGroup() as asking:
            asking.create_task(ask_for(self.daemon, by_queue))
            places = asyncio.Semaphore(AT_ONCE)
            for name in names[:half]:
                asking.create_task(self._post(name, devnet, places))
        await self.watch.wait_for_ends([f"create-{name}" for name in names], PATIENCE_SECONDS)
        ended, all_used = self.cost()
        return ended - begun, all_used - used

    async def _post(self, name: str, devnet: Devnet, places: asyncio.Semaphore) -> None:
        data = {"kind": "create_group", "privacy_group_id": group_id(name), "members": list(devnet.members[:2])}
        headers = {**self.headers, "Idempotency-Key": f"create-{name}"}
        async with (
            places,
            self.daemon.session.post(f"{self.daemon.url}/v1/changes", json=data, headers=headers) as answer,
        ):
            if answer.status >= 400:
                raise ProcessError(f"{self.name}: {answer.status} {await answer.text()}")

    async def reads(self, count: int) -> tuple[float, float]:
        """Return the seconds, and those of the processor, of so many reads on a few connections."""
        begun, used = self.cost()
        async with asyncio.TaskGroup() as asking:
            for _ in range(AT_ONCE):
                asking.create_task(self._read(count // AT_ONCE))
        ended, all_used = self.cost()
        return ended - begun, all_used - used

    async def _read(self, count: int) -> None:
        for _ in range(count):
            async with self.daemon.session.get(f"{self.daemon.url}/v1/changes?limit=1", headers=self.headers) as answer:
                if answer.status >= 400:
                    raise ProcessError(f"{self.name}: {answer.status}")
                await answer.read()


async def measure(directory: Path, scale: Scale) -> list[Figure]:
    """Measure the part ``access``."""
    changed: dict[str, list[tuple[float, float]]] = {"on": [], "off": []}
    read: dict[str, list[tuple[float, float]]] = {"on": [], "off": []}
    async with running_devnet(directory) as devnet, _opened(directory, devnet) as sides:
        for pair in range(-1, PAIRS):
            # Who comes first changes from pair to pair; what is new to a process is done once before that.
            for side in sides if pair % 2 else sides[::-1]:
                count = scale.access_changes if pair >= 0 else AT_ONCE
                names = [f"{side.name}-{pair}-{number}" for number in range(count)]
                costs = await side.changes(devnet, names), await side.reads(scale.access_reads)
                if pair >= 0:
                    changed[side.name].append(costs[0])
                    read[side.name].append(costs[1])
    return [
        *_compared(f"{scale.access_changes} changes", changed),
        *_compared(f"{scale.access_reads} reads", read),
    ]


def _compared(what: str, costs: dict[str, list[tuple[float, float]]]) -> list[Figure]:
    figures = []
    for index, kind in enumerate(("time", "processor time")):
        on, off = ([cost[index] for cost in costs[side]] for side in ("on", "off"))
        ratio = statistics.median(on) / statistics.median(off)
        note = f"{len(on)} pairs, with: {_listed(on)} s; without: {_listed(off)} s"
        figures.append(
            Figure("access", f"{what} with access control, {kind} to without", ratio, "", at_most(_BOUND), note)
        )
    return figures


def _listed(seconds: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in seconds)


@asynccontextmanager
async def _opened(directory: Path, devnet: Devnet) -> AsyncIterator[list[_Side]]:
    """Run a daemon with access control and one without, each with a store and a queue of its own."""
    on, off = directory / "on", directory / "off"
    for folder in (on, off):
        folder.mkdir()
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (on / "source.pem").write_bytes(public)
    source = '[[broker.sources]]\nname = "source"\nsubject = "membership.requests"\nkeys_file = "source.pem"'

    def sealed(request: bytes) -> bytes:
        event = {"time": datetime.now(UTC).isoformat(), **json.loads(request)}
        return json.dumps(signed_event(event, key, "source")).encode()

    async with (
        running_queue() as queue_on,
        running_queue() as queue_off,
        running_daemon(on, devnet, queue_on, more=("[access]\nrequired = true", source)) as daemon_on,
        running_daemon(off, devnet, queue_off) as daemon_off,
        watching(devnet, daemon_on) as watch_on,
        watching(devnet, daemon_off) as watch_off,
    ):
        token = await _token(daemon_on, on)
        yield [
            _Side(
                name="on",
                daemon=daemon_on,
                watch=watch_on,
                headers={"Authorization": f"Bearer {token}"},
                sealed=sealed,
            ),
            _Side(name="off", daemon=daemon_off, watch=watch_off, headers={}, sealed=bytes),
        ]


async def _token(daemon: Daemon, folder: Path) -> str:
    command = ["tokens", "create", "benchmark", "--role", "operator", "--local", "--config", str(daemon.config)]
    process = await asyncio.create_subprocess_exec(
        *orchestrator(*command, "--file", str(folder / "token")), stdout=asyncio.subprocess.DEVNULL
    )
    if await asyncio.wait_for(process.wait(), PATIENCE_SECONDS) != 0:
        raise ProcessError("no token was made")
    return (folder / "token").read_text().strip()
