"""The reader of verdicts while NATS is killed: nobody waits for a question that went down with its connection."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.broker.nats import verdicts
from orchestrator.broker.nats.verdicts import read
from orchestrator.engine.ports.queues import BrokerError

SUBJECT = "membership.verdicts"
SECONDS = 5.0


@dataclass
class DeadStream:
    """JetStream of a server that was killed: what is asked is never answered."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def get_msg(self, *_: Any, **__: Any) -> None:
        self.asked.set()
        await asyncio.Event().wait()


@dataclass
class Link:
    """A link whose connection seems to be up."""

    jetstream: DeadStream = field(default_factory=DeadStream)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    left: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.present = SimpleNamespace(jetstream=self.jetstream, ended=self.ended)

    async def session(self) -> Any:
        return self.present

    async def stream(self, *_: Any) -> str:
        return "verdicts"

    async def suspect(self, session: Any) -> None:
        self.left.append(session)


async def reading(link: Link) -> None:
    async with aclosing(read(link, SUBJECT)) as bodies:  # type: ignore[arg-type] # what of the link is used
        await anext(bodies)


async def test_a_question_ends_with_its_connection() -> None:
    """When the connection is lost while a question is open, reading ends at once, and the connection is no suspect."""
    link = Link()
    task = asyncio.create_task(reading(link))
    await link.jetstream.asked.wait()
    link.ended.set()
    async with asyncio.timeout(SECONDS):
        with pytest.raises(BrokerError, match="connection was lost"):
            await task
    assert link.left == []


async def test_a_connection_that_brings_no_answers_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is up, and on which a question is not answered in time, is not asked again."""
    monkeypatch.setattr(verdicts, "ANSWER_SECONDS", 0.02)
    link = Link()
    async with asyncio.timeout(SECONDS):
        with pytest.raises(BrokerError, match="no answer"):
            await reading(link)
    assert link.left == [link.present]
