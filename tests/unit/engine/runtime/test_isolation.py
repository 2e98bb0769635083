"""What one item causes stays with it, and every loop that serves many says so."""

import ast
import asyncio
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

import orchestrator
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.runtime.isolation import cancelled, contained, contained_failures, kept_running, repeated
from tests.fakes.clock import JumpingClock

ROOT = Path(orchestrator.__file__).parent

SERVE_ONE = {
    "besu/client/groups.py::_past": "asks for one caller of the library",
    "besu/client/groups.py::_view": "asks for one caller of the library",
    "besu/client/groups.py::_is_decided": "asks for one caller of the library",
    "doctor/enclave.py::_read": "reads one answer for one caller",
    "doctor/node_answers.py::_socket": "waits for one item for one caller, the doctor",
    "besu/client/enclave_probe.py::party_keys": "reads one answer for one caller",
    "besu/transport/gathered_reads.py::read": "asks for one caller, again when who led left",
    "besu/client/pmt_wait.py::_next_reason_to_look": "waits for one caller of the library",
    "besu/client/pmt_wait.py::wait_mined": "waits for one caller of the library",
    "besu/transport/websocket_client.py::__anext__": "waits for one reader of one topic",
    "besu/transport/http_client.py::_post": "makes one request for one caller",
    "besu/transport/http_client.py::_read": "reads one answer for one caller",
    "besu/key_services/web3signer.py::_exchange": "reads one answer for one caller",
    "besu/transport/token_sources.py::_posted": "reads one answer for one caller",
    "besu/adapter/port.py::heads": "reads for one consumer, the watcher, which contains what a node's heads cause",
    "besu/transport/websocket_client.py::_receive": "reads one connection; the loop that makes connections contains it",
    "besu/transport/websocket_client.py::_subscribe_wanted": (
        "serves one connection; the loop that makes connections contains it"
    ),
    "broker/pauses.py::reconnecting": (
        "reads for one consumer, the intake or the book of verdicts, which contain what they do with a message"
    ),
    "broker/nats/queue.py::_take": "reads one connection; the loop that makes connections contains it",
    "broker/kafka/queue.py::_take": "reads one connection; the loop that makes connections contains it",
    "broker/kafka/threads.py::found": "reads one connection; the loop that makes connections contains it",
    "broker/kafka/reader.py::follow": "reads one connection; the loop that makes connections contains it",
    "broker/kafka/topics.py::_until_led": "waits for one topic",
    "broker/rabbitmq/verdicts.py::read": "reads one subscription; the loop that makes subscriptions contains it",
    "broker/rabbitmq/transport.py::_next": "reads one frame of one connection",
    "broker/rabbitmq/queue.py::dead_letters": "reads one page for one caller",
    "broker/rabbitmq/queue.py::replay": "looks for one letter for one caller",
    "broker/rabbitmq/letters.py::_lock": "waits for the turn of one caller",
    "engine/archives/archiver.py::sweep": "moves one kind of records; the loop that sweeps now and then contains it",
    "engine/archives/audit_log.py::moved": "moves one kind of records; the loop that sweeps now and then contains it",
    "engine/nodes/watcher.py::_mined": "waits for one change",
    "engine/attestation/inquiries.py::_until_known": "waits for one change; the supervisor contains its lane",
    "engine/attempts/settlement.py::_settle_at": "settles one attempt; the supervisor contains its lane",
    "events/feed.py::_catch_up": "reads for one subscriber",
    "events/feed.py::subscribe": "reads for one subscriber",
    "store/commits/notifications.py::listen": "keeps one connection; what it hears is the store's own",
    "store/commits/notifications.py::_hear": "keeps one connection; what it hears is the store's own",
    "store/database/holder_names.py::_locked": "waits for one lock for one caller, at the start",
    "store/stores/outbox_store.py::pending": "reads one page for one caller, and sets aside what can't be read",
    "store/stores/outbox_store.py::after": "reads one page for one caller, and leaves out what can't be read",
    "engine/lanes/worker.py::_run": "drives one lane, which the supervisor contains",
}
"""Endless loops whose items are not contained where they are, each with the reason."""


def test_an_exception_stays_with_its_item() -> None:
    """What one item raises is kept, counted and told to the caller, and the next has its turn."""
    before = contained_failures["item"]
    done = []
    for number in range(3):
        with contained("item") as found:
            if number == 1:
                raise ValueError("bad one")
            done.append(number)
        assert isinstance(found.error, ValueError) == (number == 1)
    assert done == [0, 2]
    assert contained_failures["item"] == before + 1


def test_what_concerns_the_whole_loop_goes_through() -> None:
    """An exception that the caller names is not contained."""
    with pytest.raises(KeyError), contained("item", KeyError):
        raise KeyError


async def test_a_cancellation_is_not_contained() -> None:
    """A task that is cancelled ends."""
    with pytest.raises(asyncio.CancelledError), contained("item"):
        raise asyncio.CancelledError


async def test_a_part_that_fails_is_run_again() -> None:
    """A part of the daemon that ends by an exception is run again after a pause, and not when it is done."""
    runs: list[None] = []

    async def run() -> None:
        runs.append(None)
        if len(runs) < 3:
            raise RuntimeError("not today")

    clock = JumpingClock()
    began = clock.now()
    await kept_running("part", run, clock)
    assert len(runs) == 3
    assert clock.now() > began


async def test_what_is_done_now_and_then_is_done_again_whatever_it_raised() -> None:
    """A defect is contained and counted, a store that is away is not; the work goes on after either."""
    did: list[datetime] = []
    clock = JumpingClock()
    before = contained_failures["now and then"]

    async def work() -> None:
        did.append(clock.now())
        match len(did):
            case 1:
                raise StoreError("away")
            case 2:
                raise KeyError("a defect")
            case 4:
                raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await repeated("now and then", work, clock, 10.0)
    assert [(later - earlier).total_seconds() for earlier, later in pairwise(did)] == [10.0] * 3
    assert contained_failures["now and then"] == before + 1


def test_every_loop_that_serves_many_isolates_its_items() -> None:
    """Each endless loop of the daemon's parts contains what an item causes, or is listed with whom alone it serves."""
    without = {
        f"{path.relative_to(ROOT)}::{function.name}"
        for package in ("app", "besu", "broker", "doctor", "engine", "events", "store")
        for path in sorted((ROOT / package).rglob("*.py"))
        for function in _without_containment(ast.parse(path.read_text()))
    }
    assert without == set(SERVE_ONE)


def test_a_loop_without_containment_is_found() -> None:
    """The search sees a bare loop, one whose function contains nothing, and not one that hands its items on."""
    source = """
async def bare():
    while True:
        await one()

async def reads():
    async for item in items():
        await bare()

async def hands_on():
    async for item in items():
        tasks.create_task(self.takes(item))

async def takes(item):
    with contained("item"):
        await one(item)
"""
    assert [function.name for function in _without_containment(ast.parse(source))] == ["bare", "reads"]


def _without_containment(tree: ast.Module) -> list[ast.AsyncFunctionDef]:
    """Return the coroutines with an endless loop that contains nothing, itself or by a function that it calls."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)]
    containing = {"contained", "kept_running"} | {f.name for f in functions if _calls(f, {"contained"})}
    return [f for f in functions if any(not _calls(loop, containing) for loop in _endless_loops(f))]


def _endless_loops(function: ast.AsyncFunctionDef) -> list[ast.stmt]:
    """Return the outermost loops that do not end by themselves: ``while True``, and ``async for``."""
    found: list[ast.stmt] = []
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop(0)
        endless = isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and node.test.value is True
        if isinstance(node, ast.AsyncFor) or endless:
            assert isinstance(node, ast.stmt)
            found.append(node)
        elif not isinstance(node, ast.AsyncFunctionDef):
            waiting += ast.iter_child_nodes(node)
    return found


def _calls(tree: ast.AST, names: set[str]) -> bool:
    return any(
        (node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")) in names
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    )


async def test_a_dropped_cancellation_comes_again() -> None:
    """A loop that drops a cancellation, as a client library may, ends all the same."""
    dropped = asyncio.Event()

    async def serve() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if dropped.is_set():
                    raise
                dropped.set()

    serving = asyncio.create_task(serve())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await cancelled([serving], again=timedelta(milliseconds=10))
    assert dropped.is_set()
    assert serving.cancelled()
