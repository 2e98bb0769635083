"""Choosing the message queue that a URL names."""

from pathlib import Path

import pytest

from orchestrator.broker.connecting import UnknownBrokerError, connect
from orchestrator.broker.nats import NatsBroker
from orchestrator.broker.rabbitmq import RabbitMQBroker


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("nats://127.0.0.1:1", NatsBroker),
        ("tls://127.0.0.1:1,tls://127.0.0.1:2", NatsBroker),
        ("amqp://127.0.0.1:1/", RabbitMQBroker),
        ("amqps://127.0.0.1:1/", RabbitMQBroker),
    ],
)
async def test_the_scheme_chooses_and_nothing_need_answer(url: str, kind: type, tmp_path: Path) -> None:
    """A queue that is away does not keep the daemon from starting."""
    async with connect(url, directory=tmp_path) as broker:
        assert type(broker) is kind


@pytest.mark.parametrize("url", ["kafka://127.0.0.1", "127.0.0.1:4222", ""])
async def test_an_unknown_scheme_is_refused(url: str, tmp_path: Path) -> None:
    """What is no known queue is refused with the list of those that are."""
    with pytest.raises(UnknownBrokerError, match="embedded:, nats:, tls:, amqp:, amqps:"):
        async with connect(url, directory=tmp_path):
            pass
