"""The servers that other tests rely on are real, isolated from each other and can be killed and brought back."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import aio_pika
import nats
import psycopg
import pytest
from aiormq.abc import FieldTable
from nats.js.api import StreamConfig

from tests.patience import patient, within
from tests.servers.loopback_server import LoopbackServer, ServerStartError
from tests.servers.nats_server import NatsServer
from tests.servers.postgresql_server import PostgreSQLServer
from tests.servers.rabbitmq_server import RabbitMQServer

TRIES = 20


async def test_nats_keeps_a_stream_over_a_kill(nats_server: NatsServer) -> None:
    """A message that JetStream acknowledged is still there after SIGKILL and a start on the same port."""
    connection = await nats.connect(nats_server.url)
    await connection.jetstream().add_stream(StreamConfig(name="KEPT", subjects=["kept"]))
    await connection.jetstream().publish("kept", b"message")
    await connection.close()

    await asyncio.to_thread(nats_server.kill)
    await asyncio.to_thread(nats_server.start)

    connection = await nats.connect(nats_server.url)
    assert (await connection.jetstream().get_last_msg("KEPT", "kept")).data == b"message"
    await connection.close()


async def test_each_test_gets_an_empty_nats(nats_url: str) -> None:
    """A test's own NATS server has no streams at first."""
    connection = await nats.connect(nats_url)
    assert await connection.jetstream().streams_info() == []
    await connection.close()


def test_postgresql_keeps_rows_over_a_kill(postgresql_server: PostgreSQLServer, postgresql_url: str) -> None:
    """A committed row is still there after SIGKILL of the whole server and a start on the same port."""
    with psycopg.connect(postgresql_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS number")

    postgresql_server.kill()
    postgresql_server.start()

    with psycopg.connect(postgresql_url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (1,)


def test_each_test_gets_an_empty_database(postgresql_url: str) -> None:
    """A test's own database has no tables at first."""
    with psycopg.connect(postgresql_url) as connection:
        tables = connection.execute("SELECT * FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert tables == []


async def test_rabbitmq_keeps_a_message_over_a_kill(rabbitmq_server: RabbitMQServer, rabbitmq_url: str) -> None:
    """A message that a quorum queue confirmed is still there after SIGKILL and a start on the same port."""
    queue_type: FieldTable = {"x-queue-type": "quorum"}
    connection = await aio_pika.connect(rabbitmq_url)
    channel = await connection.channel(publisher_confirms=True)
    await channel.declare_queue("kept", durable=True, arguments=queue_type)
    await asyncio.to_thread(rabbitmq_server.write_tables)
    await channel.default_exchange.publish(aio_pika.Message(b"message"), "kept")
    await connection.close()

    await asyncio.to_thread(rabbitmq_server.kill)
    await asyncio.to_thread(rabbitmq_server.start)

    connection = await aio_pika.connect(rabbitmq_url)
    queue = await (await connection.channel()).declare_queue("kept", durable=True, arguments=queue_type)
    message = await queue.get(no_ack=True, timeout=patient(20))
    assert message.body == b"message"
    await connection.close()


async def test_each_test_gets_an_empty_rabbitmq(rabbitmq_url: str) -> None:
    """A queue of another test does not exist in a test's own virtual host."""
    connection = await aio_pika.connect(rabbitmq_url)
    with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
        await (await connection.channel()).declare_queue("kept", passive=True)
    await connection.close()


def test_a_paused_server_answers_only_after_resume(nats_server: NatsServer) -> None:
    """A paused server keeps its port and stays silent, so clients meet a hang instead of a refusal."""
    nats_server.pause()
    assert not nats_server.is_ready()
    nats_server.resume()
    assert any(nats_server.is_ready() for _ in range(TRIES)), "it answers within a second of some try"


def test_chromium_is_there(chromium_path: str) -> None:
    """Chromium answers with its version."""
    version = subprocess.run(
        [chromium_path, "--version"], capture_output=True, text=True, timeout=patient(30), check=True
    )
    assert "Chrom" in version.stdout


def test_the_javascript_client_is_there(node_path: str, web3js_quorum_folder: Path) -> None:
    """Node.js loads the client that the acceptance tests drive."""
    script = "console.log(typeof require('web3js-quorum'), require('web3').version)"
    run = subprocess.run(
        [node_path, "-e", script], cwd=web3js_quorum_folder, capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout.split() == ["function", "1.10.4"]


class _Failing(LoopbackServer):
    name = "failing"
    start_seconds = 5.0

    def command(self) -> list[str]:
        return ["sh", "-c", "echo the disk is full; exit 7"]

    def is_ready(self) -> bool:
        return False


class _Silent(LoopbackServer):
    name = "silent"
    start_seconds = 0.2

    def command(self) -> list[str]:
        return ["sleep", "60"]

    def is_ready(self) -> bool:
        return False


def test_a_server_that_ends_while_starting_shows_its_log() -> None:
    """The error of a server that ends while starting carries its exit code and what it printed."""
    with pytest.raises(ServerStartError, match=r"ended with code 7 while starting(.|\n)*the disk is full"), _Failing():
        pass


def test_a_server_that_never_answers_is_ended() -> None:
    """A server that does not answer in time is killed and its directory removed."""
    server = _Silent()
    with pytest.raises(ServerStartError, match=r"did not answer within 0\.2 s"), server:
        pass
    assert not server.is_running()
    assert not server.directory.exists()


def test_servers_end_with_a_killed_test_run() -> None:
    """A server does not outlive the process that started it, even when that one gets SIGKILL."""
    script = (
        "from tests.servers.nats_server import NatsServer\n"
        "server = NatsServer()\n"
        "server.start()\n"
        "print(server.process_id, server.directory, flush=True)\n"
        "input()\n"
    )
    root = Path(__file__).parents[2]
    run = subprocess.Popen([sys.executable, "-c", script], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert run.stdout is not None
    process_id, directory = run.stdout.readline().decode().split()
    os.kill(run.pid, signal.SIGKILL)
    run.communicate(timeout=patient(10))

    for _ in within(10):
        if not _is_alive(int(process_id)):
            break
        time.sleep(0.02)
    assert not _is_alive(int(process_id)), "the server outlived the test run"
    subprocess.run(["rm", "-r", directory], check=True)


def _is_alive(process_id: int) -> bool:
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
