"""The main job by Kafka: a client that nobody here wrote sends one organisation's requests, and reads how it went."""

import json
import subprocess
from collections.abc import Callable
from itertools import pairwise

from tests.acceptance.conftest import ENCLAVE_KEYS, DaemonProcess, DevnetProcess, trigger
from tests.patience import patient
from tests.servers import programs
from tests.servers.kafka_server import KafkaServer

SEND = """
import asyncio, json, sys
from aiokafka import AIOKafkaProducer

async def main():
    server, topic, *documents = sys.argv[1:]
    producer = AIOKafkaProducer(bootstrap_servers=server, enable_idempotence=True)
    await producer.start()
    for document in documents:
        key = json.loads(document)["data"]["privacy_group_id"].encode()
        headers = [("content-type", b"application/cloudevents+json")]
        await producer.send_and_wait(topic, document.encode(), key=key, headers=headers)
    await producer.stop()

asyncio.run(main())
"""
READ = """
import asyncio, sys
from aiokafka import AIOKafkaConsumer
from tests.patience import patient

async def main():
    server, topic, request = sys.argv[1:]
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=server, auto_offset_reset="earliest")
    await consumer.start()
    async with asyncio.timeout(patient(60)):
        async for record in consumer:
            headers = {name: value.decode() for name, value in record.headers}
            print(headers["ce_type"], record.key.decode(), record.value.decode(), flush=True)
            if headers["ce_type"] == "membership.change.succeeded.v1" and request.encode() in record.value:
                break
    await consumer.stop()

asyncio.run(main())
"""


def run(script: str, *arguments: str) -> str:
    """Run a program in the environment of others' clients; returns what it printed."""
    python = programs.interop() / ".venv" / "bin" / "python"
    done = subprocess.run(
        [str(python), "-c", script, *arguments], capture_output=True, text=True, timeout=patient(90), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_request_on_an_organisations_topic_ends_in_a_proof_that_its_client_reads(
    devnet_process: Callable[..., DevnetProcess],
    daemon_process: Callable[..., DaemonProcess],
    kafka_server: KafkaServer,
    kafka_prefix: str,
) -> None:
    """Sent to the topic of one organisation: a group, then a third member, proven; its events come in order, keyed."""
    own = f"{kafka_prefix}.requests.org1"
    names = "".join(f'{name} = "{kafka_prefix}.{name}"\n' for name in ("requests", "dead", "events", "consumer"))
    sources = f'[[broker.sources]]\nname = "org1"\nsubject = "{own}"\nkinds = ["create_group", "add_members"]\n'
    server = kafka_server.url.removeprefix("kafka://")
    devnet = devnet_process("23.10.3", 0.5)
    daemon = daemon_process(devnet, kafka_server.url, extra=f"[broker.names]\n{names}{sources}")
    create = trigger("create", "create_group", ENCLAVE_KEYS[:2])
    add = trigger("add-third", "add_members", ENCLAVE_KEYS[2:])
    remove = trigger("remove-second", "remove_members", ENCLAVE_KEYS[1:2])
    run(SEND, server, own, create.decode(), remove.decode(), add.decode())
    change = daemon.settled("add-third")
    assert change["state"] == "succeeded", change

    lines = [line.split(" ", 2) for line in run(READ, server, f"{kafka_prefix}.events", "add-third").splitlines()]
    events = [json.loads(text) for _, _, text in lines]
    told = [(kind, key) for kind, key, _ in lines]
    assert told == [(event["type"], event["subject"]) for event in events]
    sequences = [event["data"]["sequence"] for event in events]
    assert all(after == before + 1 for before, after in pairwise(sequences)), sequences
    proof = events[-1]["data"]
    assert {seen["member"]: seen["verdict"] for seen in proof["progress"]} == dict.fromkeys(ENCLAVE_KEYS, "in_sync")
    (refused,) = [event for event in events if event["type"] == "membership.request.rejected.v1"]
    assert refused["data"]["request_id"] == "remove-second"
