"""Verdicts on NATS, whose stream an administrator deletes while it is read."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import nats
import pytest

from orchestrator.broker.connection import connect
from orchestrator.broker.names import Limits, Names
from orchestrator.broker.nats import verdicts
from tests.patience import patient
from tests.servers.nats_server import NatsServer

NAMES = Names()
LIMITS = Limits(call_seconds=20.0, connect_seconds=20.0, reconnect_seconds=0.2)


@pytest.mark.parametrize("made_again_at_once", [True, False])
async def test_a_stream_that_was_deleted_is_read_from_its_new_beginning(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, *, made_again_at_once: bool
) -> None:
    """What is published to its successor is read, though that counts from 1 again, and nothing of it is missed."""
    monkeypatch.setattr(verdicts, "LOOK_SECONDS", 0.02)
    client = await nats.connect(nats_server.url)
    try:
        async with (
            connect(nats_server.url, directory=Path("/unused"), limits=LIMITS) as broker,
            aclosing(broker.verdicts()) as bodies,
            asyncio.timeout(patient(30)),
        ):
            before = [b"1", b"2", b"3", b"4"]
            for body in before:
                await broker.publish_verdict(body)
            assert [await anext(bodies) for _ in before] == before
            stream = await client.jetstream().find_stream_name_by_subject(NAMES.verdicts)
            waiting = asyncio.ensure_future(anext(bodies))
            await client.jetstream().delete_stream(stream)
            if not made_again_at_once:
                await asyncio.wait({waiting}, timeout=0.2)
            await broker.publish_verdict(b"5")
            await broker.publish_verdict(b"6")
            assert [await waiting, await anext(bodies)] == [b"5", b"6"]
    finally:
        await client.close()
