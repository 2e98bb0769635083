"""Two daemons on one subject space."""

import asyncio
import json

import pytest
from structlog.testing import capture_logs

from orchestrator.engine.intake.requests import OWN_SOURCE
from orchestrator.engine.ports.queues import BrokerError
from orchestrator.events.neighbours import MOST_REMEMBERED, REFUSED_SECONDS, Neighbours
from tests.fakes.clock import JumpingClock


class Queue:
    """Gives what was published last."""

    def __init__(self) -> None:
        self.newest: bytes | None = None
        self.failure: Exception | None = None

    def publish(self, source: object) -> None:
        self.newest = json.dumps({"source": source}).encode()

    async def newest_event(self) -> bytes | None:
        if self.failure is not None:
            raise self.failure
        return self.newest


async def own() -> str:
    return "urn:own"


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def neighbours(queue: Queue) -> Neighbours:
    return Neighbours(queue, own, JumpingClock())


async def test_another_source_is_told_once(queue: Queue, neighbours: Neighbours) -> None:
    """Events of another store under our subjects are an error in the log, once for each store, with both sources."""
    with capture_logs() as logs:
        for source in ("urn:own", "urn:other", "urn:own", "urn:other"):
            queue.publish(source)
            await neighbours.look()
    assert neighbours.sources == ("urn:other",)
    assert [(line["log_level"], line["other_source"], line["own_source"]) for line in logs] == [
        ("error", "urn:other", "urn:own")
    ]


@pytest.mark.parametrize("body", [None, b"", b"[]", b"{}", b'{"source": 7}', b"[" * 9999, b"\xff"])
async def test_what_names_no_source_is_nobody(queue: Queue, neighbours: Neighbours, body: bytes | None) -> None:
    """An empty queue and messages that are no events say nothing."""
    queue.newest = body
    await neighbours.look()
    assert neighbours.sources == ()


async def test_our_own_earlier_events_are_not_anothers(queue: Queue, neighbours: Neighbours) -> None:
    """What goes out with the source that all stores had is no reason to shout."""
    queue.publish(OWN_SOURCE)
    await neighbours.look()
    assert neighbours.sources == ()


async def test_no_number_of_sources_is_too_many(queue: Queue, neighbours: Neighbours) -> None:
    """Sources that somebody makes up take no more memory than a few."""
    for number in range(3 * MOST_REMEMBERED):
        queue.publish(f"urn:{number}")
        await neighbours.look()
    assert len(neighbours.sources) == MOST_REMEMBERED


async def test_a_queue_that_does_not_answer_is_asked_again(queue: Queue) -> None:
    """Soon when it is away for a moment; at last seldom when it never lets us look; and as ever when it did."""
    pauses: list[float] = []

    class Clock(JumpingClock):
        async def sleep(self, seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 7:
                queue.failure = None
                queue.publish("urn:other")
            await super().sleep(seconds)

    queue.failure = BrokerError("away")
    neighbours = Neighbours(queue, own, Clock())
    looking = asyncio.create_task(neighbours.run())
    while len(pauses) < 8:  # noqa: ASYNC110 - the clock jumps
        await asyncio.sleep(0)
    looking.cancel()
    await asyncio.wait([looking])
    assert pauses[:8] == [20.0, 40.0, 80.0, 160.0, 320.0, REFUSED_SECONDS, REFUSED_SECONDS, 20.0]
    assert neighbours.sources == ("urn:other",)
