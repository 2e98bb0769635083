"""Producers and consumers of others on Kafka, by the examples of the documentation."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import wait_until
from tests.acceptance.interop.conftest import Interop, interop
from tests.servers.kafka_server import KafkaServer

UNREADABLE = """
import asyncio, os
os.environ["AIOKAFKA_NO_EXTENSIONS"] = "1"
from aiokafka import AIOKafkaProducer

class Unreadable(str):
    def encode(self, *_):
        return b"ce_\\xff\\xfe"

async def main():
    producer = AIOKafkaProducer(bootstrap_servers="127.0.0.1:9092")
    await producer.start()
    for partition in sorted(await producer.partitions_for("membership.requests")) * 6:
        await producer.send("membership.requests", b"bad", headers=[(Unreadable("x"), b"1")], partition=partition)
    await producer.stop()

asyncio.run(main())
"""
UNREADABLES = 36
"""Six in each of six partitions."""


@pytest.fixture(scope="module")
def running(folder: Path, _kafka: KafkaServer) -> Iterator[Interop]:
    """One daemon for all tests here."""
    with interop(folder, _kafka.url) as found:
        yield found
    _kafka.delete_topics("membership.")


def test_kafkajs_sends_requests_and_reads_events(running: Interop) -> None:
    """Events of the JavaScript SDK's Kafka binding, sent by kafkajs, are requests in both modes; it hears of them."""
    script = running.example("events.md", "kafka-js")
    # The SDK gives attributes that an event has not as undefined, and data as it is, which kafkajs does not take.
    given = "value: JSON.stringify(value), headers: JSON.parse(JSON.stringify(headers))"
    binary = (
        script.replace("by-kafkajs", "by-kafkajs-binary")
        .replace("Binding.structured", "Binding.binary")
        .replace("messages: [{ key, value, headers }]", f"messages: [{{ key, {given} }}]")
    )
    running.javascript(binary)
    assert running.asked("add-member3-by-kafkajs-binary")["kind"] == "add_members"
    running.javascript(script)
    change = running.asked("add-member3-by-kafkajs")
    told = running.javascript(running.example("events.md", "kafka-js-subscribe"))
    source, _, kind, change_id = told.splitlines()[-1].split()
    assert (source.partition(":")[0], kind, change_id) == ("urn", "membership.change.accepted.v1", change["change_id"])


def test_aiokafka_sends_requests_and_reads_events(running: Interop) -> None:
    """Messages of the Python SDK's Kafka binding are requests in both modes, keyed or not; events come back."""
    script = running.example("events.md", "kafka-python")
    structured = script.replace("by-aiokafka", "by-aiokafka-structured").replace("to_binary", "to_structured")
    running.python(structured.replace("key=str(message.key).encode(), ", ""))
    assert running.asked("add-member3-by-aiokafka-structured")["kind"] == "add_members"
    running.python(script)
    change = running.asked("add-member3-by-aiokafka")
    told = running.python(running.example("events.md", "kafka-python-subscribe"))
    _, _, kind, change_id = told.splitlines()[-1].split()
    assert (kind, change_id) == ("membership.change.accepted.v1", change["change_id"])


def test_headers_that_are_none_stop_no_request(running: Interop) -> None:
    """A message whose headers no client can read becomes a dead letter, and the request behind it comes."""
    running.python(UNREADABLE.replace("127.0.0.1:9092", running.broker_url.removeprefix("kafka://")))
    running.python(running.example("events.md", "kafka-python").replace("by-aiokafka", "behind-the-unreadable"))
    assert running.asked("add-member3-behind-the-unreadable")["kind"] == "add_members"

    def buried() -> list[str]:
        return [letter["body"] for letter in running.get("/v1/dead-letters")["dead_letters"]]

    # What stands in other partitions may be buried after it.
    wait_until("the dead letters", lambda: len(buried()) >= UNREADABLES)
    assert buried() == ["bad"] * UNREADABLES
