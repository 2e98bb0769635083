"""How fast the store accepts and steps, and what a long queue costs it; on SQLite and on PostgreSQL.

``python -m tests.benchmarks.bench_store`` prints it. Every commit waits for the disk, as in production.
"""

import asyncio
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path

from orchestrator.engine.ports.store import Lane
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.membership.attempt import AttemptStatus
from orchestrator.membership.model import Change, State
from orchestrator.membership.news.status import announce
from orchestrator.store import Database, SqlChangeStore, SqlOutbox, migrate
from orchestrator.store.database.connections import engine_for, normalised
from orchestrator.store.rows import change_values, request_key
from orchestrator.store.schema import changes, lanes
from tests.fakes.changes import a_change, a_step, an_attempt, led, stepped
from tests.servers.postgresql_server import PostgreSQLServer

AT_ONCE = 64
"""Requests that are accepted at the same time: as many as the intake takes."""
GROUPS = 200
LANES = 50
LEASE = timedelta(seconds=60)
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFigures:
    """What was measured on one database.

    Attributes:
        accepts_per_second: Requests accepted durably, `AT_ONCE` at a time, each with its status event.
        transitions_per_second: Steps committed on `LANES` lanes at the same time, with attempts, history and events.
        event_milliseconds_p99: From the call of a commit to a waiting reader that has the event, one at a time.
        restart_seconds: From opening a store with `waiting` changes to the first committed step.
        restart_memory_mib: Largest memory of that process.
        waiting: How many changes waited.
    """

    accepts_per_second: float
    transitions_per_second: float
    event_milliseconds_p99: float
    restart_seconds: float
    restart_memory_mib: float
    waiting: int


def measure(url: str, *, accepts: int = 6000, steps: int = 60, waiting: int = 100_000) -> StoreFigures:
    """Measure on an empty database.

    Args:
        url: Its address.
        accepts: Requests to accept.
        steps: Steps on each lane.
        waiting: Changes that wait at the restart.
    """
    migrate(url)
    rates = asyncio.run(_rates(url, accepts, steps))
    fill(url, waiting)
    restart = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.bench_store", url],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    seconds, memory = json.loads(restart.stdout)
    return StoreFigures(
        accepts_per_second=rates[0],
        transitions_per_second=rates[1],
        event_milliseconds_p99=rates[2],
        restart_seconds=seconds,
        restart_memory_mib=memory,
        waiting=waiting,
    )


async def _rates(url: str, accepts: int, steps: int) -> tuple[float, float, float]:
    async with Database(url) as database:
        store = SqlChangeStore(database, SystemClock())
        begun = time.perf_counter()
        await _accept(store, accepts)
        accepted = accepts / (time.perf_counter() - begun)
        held = await store.claim(holder="bench", lease=LEASE, limit=LANES, now=SystemClock().now())
        begun = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for lane in held:
                tasks.create_task(_step(store, lane, steps))
        stepped_per_second = len(held) * steps / (time.perf_counter() - begun)
        return accepted, stepped_per_second, await _latency(store, SqlOutbox(database))


async def _accept(store: SqlChangeStore, count: int) -> None:
    waiting = iter([a_change(str(number), f"g{number % GROUPS}") for number in range(count)])

    async def accept() -> None:
        for change in waiting:
            await store.accept(change, "hash", announce(None, change))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(accept())


async def _step(store: SqlChangeStore, lane: Lane, steps: int) -> None:
    for change, after in itertools.islice(_life(lane.queued), steps):
        attempts = () if after.attempt is None else (after.attempt,)
        await store.record(lane, a_step(change, after, *attempts))


def _life(queued: tuple[Change, ...]) -> Iterator[tuple[Change, Change]]:
    """Walk changes through the states of an addition, each transaction signed, sent and settled."""
    for queued_change in queued:
        change = queued_change
        after = led(change)
        yield change, after
        for state in (State.LOCKING, State.ADDING):
            attempt = an_attempt(f"{change.change_id}-{state}", raw=bytes(600))
            sent = replace(attempt, status=AttemptStatus.SENT, sent_block=1)
            for known in (attempt, sent, replace(sent, status=AttemptStatus.EFFECTIVE)):
                change, after = after, stepped(after, state, attempt=known)
                yield change, after
        for state in (State.REPLAYING, State.SUCCEEDED):
            change, after = after, stepped(after, state)
            yield change, after


async def _latency(store: SqlChangeStore, outbox: SqlOutbox, count: int = 200) -> float:
    taken = []
    for number in range(count):
        position = await outbox.last_position()
        change = a_change(f"latency-{number}", "latency")
        begun = time.perf_counter()
        accepting = asyncio.ensure_future(store.accept(change, "hash", announce(None, change)))
        await outbox.wait_for_events(position, 10)
        await outbox.after(position, limit=10)
        taken.append(time.perf_counter() - begun)
        await accepting
    return sorted(taken)[int(count * 0.99)] * 1000


def _waiting(number: int) -> Change:
    """Half of the changes wait in one group, half in groups of their own."""
    return a_change(f"w{number}", "busy" if number % 2 else f"w{number}")


def fill(url: str, waiting: int, change_of: Callable[[int], Change] = _waiting) -> None:
    """Let changes wait.

    Args:
        url: The database.
        waiting: How many.
        change_of: Makes each.
    """
    engine = engine_for(normalised(url))
    known: set[str] = set()
    with engine.begin() as connection:
        for first in range(0, waiting, 5000):
            found = [change_of(number) for number in range(first, min(first + 5000, waiting))]
            rows = [
                change_values(change) | {"body_hash": "hash", "request_key": request_key("", change.request_id)}
                for change in found
            ]
            connection.execute(changes.insert(), rows)
            groups = {change.privacy_group_id for change in found} - known
            known |= groups
            free = {"token": 0, "last_sequence": 0, "due_at": 0}
            connection.execute(lanes.insert(), [free | {"privacy_group_id": group} for group in groups])
    engine.dispose()


async def _restart(url: str) -> None:
    """Open the store as a daemon does after its end, claim and commit a step."""
    begun = time.perf_counter()
    async with Database(url) as database:
        store = SqlChangeStore(database, SystemClock())
        await store.forget(name="bench")
        held = await store.claim(holder="bench", lease=LEASE, limit=500, now=SystemClock().now())
        lane = next(lane for lane in held if lane.queued and not lane.active)
        await store.record(lane, a_step(lane.queued[0], led(lane.queued[0])))
        seconds = time.perf_counter() - begun
    sys.stdout.write(json.dumps([seconds, _peak_memory_mib()]))


def _peak_memory_mib() -> float:
    # Not what getrusage says: that is at least what the process had that started this one.
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    """Addresses of an empty database of each kind; PostgreSQL waits for the disk as it does by default."""
    with tempfile.TemporaryDirectory() as folder, PostgreSQLServer(durable=True) as server:
        yield {
            "SQLite": f"sqlite:///{folder}/store.db",
            "PostgreSQL": server.url_of(server.create_database()),
        }


def run(report: Callable[[str], object] = print) -> dict[str, dict[str, float]]:
    """Measure on both databases, telling each line, and return the figures by database."""
    figures = {}
    with databases() as urls:
        for name, url in urls.items():
            found = asdict(measure(url))
            figures[name] = found
            for key, value in found.items():
                report(f"{name:12} {key:28} {value:12.2f}")
    return figures


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(_restart(sys.argv[1]))
    else:
        run(lambda line: sys.stdout.write(line + "\n"))
