"""What every message queue must do, on real servers."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

import pytest

from orchestrator.broker.port import Broker
from orchestrator.engine.ports.queues import BrokerError, Trigger
from tests.patience import patient

if TYPE_CHECKING:
    from tests.contract.broker.conftest import QueueUnderTest, Received

SECONDS = 20


@asynccontextmanager
async def triggers_of(broker: Broker) -> AsyncIterator[AsyncGenerator[Trigger, None]]:
    triggers = broker.triggers()
    async with aclosing(triggers):
        yield triggers


async def take(triggers: AsyncIterator[Trigger], seconds: float = SECONDS) -> Trigger:
    async with asyncio.timeout(patient(seconds)):
        return await anext(triggers)


async def request_until_stored(broker: Broker, body: bytes) -> None:
    async with asyncio.timeout(patient(60)):
        while True:
            try:
                await broker.request(body)
            except BrokerError:
                await asyncio.sleep(0.05)
            else:
                return


async def publish_until_it_fails(broker: Broker) -> None:
    for number in count(2):  # a frozen server may have answered what came before
        await broker.publish("membership.change.accepted.v1", f"event-{number}", b"{}")


async def publish_until_taken(broker: Broker, event_id: str) -> None:
    async with asyncio.timeout(patient(30)):
        while True:
            try:
                await broker.publish("membership.change.accepted.v1", event_id, b"{}")
            except BrokerError:
                await asyncio.sleep(0.05)
            else:
                return


async def take_all(triggers: AsyncIterator[Trigger], count: int) -> set[bytes]:
    found: set[bytes] = set()
    async with asyncio.timeout(patient(60)):
        while len(found) < count:
            trigger = await anext(triggers)
            await trigger.acknowledge()
            found.add(trigger.body)
    return found


async def test_a_request_arrives_as_it_was_sent(queue: "QueueUnderTest") -> None:
    """A trigger has the body and the headers that were published."""
    async with queue.open() as broker, triggers_of(broker) as triggers:
        await broker.check()
        await broker.request(b'{"id": "1"}')
        trigger = await take(triggers)
        assert trigger.body == b'{"id": "1"}'
        assert trigger.headers["content-type"] == "application/cloudevents+json"
        await trigger.acknowledge()


async def test_what_is_not_acknowledged_is_delivered_again(queue: "QueueUnderTest") -> None:
    """A trigger that a consumer took and did not settle comes to the next consumer."""
    async with queue.open() as broker:
        await broker.request(b"once")
        async with triggers_of(broker) as triggers:
            assert (await take(triggers)).body == b"once"
    async with queue.open() as broker, triggers_of(broker) as triggers:
        trigger = await take(triggers)
        assert trigger.body == b"once"
        await trigger.acknowledge()


async def test_what_is_acknowledged_does_not_come_again(queue: "QueueUnderTest") -> None:
    """After the acknowledgement a trigger is gone, for later consumers too."""
    async with queue.open() as broker:
        await broker.request(b"first")
        async with triggers_of(broker) as triggers:
            await (await take(triggers)).acknowledge()
    async with queue.open() as broker, triggers_of(broker) as triggers:
        await broker.request(b"second")
        trigger = await take(triggers)
        assert trigger.body == b"second"
        await trigger.acknowledge()


async def test_no_more_than_the_bound_is_in_flight(queue: "QueueUnderTest") -> None:
    """Unsettled triggers hold the next ones back; settling lets them come."""
    # What is held for longer than the queue waits comes again, and would take the place of one that did not yet come.
    patience = timedelta(minutes=5)
    async with queue.open(in_flight=4, ack_wait=patience) as broker, triggers_of(broker) as triggers:
        for number in range(9):
            await broker.request(b"%d" % number)
        held = [await take(triggers) for _ in range(4)]
        waiting = asyncio.ensure_future(anext(triggers))
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done
        for trigger in held:
            await trigger.acknowledge()
        async with asyncio.timeout(patient(SECONDS)):
            fifth = await waiting
        await fifth.acknowledge()
        bodies = {trigger.body for trigger in held} | {fifth.body}
        assert bodies | await take_all(triggers, 4) == {b"%d" % number for number in range(9)}


@pytest.mark.parametrize("queue", ["nats"], indirect=True)
async def test_what_a_reader_left_unsettled_takes_no_place_of_the_next(queue: "QueueUnderTest") -> None:
    """Who reads again on the same connection gets as many as the first time; what was not settled comes to it again."""
    async with queue.open(in_flight=2) as broker:
        for number in range(2):
            await broker.request(b"%d" % number)
        for _ in range(2):
            async with triggers_of(broker) as triggers:
                found = [await take(triggers) for _ in range(2)]
        assert {trigger.body for trigger in found} == {b"0", b"1"}
        for trigger in found:
            await trigger.acknowledge()


async def test_a_postponed_trigger_comes_later(queue: "QueueUnderTest") -> None:
    """A trigger that was given back is delivered again."""
    async with queue.open() as broker, triggers_of(broker) as triggers:
        await broker.request(b"later")
        await (await take(triggers)).postpone(0.2)
        trigger = await take(triggers)
        assert trigger.body == b"later"
        await trigger.acknowledge()


async def test_a_buried_message_is_kept_with_its_reason_and_can_be_replayed(queue: "QueueUnderTest") -> None:
    """Dead letters hold the original bytes and headers and the reason; a replayed one is a trigger again."""
    body = b"\x00\xffnot json"
    async with queue.open() as broker, triggers_of(broker) as triggers:
        await broker.request(body)
        await (await take(triggers)).bury("body is no JSON:\nmémoire")
        [letter] = await broker.dead_letters()
        assert letter.body == body
        assert letter.reason == r"body is no JSON: m\xe9moire"
        assert letter.headers == {"content-type": "application/cloudevents+json"}
        assert await broker.dead_letters() == (letter,)
        # Other spellings of a number would be other replays of one letter, and some are no number for the server.
        for strange in (f" {letter.letter_id}", f"{letter.letter_id}\r\n", f"+{letter.letter_id}", "-1", "0", "9" * 30):
            with pytest.raises(KeyError):
                await broker.replay(strange)
        assert await broker.dead_letters() == (letter,)

        await broker.replay(letter.letter_id)
        again = await take(triggers)
        assert again.body == body
        assert again.headers["content-type"] == "application/cloudevents+json"
        assert "orchestrator-reason" not in again.headers
        await again.acknowledge()
        assert await broker.dead_letters() == ()
        with pytest.raises(KeyError):
            await broker.replay(letter.letter_id)


async def test_dead_letters_are_listed_oldest_first_and_bounded(queue: "QueueUnderTest") -> None:
    """The list has at most so many letters as asked for."""
    async with queue.open() as broker, triggers_of(broker) as triggers:
        for number in range(5):
            await broker.request(b"%d" % number)
            await (await take(triggers)).bury(f"reason {number}")
        assert [letter.reason for letter in await broker.dead_letters(3)] == ["reason 0", "reason 1", "reason 2"]
        third = (await broker.dead_letters())[2]
        await broker.replay(third.letter_id)
        assert {letter.body for letter in await broker.dead_letters()} == {b"0", b"1", b"3", b"4"}


async def test_a_message_too_long_for_a_request_is_buried_whole(queue: "QueueUnderTest") -> None:
    """A body of half a megabyte is delivered, so that it can be refused with a reason, and is kept."""
    body = b"x" * 512 * 1024
    async with queue.open() as broker, triggers_of(broker) as triggers:
        await broker.request(body)
        await (await take(triggers)).bury("too long")
        [letter] = await broker.dead_letters()
        assert letter.body == body


async def test_a_published_event_reaches_subscribers(queue: "QueueUnderTest") -> None:
    """Events are published under their type, with their id; a second time with the same id, or not at all."""
    # Of one group: others have no order.
    first, second = (b'{"subject": "a group", "number": %d}' % number for number in (1, 2))
    async with queue.open() as broker:
        await broker.check()
        async with queue.subscribe() as received:
            await broker.publish("membership.change.accepted.v1", "event-1", first)
            await broker.publish("membership.change.accepted.v1", "event-1", first)
            await broker.publish("membership.change.started.v1", "event-2", second)
            seen: list[Received] = []
            async with asyncio.timeout(patient(SECONDS)):
                while not seen or seen[-1].message_id != "event-2":
                    seen.append(await received.get())
    assert [event.subject for event in (seen[0], seen[-1])] == [
        queue.names.event_subject("membership.change.accepted.v1"),
        queue.names.event_subject("membership.change.started.v1"),
    ]
    assert [event.body for event in (seen[0], seen[-1])] == [first, second]
    assert {event.message_id for event in seen} == {"event-1", "event-2"}
    if queue.drops_duplicates:
        assert len(seen) == 2


async def test_nothing_is_lost_when_the_server_is_killed(queue: "QueueUnderTest") -> None:
    """Requests that were stored before a SIGKILL are delivered after it, on the connection that was there before."""
    async with queue.open(in_flight=16) as broker, triggers_of(broker) as triggers:
        for number in range(100):
            await broker.request(b"%d" % number)
        first = await take(triggers)
        await first.acknowledge()
        await queue.bounce()
        await request_until_stored(broker, b"after")
        expected = {b"%d" % number for number in range(100)} | {b"after"}
        found = {first.body}
        async with asyncio.timeout(patient(60)):
            while found != expected:
                trigger = await anext(triggers)
                await trigger.acknowledge()
                found.add(trigger.body)


async def test_requests_come_again_after_their_queue_was_deleted(queue: "QueueUnderTest") -> None:
    """An administrator's deletion costs what was in it; the daemon that reads makes it anew, without a restart."""
    async with queue.open() as broker, triggers_of(broker) as triggers:
        await broker.request(b"before")
        await (await take(triggers)).acknowledge()
        await queue.delete(queue.names.requests)

        async def ask() -> None:
            while True:
                with suppress(BrokerError):
                    await broker.request(b"after")
                await asyncio.sleep(0.2)

        asking = asyncio.create_task(ask())
        try:
            assert (await take(triggers, patient(60))).body == b"after"
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


async def test_events_go_on_after_the_server_was_killed(queue: "QueueUnderTest") -> None:
    """While the server is away publishing raises in bounded time; afterwards it works again."""
    async with queue.open(call_seconds=1.0) as broker:
        await publish_until_taken(broker, "event-1")
        await queue.bounce()
        await publish_until_taken(broker, "event-2")


async def test_a_server_that_does_not_answer_is_given_up_on(queue: "QueueUnderTest") -> None:
    """A frozen server makes a call fail within its bound instead of hanging."""
    async with queue.open(call_seconds=0.5) as broker:
        await request_until_stored(broker, b"it answers")
        queue.pause()
        try:
            async with asyncio.timeout(patient(5)):
                with pytest.raises(BrokerError):
                    await publish_until_it_fails(broker)
        finally:
            queue.resume()


async def test_settling_without_a_connection_does_no_harm(queue: "QueueUnderTest") -> None:
    """A trigger whose acknowledgement can't be delivered comes again; the caller is not troubled."""
    async with queue.open(call_seconds=0.5) as broker, triggers_of(broker) as triggers:
        await request_until_stored(broker, b"held")
        held = await take(triggers)
        queue.pause()
        try:
            async with asyncio.timeout(patient(5)):
                with pytest.raises(BrokerError):
                    await publish_until_it_fails(broker)
                await held.bury("while away")
        finally:
            queue.resume()
        again = await take(triggers)
        assert again.body == b"held"
        await again.acknowledge()


async def test_the_newest_event_is_seen_whoever_published_it(queue: "QueueUnderTest") -> None:
    """Events that another daemon publishes under the same subjects can be noticed."""
    async with queue.open() as broker, queue.open() as other:
        assert await broker.newest_event() is None
        await broker.publish("membership.change.accepted.v1", "event-1", b"ours")
        assert await broker.newest_event() == b"ours"
        await other.publish("membership.group.joining.v1", "event-2", b"another's")
        assert await broker.newest_event() == b"another's"
