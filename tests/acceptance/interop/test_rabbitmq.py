"""Producers and consumers of others on RabbitMQ, by the examples of the documentation."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.interop.conftest import Interop, interop
from tests.servers.rabbitmq_server import RabbitMQServer

pytestmark = pytest.mark.xdist_group("rabbitmq")


@pytest.fixture(scope="module")
def running(folder: Path, _rabbitmq: RabbitMQServer) -> Iterator[Interop]:
    """One daemon for all tests here."""
    name = _rabbitmq.create_virtual_host()
    with interop(folder, _rabbitmq.url_of(name)) as found:
        yield found
    _rabbitmq.delete_virtual_host(name)


def test_amqplib_sends_requests(running: Interop) -> None:
    """Events of the JavaScript SDK, published by amqplib with either mode's headers, are requests."""
    script = running.example("events.md", "rabbitmq-js")
    running.javascript(script)
    assert running.asked("add-member3-by-amqplib")["kind"] == "add_members"
    binary = (
        script.replace("by-amqplib", "by-amqplib-binary")
        .replace("Buffer.from(HTTP.structured(request).body)", "Buffer.from(HTTP.binary(request).body)")
        .replace('contentType: "application/cloudevents+json"', "headers: HTTP.binary(request).headers")
    )
    running.javascript(binary)
    assert running.asked("add-member3-by-amqplib-binary")["kind"] == "add_members"


def test_pika_sends_requests_and_reads_events(running: Interop) -> None:
    """Messages of the Python SDK's RabbitMQ binding, sent by pika, are requests in both modes; pika hears of them."""
    subscriber = running.example("events.md", "rabbitmq-python-subscribe")
    declaring, _, _ = subscriber.partition("for method")
    running.python(declaring)
    script = running.example("events.md", "rabbitmq-python")
    structured = script.replace("by-pika", "by-pika-structured").replace("to_binary", "to_structured")
    running.python(structured)
    assert running.asked("add-member3-by-pika-structured")["kind"] == "add_members"
    running.python(script)
    change = running.asked("add-member3-by-pika")
    source, _, kind, change_id = running.python(subscriber).splitlines()[-1].split()
    assert (source.partition(":")[0], kind, change_id) == ("urn", "membership.change.accepted.v1", change["change_id"])
