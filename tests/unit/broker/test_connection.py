"""Choosing the message queue that a URL names."""

import sys
from pathlib import Path

import pytest

from orchestrator.broker.connection import MissingClientError, UnknownBrokerError, connect
from orchestrator.broker.kafka.queue import KafkaBroker
from orchestrator.broker.nats.queue import NatsBroker
from orchestrator.broker.rabbitmq.queue import RabbitMQBroker


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("nats://127.0.0.1:1", NatsBroker),
        ("tls://127.0.0.1:1,tls://127.0.0.1:2", NatsBroker),
        ("amqp://127.0.0.1:1/", RabbitMQBroker),
        ("amqps://127.0.0.1:1/", RabbitMQBroker),
        ("kafka://127.0.0.1:1", KafkaBroker),
        ("kafkas://127.0.0.1:1,kafkas://127.0.0.1:2", KafkaBroker),
    ],
)
async def test_the_scheme_chooses_and_nothing_need_answer(url: str, kind: type, tmp_path: Path) -> None:
    """A queue that is away does not keep the daemon from starting."""
    async with connect(url, directory=tmp_path) as broker:
        assert type(broker) is kind


@pytest.mark.parametrize("url", ["mqtt://127.0.0.1", "127.0.0.1:4222", ""])
async def test_an_unknown_scheme_is_refused(url: str, tmp_path: Path) -> None:
    """What is no known queue is refused with the list of those that are."""
    with pytest.raises(UnknownBrokerError, match="embedded:, nats:, tls:, amqp:, amqps:, kafka:, kafkas:"):
        async with connect(url, directory=tmp_path):
            pass


async def test_what_has_to_be_installed_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without Kafka's client, which is an extra, its address is refused with the command that installs it."""
    monkeypatch.delitem(sys.modules, "orchestrator.broker.kafka.queue")
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    monkeypatch.delitem(sys.modules, "orchestrator.broker.kafka.intake", raising=False)
    with pytest.raises(MissingClientError, match=r"pip install 'besu-membership-orchestrator\[kafka\]'"):
        async with connect("kafka://127.0.0.1:1", directory=tmp_path):
            pass
