"""Subscribers that drop known events: several stores on one message queue, restarts, and a store that is lost."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nats

from orchestrator.broker.connection import connect
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.events.relay import Relay
from orchestrator.membership.news.status import EventType, StatusEvent
from orchestrator.store import Database, SqlChangeStore, SqlOutbox, migrate
from tests.patience import patient

GROUPS = 4
ROUNDS = 3
EACH = 25
SOURCE = "https://org.example/membership"
"""All stores but the last are one organisation's: only their ids tell their events apart."""


STORES = ("one", "two", "three", "lost", "other")


def prepared(folder: Path, of_round: int) -> None:
    """Make the stores, and lose one of them on the way."""
    if of_round == 1:
        for file in folder.glob("lost.db*"):
            file.unlink()
    for name in STORES:
        migrate(f"sqlite:///{folder}/{name}.db")


@dataclass
class Committed:
    """What was committed, by store and text."""

    texts: set[str] = field(default_factory=set)

    def events(self, store: str, of_round: int) -> list[StatusEvent]:
        """Return events that nothing but their text tells from those of another store."""
        made = []
        for number in range(EACH):
            text = f"{store}/{of_round}/{number}"
            self.texts.add(text)
            group = f"group-{number % GROUPS}"
            made.append(StatusEvent(type=EventType.GROUP_JOINING, privacy_group_id=group, data={"text": text}))
        return made


@asynccontextmanager
async def publishing(url: str, queue: str, source: str | None, folder: Path) -> AsyncIterator[SqlChangeStore]:
    """Run what a daemon runs for its status events, and publish all of them before the end."""
    clock = SystemClock()
    async with Database(url) as database, connect(queue, directory=folder) as broker:
        outbox = SqlOutbox(database, source)
        relay = Relay(outbox, broker, clock, url)
        running = asyncio.create_task(relay.run())
        try:
            yield SqlChangeStore(database, clock)
        finally:
            running.cancel()
            await asyncio.wait([running])
            await relay.drain(patient(30))


async def test_no_event_is_lost_to_a_subscriber_that_drops_known_ones(nats_url: str, tmp_path: Path) -> None:
    """Whatever stores there are and become, every event that was committed has a source and id of its own."""
    committed = Committed()

    async def one_round(name: str, of_round: int) -> None:
        url = f"sqlite:///{tmp_path}/{name}.db"
        source = None if name == "other" else SOURCE
        async with publishing(url, nats_url, source, tmp_path) as store:
            await store.announce(committed.events(name, of_round))

    for of_round in range(ROUNDS):
        await asyncio.to_thread(prepared, tmp_path, of_round)
        await asyncio.gather(*(one_round(name, of_round) for name in STORES))

    client = await nats.connect(nats_url)
    jetstream = client.jetstream()
    total = (await jetstream.stream_info("membership-events")).state.messages
    reading = await jetstream.subscribe("membership.events.>", ordered_consumer=True)
    seen: dict[tuple[str, str], str] = {}
    places: dict[str, list[str]] = {}
    for _ in range(total):
        document = json.loads((await reading.next_msg(patient(10))).data)
        seen.setdefault((document["source"], document["id"]), document["data"]["text"])
        places.setdefault(document["source"], []).append(document["sequence"])
    await client.close()
    assert set(seen.values()) == committed.texts
    assert len(places.pop(SOURCE)) == 4 * ROUNDS * EACH
    # In the scope of one store's source the places are ordered as text, and none is there twice.
    (of_one_store,) = places.values()
    assert sorted(of_one_store, key=int) == sorted(of_one_store)
    assert len(set(of_one_store)) == ROUNDS * EACH
