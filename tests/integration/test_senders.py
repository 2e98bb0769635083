"""Senders with a subject each: a flood of one is not in front of another."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import nats
from nats.errors import Error as NatsError

from orchestrator.access.callers import EVERYTHING, Caller, Door, Role
from orchestrator.broker.connection import connect
from orchestrator.broker.names import Names
from orchestrator.broker.port import Broker, Inlet
from orchestrator.engine.intake.intake import Intake
from orchestrator.engine.intake.requests import REQUEST_TYPE
from orchestrator.engine.intake.senders import Sender
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.ports.store import Acceptance
from orchestrator.store import Database, SqlChangeStore, migrate
from tests.fakes.clock import FastClock
from tests.fakes.network import FakeSigners
from tests.patience import patient

FLOOD = 600
ACCOUNT = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"
KEY = "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="
NAMES = Names(sources=("t.org1", "t.org2"))
FIRST, SECOND = NAMES.sources


class Noted(SqlChangeStore):
    """Notes in which order requests were accepted, each once: what is not settled in time comes again."""

    order: dict[str, None]
    wanted: frozenset[str]
    all: asyncio.Event

    async def accept(self, *given: Any, **more: Any) -> Acceptance:
        found = await super().accept(*given, **more)
        if found.change.request_id in self.wanted:
            self.order.setdefault(found.change.request_id)
        if len(self.order) == len(self.wanted):
            self.all.set()
        return found


async def test_a_flood_on_its_own_subject_is_not_in_front_of_others(tmp_path: Path, nats_url: str) -> None:
    """Behind a flood on one subject a request is accepted last, as a queue has it; on its own subject far before."""
    async with connect(nats_url, directory=tmp_path, names=NAMES) as broker:
        for name in NAMES.sources:
            await prepared(broker, nats_url, name)
        behind = await accepted_before(broker, tmp_path / "one.db", nats_url, [*[FIRST] * FLOOD, FIRST])
        beside = await accepted_before(broker, tmp_path / "two.db", nats_url, [*[FIRST] * FLOOD, SECOND])
    assert behind > 0.8 * FLOOD, "what is worked on at the same time may be overtaken, and no more"
    assert beside < behind / 2


async def prepared(broker: Broker, url: str, name: str) -> None:
    """Have the stream of a subject made, which its first opening does."""
    source = broker.triggers(name)
    opening = asyncio.ensure_future(anext(source))
    client = await nats.connect(url)
    async with asyncio.timeout(patient(60)):
        while True:
            with suppress(NatsError):
                await client.jetstream().find_stream_name_by_subject(name)
                break
            await asyncio.sleep(0.02)
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    await source.aclose()
    await client.close()


async def accepted_before(broker: Broker, path: Path, url: str, subjects: Sequence[str]) -> int:
    """Publish requests, then take them as a daemon does; return how many were accepted before the last one was."""
    migrated = f"sqlite:///{path}"
    await asyncio.to_thread(migrate, migrated)
    names = [f"{path.stem}-{number}" for number in range(len(subjects))]
    client = await nats.connect(url)
    await asyncio.gather(
        *(client.jetstream().publish(subject, _request(name)) for subject, name in zip(subjects, names, strict=True))
    )
    await client.close()
    async with Database(migrated) as database:
        clock, ids = FastClock(), (f"{number:032x}" for number in count())
        store = Noted(database, clock)
        store.order, store.wanted, store.all = {}, frozenset(names), asyncio.Event()
        senders = {
            name: [Sender(caller=Caller(name=f"queue:{name}", role=Role.OPERATOR, scope=EVERYTHING, door=Door.QUEUE))]
            for name in NAMES.sources
        }
        intake = Intake(store, Fleet([]), FakeSigners(ACCOUNT), clock, ids.__next__, senders=senders)
        async with asyncio.timeout(patient(120)), asyncio.TaskGroup() as tasks:
            taking = [tasks.create_task(intake.run(Inlet(broker, name))) for name in NAMES.sources]
            await store.all.wait()
            for task in taking:
                task.cancel()
        return list(store.order).index(names[-1])


def _request(name: str) -> bytes:
    data = {"kind": "create_group", "members": [KEY]}
    event = {"specversion": "1.0", "id": name, "source": "/s", "type": REQUEST_TYPE, "data": data}
    return json.dumps(event).encode()
