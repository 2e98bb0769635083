"""Steering webhooks, with a real HTTP server on loopback."""

import json
from typing import TYPE_CHECKING

import pytest

from orchestrator.events.webhooks.control import WebhookControl
from orchestrator.events.webhooks.delivery import TEST_TYPE
from orchestrator.events.webhooks.signatures import SIGNATURE_HEADER, signature
from tests.fakes.clock import FastClock
from tests.unit.events.webhooks.test_poster import SECRET, endpoint, posting, serving, until_checkpoint

if TYPE_CHECKING:
    from tests.unit.events.conftest import Source


async def test_a_stopped_webhook_gets_nothing_until_it_is_resumed(source: "Source", clock: FastClock) -> None:
    """What happens while it is stopped is posted in order once it goes on."""
    async with serving() as receiver:
        control = WebhookControl(source.outbox, [endpoint(receiver)], clock)
        async with posting(source, clock, endpoint(receiver)):
            await source.commit(1)
            await receiver.until_taken([1])
            await until_checkpoint(source, lambda known: known.position == 1)  # or it comes again
            stopped = await control.stop("hook")
            assert stopped.stopped_since is not None
            await source.commit(2)
        async with posting(source, clock, endpoint(receiver)):
            await clock.sleep(30)
            assert receiver.taken[:1] == [1]
            (standing,) = await control.webhooks()
            assert standing.stopped_since == stopped.stopped_since
            resumed = await control.resume("hook")
            assert resumed.stopped_since is None
            await receiver.until_taken([1, 2, 3])


async def test_a_paused_webhook_is_tried_at_once(source: "Source", clock: FastClock) -> None:
    """One that failed too often is tried at once when an operator lets it go on, and its failures are forgotten."""
    async with serving() as receiver:
        receiver.always = 500
        control = WebhookControl(source.outbox, [endpoint(receiver)], clock)
        async with posting(source, clock, endpoint(receiver)):
            await source.commit(1)
            await until_checkpoint(source, lambda known: known.paused_since is not None)
            (standing,) = await control.webhooks()
            assert (standing.behind, standing.detail) == (1, "it answered 500")
            receiver.always = None
            await control.resume("hook")
            await receiver.until_taken([1])
            await until_checkpoint(source, lambda known: known.failures == 0 and known.paused_since is None)


async def test_events_are_posted_again(source: "Source", clock: FastClock) -> None:
    """Everything behind the event that is named comes again, with the same ids, and then what is new."""
    async with serving() as receiver:
        control = WebhookControl(source.outbox, [endpoint(receiver)], clock)
        async with posting(source, clock, endpoint(receiver)):
            await source.commit(3)
            await receiver.until_taken([1, 2, 3])
            await until_checkpoint(source, lambda known: known.position == 3)
            assert (await control.send_again("hook", 1)).position == 1
            await receiver.until_taken([1, 2, 3, 2, 3])
        ids = [json.loads(body)["id"] for _, body in receiver.requests]
        assert ids[1:3] == ids[3:5]
        with pytest.raises(ValueError, match="the newest is 3"):
            await control.send_again("hook", 4)


async def test_a_test_event_is_signed_like_all_others(source: "Source", clock: FastClock) -> None:
    """It comes at once, signed, with a type of its own, and what the receiver answers is told."""
    async with serving() as receiver:
        control = WebhookControl(source.outbox, [endpoint(receiver)], clock)
        assert await control.try_out("hook") == (True, "it took the event")
        ((headers, body),) = receiver.requests
        assert json.loads(body)["type"] == TEST_TYPE
        assert headers[SIGNATURE_HEADER] == signature(SECRET, body)
        receiver.always = 401
        assert await control.try_out("hook") == (False, "it answered 401")


async def test_nothing_of_an_address_is_told_but_its_host(source: "Source", clock: FastClock) -> None:
    """A path or a user's name may be a secret; and a name that is not configured is no webhook."""
    async with serving() as receiver:
        secret = receiver.url.replace("http://", "http://user:password@") + "/token?key=1"
        control = WebhookControl(source.outbox, [endpoint(receiver, url=secret)], clock)
        assert (await control.webhook("hook")).address == "http://127.0.0.1"
        with pytest.raises(KeyError):
            await control.stop("other")
