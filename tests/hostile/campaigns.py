"""What is tried against the daemon by a seed: lying nodes, a hostile queue, verdicts of nobody, odd clients.

Each campaign raises AssertionError with what was wrong; the seed repeats it.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

import structlog

from orchestrator.besu.adapter.port import BesuNode
from orchestrator.besu.client.node import Node
from orchestrator.besu.transport.http_client import HttpNode, open_session
from orchestrator.engine.attestation.peer_statements import VerdictBook
from orchestrator.engine.intake.intake import Intake
from orchestrator.engine.intake.requests import REQUEST_TYPE
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.engine.ports.queues import Trigger
from orchestrator.store import Database, SqlChangeStore, migrate
from tests.fakes.clock import FastClock
from tests.fakes.network import FakeSigners
from tests.fakes.triggers import trigger_of
from tests.hostile.http_clients import hostile_clients
from tests.hostile.loop_time import MOST_SECONDS_ON_THE_LOOP, measured
from tests.hostile.lying_members import lying_member, member_with_rules
from tests.hostile.lying_node import HOSTILE_TEXTS, HOSTILE_VALUES, Liar, recorded_results, serving
from tests.patience import patient
from tests.processor_time import quiet, settle

RPC_SECONDS: Final = 0.5
TRIES: Final = 3
GROUP: Final = "kAbelwaVW7okoEn1+okO+AbA4Hhz/7DaCOWVQz9nx5M="
KEY: Final = "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="
ACCOUNT: Final = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"
PMT: Final = "0x" + "ab" * 32

_results = recorded_results()

Question = Callable[[BesuNode], Awaitable[object]]
QUESTIONS: Final[tuple[Question, ...]] = (
    lambda node: node.traits(),
    lambda node: node.head(),
    lambda node: node.syncing(),
    lambda node: node.block(7),
    lambda node: node.view(GROUP, 7),
    lambda node: node.lock_view(GROUP, 7),
    lambda node: node.roots(GROUP, range(3, 9)),
    lambda node: node.root_if_any(GROUP, 7),
    lambda node: node.roots_of([GROUP] * 40, 7),
    lambda node: node.abi(GROUP),
    lambda node: node.owns(GROUP, ACCOUNT),
    lambda node: node.private_nonce(GROUP, ACCOUNT),
    lambda node: node.account_nonce(ACCOUNT, 7),
    lambda node: node.outcomes([PMT, PMT[:-2] + "cd"]),
    lambda node: node.additions(3, 9),
    lambda node: node.has_state(GROUP, range(3, 9)),
    lambda node: node.groups([KEY]),
)


async def lying_node(seed: int) -> None:
    """Whatever a node answers is a value or the node's error, in bounded time, and can be told."""
    liar = Liar(seed, _results)
    with serving(liar) as url, measured() as longest:
        async with open_session() as session:
            node = BesuNode(
                "liar", (KEY,), Node(HttpNode(session, url, timeout_seconds=RPC_SECONDS), name="liar"), None
            )
            for question in QUESTIONS:
                began = time.monotonic()
                try:
                    str(await question(node))
                except NodeError as error:
                    _tellable(str(error), 1_500)
                took = time.monotonic() - began
                assert took < patient(8 * TRIES * RPC_SECONDS), f"a question took {took:.1f} s ({liar.told[-3:]})"
    _check(longest.seconds, longest.what)


async def hostile_queue(seed: int) -> None:
    """Every message of a hostile queue is accepted or a dead letter, in bounded time, and the intake goes on."""
    random = Random(seed)  # noqa: S311 - a plan that can be repeated
    bodies = [_message(random, number) for number in range(60)]
    settled: list[str] = []
    running: asyncio.Task[None] | None = None
    with TemporaryDirectory() as folder, ExitStack() as stack:
        url = f"sqlite:///{Path(folder)}/store.db"
        await asyncio.to_thread(migrate, url)
        async with Database(url) as database:
            clock = FastClock()
            intake = Intake(
                SqlChangeStore(database, clock), Fleet([]), FakeSigners(ACCOUNT), clock, _ids(random).__next__
            )
            longest = stack.enter_context(measured())
            done = asyncio.Event()
            running = asyncio.create_task(intake.run(_Queue(bodies, settled, done)))
            async with asyncio.timeout(patient(60)):
                await done.wait()
            assert not running.done(), "the intake ended"
            running.cancel()
            await asyncio.wait({running})
            await SqlChangeStore(database, clock).changes(limit=100)
    assert len(settled) == len(bodies)
    for said in settled:
        _tellable(said, 2_000)
    _check(longest.seconds, longest.what)


async def verdicts_of_nobody(seed: int) -> None:
    """What comes in on the subject of verdicts costs a line in the log and little time, whatever it is."""
    random = Random(seed)  # noqa: S311 - a plan that can be repeated
    book = VerdictBook({KEY: ACCOUNT}, lambda _text, _signature: None)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(40):
        body = _message(random, number) if random.random() < 0.3 else _verdict(random)
        began = time.thread_time()
        assert not book.take(body, now)
        _check(quiet(time.thread_time() - began, MOST_SECONDS_ON_THE_LOOP), f"a verdict of {len(body)} bytes")


async def clients_over_http(seed: int) -> None:
    """Whatever clients send over HTTP is answered, in little time, and writes no traceback."""
    longest = await hostile_clients(seed)
    _check(longest.seconds, longest.what)


CAMPAIGNS: Final[dict[str, Callable[[int], Awaitable[None]]]] = {
    "lying node": lying_node,
    "hostile queue": hostile_queue,
    "verdicts of nobody": verdicts_of_nobody,
    "clients over HTTP": clients_over_http,
    "lying member": lying_member,
    "member with rules": member_with_rules,
}


def run(name: str, seed: int) -> None:
    """Run one campaign, quietly, and again when a step took too long: what does each time is found by its seed."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    try:
        settle()
        for left in reversed(range(TRIES)):
            try:
                asyncio.run(_awaited(CAMPAIGNS[name], seed))
            except TooLongError:
                if not left:
                    raise
            else:
                break
    finally:
        structlog.reset_defaults()


async def _awaited(campaign: Callable[[int], Awaitable[None]], seed: int) -> None:
    await campaign(seed)


def _tellable(text: str, most: int) -> None:
    text.encode()
    assert len(text) < most, f"{len(text)} characters are told"


class TooLongError(AssertionError):
    """A step of the event loop took too long."""


def _check(seconds: float, what: str) -> None:
    if seconds >= MOST_SECONDS_ON_THE_LOOP:
        raise TooLongError(f"{seconds * 1000:.0f} ms on the event loop: {what}")


class _Queue:
    """Gives out messages and gives back those that are postponed."""

    def __init__(self, bodies: list[bytes], settled: list[str], done: asyncio.Event) -> None:
        self._waiting: asyncio.Queue[tuple[bytes, int]] = asyncio.Queue()
        for body in bodies:
            self._waiting.put_nowait((body, 1))
        self._wanted = len(bodies)
        self._settled = settled
        self._done = done

    async def triggers(self) -> AsyncIterator[Trigger]:
        while True:
            body, delivery = await self._waiting.get()
            yield self._trigger(body, delivery)

    def _trigger(self, body: bytes, delivery: int) -> Trigger:
        async def settle(how: str) -> None:
            self._settled.append(how)
            if len(self._settled) >= self._wanted:
                self._done.set()

        async def postpone(_: float) -> None:
            self._waiting.put_nowait((body, delivery + 1))

        return trigger_of(body, delivery, settle, postpone)


def _ids(random: Random) -> Any:
    while True:
        yield random.randbytes(12).hex()


def _message(random: Random, number: int) -> bytes:
    """Return a message: a valid request in which something may be wrong, or something that fills a quarter megabyte."""
    data: dict[str, Any] = {"kind": "create_group", "privacy_group_id": GROUP, "members": [KEY]}
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"r{number}",
        "source": "/s",
        "type": REQUEST_TYPE,
        "data": data,
    }
    kind = random.randrange(8)
    if kind < 3:
        place = random.choice([data, event])
        place[random.choice([*sorted(place), random.choice(HOSTILE_TEXTS), "data_base64"])] = random.choice(
            (*HOSTILE_TEXTS, *HOSTILE_VALUES)
        )
    elif kind == 3:
        del event["data"]
        event["data_base64"] = random.choice(["é", "A", "====", "\ud800", "bnVsbA=="])
    elif kind == 4:
        return random.choice(_FILLED)(random)[: 256 * 1024]
    elif kind == 5:
        text = json.dumps(event).encode()
        return text[: random.randrange(len(text))]
    return json.dumps(event).encode()


_FILLED: Final[tuple[Callable[[Random], bytes], ...]] = (
    lambda _: b"[" * 262_000,
    lambda _: b'{"a":' * 52_000,
    lambda _: b"{" + b",".join(b'"n%d":1' % n for n in range(22_000)) + b',"n1":1}',
    lambda _: _filled({"token" + ".a" * 120_000: 1}),
    lambda _: _filled({f"f{n}": 1 for n in range(15_000)}),
    lambda _: _filled({"members": [1] * 80_000}),
    lambda _: _filled({"members": [KEY] * 5_000}),
    lambda _: _filled({"members": [{}] * 60_000}),
    lambda _: _filled({"kind": "\u202e" * 40_000}),
    lambda _: b'{"specversion":"1.0","id":' + b"9" * 262_000 + b"}",
    lambda random: random.randbytes(262_000),
)


def _filled(data: dict[str, Any]) -> bytes:
    whole = {"kind": "add_members", "privacy_group_id": GROUP} | data
    event = {"specversion": "1.0", "id": "r", "source": "/s", "type": REQUEST_TYPE, "data": whole}
    return json.dumps(event, separators=(",", ":")).encode()


def _verdict(random: Random) -> bytes:
    root = {"block_number": 7, "block_hash": PMT, "state_root": PMT}
    data: dict[str, Any] = {
        "privacy_group_id": GROUP,
        "member": KEY,
        "chain_id": 1337,
        "roots": [root] * random.choice([1, 3, 1_100, 2_400]),
        "head": 9,
        "issued_at": "2026-01-01T00:00:00+00:00",
        "account": ACCOUNT,
        "signature": "0x" + "11" * 65,
    }
    if random.random() < 0.5:
        data[random.choice(sorted(data))] = random.choice((*HOSTILE_TEXTS, *HOSTILE_VALUES, [{}] * 170_000))
    return json.dumps({"type": "membership.member.verdict.v1", "data": data}, separators=(",", ":")).encode()
