"""Each way in gets its worst document, and holds the event loop for no more than 100 ms of processor time."""

import asyncio
import json
import struct
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from random import Random

import pytest
from aiohttp import ClientSession, web
from pamqp import frame
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from orchestrator.besu.client.enclave_probe import party_keys
from orchestrator.besu.client.histories import read_memberships
from orchestrator.besu.client.node import Node
from orchestrator.besu.client.signer_ports import SignerError
from orchestrator.besu.codec.identifiers import bytes_to_hex
from orchestrator.besu.codec.management_contract import Abi, participant_added_log
from orchestrator.besu.errors import ProtocolError
from orchestrator.besu.key_services.certificates import CertificateFiles
from orchestrator.besu.key_services.web3signer import web3signer
from orchestrator.besu.transport.http_client import HttpNode, open_session
from orchestrator.besu.transport.websocket_client import MAX_BYTES_PER_SECOND, MAX_MESSAGE_BYTES, NodeSocket
from orchestrator.broker.header_names import lowered
from orchestrator.broker.nats.client import SturdyClient
from orchestrator.broker.rabbitmq.transport import MOST_PROPERTY_BYTES, readable
from orchestrator.engine.intake.requests import InvalidRequestError, parse_trigger
from tests.fakes.http_api import FakeParts
from tests.hostile.campaigns import _FILLED
from tests.hostile.loop_time import MOST_SECONDS_ON_THE_LOOP, measured
from tests.patience import within
from tests.processor_time import assert_brief, quiet
from tests.servers.side_loop import in_a_thread

FLOOD_SECONDS = 1.5


async def test_bodies_over_http() -> None:
    """The worst bodies are refused one after the other, each in little time."""
    runner = web.AppRunner(FakeParts().application(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/changes"
    bodies = [fill(Random(1))[: 256 * 1024] for fill in _FILLED]  # noqa: S311 - a plan that can be repeated
    async with ClientSession() as session:
        with measured() as longest:
            for number, body in enumerate(bodies):
                headers = {"Idempotency-Key": str(number), "Content-Type": "application/json"}
                async with session.post(url, data=body, headers=headers) as answer:
                    assert answer.status == 422, await answer.text()
    await runner.cleanup()
    assert longest.seconds < MOST_SECONDS_ON_THE_LOOP, longest


@pytest.mark.parametrize(
    "lines",
    [
        b"".join(b"%x:\r\n" % number for number in range(140_000)),
        b"".join(b"ce-x%d:v\r\n" % number for number in range(75_000)),
        b'ce-id:"' + b"\\\\" * 480_000 + b'"\r\n',
        b"ce-id:" + b"%41" * 330_000 + b"\r\n",
        b"".join(b"ce-x%d:v\r\n" % number for number in range(5_000)),
        b'ce-id:"' + b"\\\\" * 32_000 + b'"\r\n',
    ],
    ids=["empty ones", "attributes", "quoted", "encoded", "attributes that fit", "quoted that fits"],
)
def test_headers_of_messages(lines: bytes) -> None:
    """The most headers that fit into a message of NATS are read, or left out, in little time."""
    client = SturdyClient()

    def read() -> None:
        found = asyncio.run(client._process_headers(b"NATS/1.0\r\n" + lines + b"\r\n"))
        with pytest.raises(InvalidRequestError):
            parse_trigger(b"{}", lowered((found or {}).items()))

    assert_brief(read, MOST_SECONDS_ON_THE_LOOP)


@pytest.mark.parametrize("size", [131_000, MOST_PROPERTY_BYTES - 100])
def test_properties_of_messages(size: int) -> None:
    """The most values that fit into the properties of a message of RabbitMQ are read, or left out, in little time."""
    voids = b"\x01aA" + struct.pack(">I", size) + b"V" * size
    payload = struct.pack(">HHQH", 60, 0, 2, 1 << 13) + struct.pack(">I", len(voids)) + voids
    beginning = struct.pack(">BHI", 2, 1, len(payload))
    # First by us, and then as the library does.
    assert_brief(lambda: frame.unmarshal(beginning + readable(beginning, payload + b"\xce")), MOST_SECONDS_ON_THE_LOOP)


async def test_a_flood_of_notifications() -> None:
    """A node that sends notifications of a megabyte as fast as it can is read slowly, and others have their turns."""
    with flooding() as (url, sent), measured() as longest:
        opened = time.monotonic()
        async with NodeSocket(url, random=Random(1)) as socket:  # noqa: S311 - spreads reconnections
            subscription = socket.subscribe_heads()
            await socket.wait_connected(60)
            waited: list[float] = []
            began = time.monotonic()
            while time.monotonic() - began < FLOOD_SECONDS:
                last = time.thread_time()
                await asyncio.sleep(0)
                waited.append(quiet(time.thread_time() - last, MOST_SECONDS_ON_THE_LOOP))
            # Before it is closed, during which it reads on.
            flooded = sent[0]
            most = MAX_BYTES_PER_SECOND * (time.monotonic() - opened)
            await subscription.close()
    assert max(waited) < MOST_SECONDS_ON_THE_LOOP
    assert longest.seconds < MOST_SECONDS_ON_THE_LOOP, longest
    # What the two sides' buffers take is sent, too, and read by nobody.
    assert flooded < most + 40 * MAX_MESSAGE_BYTES


async def test_a_refusal_in_small_pieces() -> None:
    """A node that refuses to upgrade with a body of one-byte chunks without end is not read to its end."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(ConnectionError):
            for _ in range(20):
                writer.write(b"1\r\na\r\n" * 10_000)
                await writer.drain()
        writer.close()

    async def start(stack: AsyncExitStack) -> str:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        stack.callback(server.close)
        return f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    with in_a_thread(start) as url, measured() as longest:
        async with NodeSocket(url, random=Random(1)) as socket:  # noqa: S311 - a plan that can be repeated
            socket.subscribe_heads()
            for _ in within(20):
                if socket.last_error is not None:
                    break
                await asyncio.sleep(0.01)
    assert longest.seconds < MOST_SECONDS_ON_THE_LOOP, longest


async def test_nothing_is_unpacked() -> None:
    """A node that would pack its notifications is not asked to: what is sent is what is read."""
    asked: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()

    async def note(connection: ServerConnection) -> None:
        assert connection.request is not None
        asked.set_result(connection.request.headers.get_all("Sec-WebSocket-Extensions"))

    async with serve(note, "127.0.0.1", 0, compression="deflate") as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with NodeSocket(f"ws://127.0.0.1:{port}", random=Random(1)), asyncio.timeout(20):  # noqa: S311 - a plan that can be repeated
            assert await asked == []


@contextmanager
def flooding() -> Iterator[tuple[str, list[int]]]:
    """A WebSocket server, in a thread of its own, that answers a subscription with a flood; gives bytes sent."""
    sent = [0]
    transactions = ["0x" + "ab" * 32] * (MAX_MESSAGE_BYTES // 70 - 20)
    head: dict[str, object] = {"number": "0x7", "hash": "0x" + "12" * 32, "parentHash": "0x" + "34" * 32}
    head |= {"timestamp": "0x1", "transactions": transactions}
    notification = {"method": "eth_subscription", "params": {"subscription": "0x1", "result": head}}
    text = json.dumps({"jsonrpc": "2.0"} | notification)

    async def flood(connection: ServerConnection) -> None:
        asked = json.loads(await connection.recv())
        await connection.send(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": "0x1"}))
        with suppress(ConnectionClosed):
            while True:
                await connection.send(text)
                sent[0] += len(text)

    async def start(stack: AsyncExitStack) -> str:
        server = await stack.enter_async_context(serve(flood, "127.0.0.1", 0, compression=None))
        return f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"

    with in_a_thread(start) as url:
        yield url, sent


def _many(item: str) -> str:
    return "[" + ",".join([item] * (1_040_000 // (len(item) + 1))) + "]"


@pytest.mark.parametrize("item", ["[]", '""', '"0x"', '"0x02' + "ab" * 32 + '"'])
async def test_lists_of_keys(item: str) -> None:
    """The most that a Web3Signer or an enclave may list as keys is read, or refused, in little time."""
    keys = _many(item)
    with answering({"publicKeys": keys, "keys": f'{{"keys":{keys}}}'}) as url, measured() as longest:
        certificates = CertificateFiles(ca_file=None)
        async with web3signer(url, "0x" + "12" * 20, certificates=certificates, at_once=1) as signer:
            with pytest.raises(SignerError):
                await signer.sign(b"")
        async with ClientSession() as session:
            assert await party_keys(session, url, None) is None
        await asyncio.sleep(0)
    assert longest.seconds < MOST_SECONDS_ON_THE_LOOP, longest


async def test_thousands_of_logs() -> None:
    """The most logs of members that fit into an answer are read while others have their turns, and not without end."""
    written = participant_added_log(Abi.BYTES, "A1aVtMxLCUHmBVHXoZzzBgPbW/wj5axDpW9X8l91SGo=", success=True)
    log = {"address": written.address, "topics": list(written.topics), "data": bytes_to_hex(written.data)}
    log |= dict.fromkeys(("blockHash", "transactionHash"), "0x" + "12" * 32) | {"blockNumber": "0x7"}
    logs = [log | {"logIndex": "0x0"}] * 9_500
    head = {"number": "0x7", "timestamp": "0x1"} | dict.fromkeys(("hash", "parentHash"), "0x" + "34" * 32)
    answers = [{"id": 1, "result": head}, {"id": 2, "result": logs}]
    with answering({"": json.dumps(answers)}) as url:
        async with open_session() as session:
            node = Node(HttpNode(session, url))
            with measured() as longest:
                assert len(await read_memberships(node, ["group"], 7, 7)) == len(logs)
                await asyncio.sleep(0)
            with pytest.raises(ProtocolError, match="is the node's head true"):
                await read_memberships(node, ["group"], 7, 0x7FFFFFFFFFFF)
    assert longest.seconds < MOST_SECONDS_ON_THE_LOOP, longest


@contextmanager
def answering(documents: dict[str, str]) -> Iterator[str]:
    """An HTTP server, in a thread of its own, that answers by the last part of the path; gives the address."""

    async def respond(request: web.Request) -> web.Response:
        return web.Response(text=documents[request.path.rpartition("/")[2]])

    async def start(stack: AsyncExitStack) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", respond)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    with in_a_thread(start) as url:
        yield url
