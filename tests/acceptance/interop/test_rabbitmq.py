"""Producers and consumers of others on RabbitMQ, by the examples of the documentation."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.acceptance.interop.conftest import Interop, interop
from tests.patience import patient
from tests.servers.rabbitmq_server import RabbitMQServer


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
    timed = "headers={**message.headers, 'ce-time': __import__('datetime').datetime(2026, 11, 23)}"
    running.python(script.replace("by-pika", "by-pika-timed").replace("headers=message.headers", timed))
    assert running.asked("add-member3-by-pika-timed")["kind"] == "add_members"  # AMQP has timestamps of its own
    running.python(script)
    change = running.asked("add-member3-by-pika")
    source, _, kind, change_id = running.python(subscriber).splitlines()[-1].split()
    assert (source.partition(":")[0], kind, change_id) == ("urn", "membership.change.accepted.v1", change["change_id"])


def test_rhea_sends_requests_and_reads_events(running: Interop) -> None:
    """By AMQP 1.0 an event of the JavaScript SDK in structured mode is a request, and rhea hears of it."""
    address = urlsplit(running.broker_url)
    host = 'host: "127.0.0.1", port: 5672'
    here = f'host: "127.0.0.1", port: {address.port}, hostname: "vhost:{address.path[1:]}"'
    sender = running.example("events.md", "rabbitmq-rhea")
    receiver = running.example("events.md", "rabbitmq-rhea-subscribe")
    assert host in sender
    assert host in receiver
    subscriber = running.started(receiver.replace(host, here))
    assert subscriber.stdout is not None
    assert subscriber.stdout.readline() == "subscribed\n"
    running.javascript(sender.replace(host, here))
    change = running.asked("add-member3-by-rhea")
    told, _ = subscriber.communicate(timeout=patient(30))
    assert subscriber.returncode == 0, told
    _, _, kind, change_id = told.splitlines()[-1].split()
    assert (kind, change_id) == ("membership.change.accepted.v1", change["change_id"])
