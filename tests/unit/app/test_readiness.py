"""What has to work, as ``/readyz`` tells it."""

import json

from orchestrator.app.readiness import Readiness
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.events.backlog import Backlog
from orchestrator.events.neighbours import Neighbours
from orchestrator.events.relay import Relay
from orchestrator.store import Database, SqlChangeStore, SqlOutbox
from tests.fakes.clock import JumpingClock


class Queue:
    """Answers; another store's event is the newest on it."""

    async def check(self) -> None:
        return None

    async def check_events(self) -> None:
        return None

    async def largest_message(self) -> None:
        return None

    async def publish(self, event_type: str, event_id: str, body: bytes) -> None:
        raise AssertionError(f"nothing is to be published, {event_type} {event_id} of {len(body)} bytes is")

    async def newest_event(self) -> bytes:
        return json.dumps({"source": "urn:other"}).encode()


async def own() -> str:
    return "urn:own"


async def test_another_store_under_our_names_is_told() -> None:
    """Who else publishes events where ours go is named, and keeps nobody from being ready."""
    clock, queue = JumpingClock(), Queue()
    neighbours = Neighbours(queue, own, clock)
    async with Database("sqlite://") as database:
        outbox = SqlOutbox(database)
        backlog, relay = Backlog(outbox, clock), Relay(outbox, queue, clock, "one")
        readiness = Readiness(SqlChangeStore(database, clock), queue, Fleet([]), clock, backlog, relay, neighbours)  # type: ignore[arg-type] # a part of a queue
        before = {check.name: check for check in await readiness.checks()}
        await neighbours.look()
        after = {check.name: check for check in await readiness.checks()}
    assert (before["neighbours"].ok, before["neighbours"].required) == (True, False)
    assert not after["neighbours"].ok
    assert "urn:other" in after["neighbours"].detail
