import asyncio
import base64
import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from orchestrator.besu.codec.results import Head
from orchestrator.besu.errors import UnauthorizedError
from orchestrator.besu.transport.subscriptions import Gap, GapReason, Item
from orchestrator.besu.transport.token_files import TokenFile
from orchestrator.besu.transport.websocket_client import NodeSocket, Subscription
from orchestrator.besu.transport.websocket_frames import MOST_FRAMES, BoundedConnection
from tests.fakes.scripted_rpc import AnsweredError, ScriptedSocket
from tests.patience import patient

HASH = "0x" + "11" * 32
GROUP = "DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w="


def head_json(number: int) -> dict[str, Any]:
    return {"number": hex(number), "hash": HASH, "parentHash": HASH, "timestamp": "0x1", "transactions": []}


def node_socket(url: str, **options: Any) -> NodeSocket:
    options.setdefault("first_delay_seconds", 0.01)
    return NodeSocket(url, random=Random(1), **options)  # noqa: S311 - spreads reconnections


async def next_of(subscription: Subscription) -> Item:
    async with asyncio.timeout(60):
        return await anext(aiter(subscription))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the condition is the server's or the library's state
            await asyncio.sleep(0.005)


async def test_heads_arrive_after_the_first_gap(scripted_socket: ScriptedSocket) -> None:
    """A subscriber first hears that it is live, then of each head."""
    async with node_socket(scripted_socket.url) as socket:
        heads = socket.subscribe_heads()
        live = [heads.live]
        assert await next_of(heads) == Gap(GapReason.STARTED)
        live.append(heads.live)
        assert live == [False, True]
        assert await socket.wait_connected(5)
        await scripted_socket.notify("0x1", head_json(7))
        assert await next_of(heads) == Head(7, HASH, HASH, 1, ())
    assert not socket.connected


async def test_subscriptions_survive_a_lost_connection(scripted_socket: ScriptedSocket) -> None:
    """After the connection broke every topic is subscribed again, and its reader told since when to look."""
    async with node_socket(scripted_socket.url) as socket:
        heads = socket.subscribe_heads()
        private = socket.subscribe_private_logs(GROUP, ["0x" + "00" * 19 + "7b"])
        assert [await next_of(heads), await next_of(private)] == [Gap(GapReason.STARTED)] * 2
        await scripted_socket.notify("0x1", head_json(7))
        await next_of(heads)
        await scripted_socket.cut()
        assert await next_of(heads) == Gap(GapReason.DISCONNECTED, 7)
        assert await next_of(private) == Gap(GapReason.DISCONNECTED)
        assert await next_of(heads) == Gap(GapReason.RESUMED, 7)
        assert await next_of(private) == Gap(GapReason.RESUMED)
        assert socket.connections == 2
        await scripted_socket.notify("0x3", head_json(12))
        assert await next_of(heads) == Head(12, HASH, HASH, 1, ())
    assert [method for method, _ in scripted_socket.calls] == ["eth_subscribe", "priv_subscribe"] * 2


async def test_a_server_that_is_not_there_yet_is_waited_for(unused_tcp_port: int) -> None:
    """Connecting is tried again until it works; meanwhile the socket says why it is not connected."""
    async with node_socket(f"ws://127.0.0.1:{unused_tcp_port}") as socket:
        socket.subscribe_heads()
        await until(lambda: socket.last_error is not None)
        assert not await socket.wait_connected(0.01)
        assert socket.last_error is not None
        assert "Error" in socket.last_error


async def test_a_refused_upgrade_is_told_in_the_servers_words() -> None:
    """Status and first words of the refusal are told, and for a host name that Besu does not take what to do."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"message":"Host not authorized."}'
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server, node_socket(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}") as socket:
        socket.subscribe_heads()
        await until(lambda: socket.last_error is not None)
        assert socket.last_error is not None
        assert "HTTP 403" in socket.last_error
        assert "Host not authorized" in socket.last_error
        assert "--host-allowlist" in socket.last_error


async def test_a_refused_topic_raises_to_its_reader_only(scripted_socket: ScriptedSocket) -> None:
    """A tenant that may not hear a group gets the node's error; other subscriptions go on."""
    scripted_socket.refusals["logs"] = AnsweredError(-40100, "Unauthorized")
    async with node_socket(scripted_socket.url) as socket:
        private = socket.subscribe_private_logs(GROUP)
        with pytest.raises(UnauthorizedError):
            await next_of(private)
        with pytest.raises(StopAsyncIteration):
            await next_of(private)
        heads = socket.subscribe_heads()
        assert await next_of(heads) == Gap(GapReason.STARTED)


async def test_a_closed_subscription_ends_on_the_server_too(scripted_socket: ScriptedSocket) -> None:
    """Closing unsubscribes, and ends the iteration."""
    async with node_socket(scripted_socket.url) as socket:
        heads = socket.subscribe_heads()
        await next_of(heads)
        await heads.close()
        await until(lambda: ("eth_unsubscribe", ["0x1"]) in scripted_socket.calls)
        assert [item async for item in heads] == []


async def test_leaving_the_socket_ends_its_readers(scripted_socket: ScriptedSocket) -> None:
    """A reader that waits when the socket is closed stops waiting."""
    async with asyncio.TaskGroup() as tasks:
        async with node_socket(scripted_socket.url) as socket:
            heads = socket.subscribe_heads()
            await next_of(heads)

            async def drain() -> list[Item]:
                return [item async for item in heads]

            reader = tasks.create_task(drain())
            await asyncio.sleep(0)
        assert await reader == []


async def test_an_error_in_the_context_is_raised_as_it_is(scripted_socket: ScriptedSocket) -> None:
    """What goes wrong inside the context is not wrapped into a group."""
    with pytest.raises(KeyError):
        async with node_socket(scripted_socket.url):
            raise KeyError


async def test_a_slow_reader_gets_a_gap(scripted_socket: ScriptedSocket) -> None:
    """A reader that does not keep up loses items to one gap, and memory stays bounded."""
    async with node_socket(scripted_socket.url, inbox_items=4) as socket:
        heads = socket.subscribe_heads()
        await next_of(heads)
        await scripted_socket.notify("0x1", head_json(1))
        assert await next_of(heads) == Head(1, HASH, HASH, 1, ())
        for number in range(2, 8):
            await scripted_socket.notify("0x1", head_json(number))
        await until(lambda: len(heads._inbox) == 3)
        items = [await next_of(heads) for _ in range(3)]
        assert items[0] == Gap(GapReason.OVERFLOW, 1)
        assert [item.number for item in items[1:] if isinstance(item, Head)] == [6, 7]


async def test_the_token_is_sent_when_connecting(scripted_socket: ScriptedSocket, tmp_path: Path) -> None:
    """The connection carries the bearer token, and each reconnection the one that the file then holds."""
    path = tmp_path / "token"
    path.write_text("one")
    async with node_socket(scripted_socket.url, credential=TokenFile(path)) as socket:
        assert await socket.wait_connected(5)
        path.write_text("another")
        await scripted_socket.cut()
        await until(lambda: len(scripted_socket.headers) == 2 and socket.connected)
    assert [headers["Authorization"] for headers in scripted_socket.headers] == ["Bearer one", "Bearer another"]


async def test_a_node_that_does_not_answer_is_left(scripted_socket: ScriptedSocket) -> None:
    """A connection on which subscribing gets no answer is given up for another."""
    scripted_socket.silent = True
    async with node_socket(scripted_socket.url, answer_timeout_seconds=0.05) as socket:
        heads = socket.subscribe_heads()
        await until(lambda: socket.connections >= 2)
        scripted_socket.silent = False
        assert await next_of(heads) == Gap(GapReason.STARTED)


@pytest.mark.parametrize(
    "message", ["no json", '{"id": 1}', '{"method":"eth_subscription","params":{"subscription":"0x1"}}']
)
async def test_nonsense_ends_the_connection_not_the_socket(scripted_socket: ScriptedSocket, message: str) -> None:
    """A message that makes no sense leads to a new connection and a gap."""
    async with node_socket(scripted_socket.url) as socket:
        heads = socket.subscribe_heads()
        await next_of(heads)
        await scripted_socket.connections[0].send(message)
        assert await next_of(heads) == Gap(GapReason.DISCONNECTED)
        assert await next_of(heads) == Gap(GapReason.RESUMED)


async def test_a_dead_peer_is_noticed_by_its_silence(scripted_socket: ScriptedSocket) -> None:
    """A connection whose pings are not answered is left, even though it never was closed."""
    async with node_socket(scripted_socket.url, heartbeat_seconds=0.05) as socket:
        heads = socket.subscribe_heads()
        await next_of(heads)
        silent = scripted_socket.connections[0].transport
        silent.pause_reading()
        assert await next_of(heads) == Gap(GapReason.DISCONNECTED)
        assert await next_of(heads) == Gap(GapReason.RESUMED)
        silent.abort()


REDIRECTS = (b"ws://[bad", b"//[", b"ws://a:99999/", b"ws://" + b"a" * 70 + b"/", b"ws://\xe2\x91\xa0/", b"{other}")


@pytest.mark.parametrize("location", REDIRECTS)
async def test_a_redirect_is_not_followed_and_ends_nothing(scripted_socket: ScriptedSocket, location: bytes) -> None:
    """Wherever a node's answer points: nobody else is asked, no token goes there, and the socket is tried again."""
    asked: list[bytes] = []

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(1000))
        writer.close()

    async def node(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        target = location.replace(b"{other}", b"ws://127.0.0.1:%d/" % others.sockets[0].getsockname()[1])
        writer.write(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + target + b"\r\n\r\n")
        await writer.drain()
        writer.close()

    async with (
        await asyncio.start_server(other, "127.0.0.1", 0) as others,
        await asyncio.start_server(node, "127.0.0.1", 0) as server,
        node_socket(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}") as socket,
    ):
        heads = socket.subscribe_heads()
        await until(lambda: "HTTP 302" in (socket.last_error or ""))
        socket.url = scripted_socket.url  # the same node, mended
        assert await next_of(heads) == Gap(GapReason.STARTED)
    assert asked == []


async def test_what_nobody_thought_of_ends_one_connection(
    scripted_socket: ScriptedSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever exception a node's connection raises, the next one is tried, and nothing else is ended."""
    right, raised = NodeSocket._open, iter([UnicodeError("label too long"), KeyError("none")])

    def opening(self: NodeSocket) -> Any:
        for error in raised:
            raise error
        return right(self)

    monkeypatch.setattr(NodeSocket, "_open", opening)
    async with node_socket(scripted_socket.url) as socket:
        assert await next_of(socket.subscribe_heads()) == Gap(GapReason.STARTED)
    assert "KeyError" in (socket.last_error or "")


@pytest.mark.parametrize("frame", [b"\x89\x00", b"\x8a\x00"], ids=["pings", "pongs"])
async def test_a_flood_of_frames_without_messages_ends_the_connection(frame: bytes) -> None:
    """A hundred thousand pings or pongs in one read are a second of work: they are counted, and the connection ends."""
    ended = asyncio.Event()

    async def node(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        (key,) = [line[19:] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: ")]
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324 - what RFC 6455 asks for
        upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        writer.write(upgrade + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + frame * 100_000)
        with contextlib.suppress(OSError):
            await writer.drain()
            while await reader.read(65536):
                pass
        writer.close()
        ended.set()

    async with (
        await asyncio.start_server(node, "127.0.0.1", 0) as server,
        node_socket(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", first_delay_seconds=5) as socket,
    ):
        socket.subscribe_heads()
        seen: list[BoundedConnection] = []
        async with asyncio.timeout(patient(5)):
            while not ended.is_set():
                if isinstance(socket._connection, BoundedConnection):
                    seen.append(socket._connection)
                await asyncio.sleep(0)
    assert seen[-1].flooded
    assert MOST_FRAMES < seen[-1]._frames <= MOST_FRAMES + 2048  # of one piece that was read
