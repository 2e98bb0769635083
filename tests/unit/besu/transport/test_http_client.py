import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import stamina
import trustme
from aiohttp import ClientSession, web

from orchestrator.besu.codec import json_rpc
from orchestrator.besu.codec.json_rpc import MAX_BATCH, Call
from orchestrator.besu.errors import (
    BatchRefusedError,
    ConnectionLostError,
    ErrorClass,
    HostNotAllowedError,
    HttpStatusError,
    MethodNotFoundError,
    NodeTimeoutError,
    NodeUnreachableError,
    ProtocolError,
    UnauthorizedError,
)
from orchestrator.besu.transport import http_client
from orchestrator.besu.transport.http_client import HttpNode, is_read
from orchestrator.besu.transport.token_files import TokenFile
from orchestrator.engine.ports.store import LeaseLostError
from orchestrator.engine.runtime.leases import Leases
from tests.fakes.clock import START, JumpingClock
from tests.fakes.scripted_rpc import ScriptedNode
from tests.patience import patient


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Retries happen at once."""
    stamina.set_testing(True, attempts=3, cap=True)
    yield
    stamina.set_testing(False)


async def test_a_call_returns_its_result(scripted: ScriptedNode, session: ClientSession) -> None:
    """Parameters travel as a list, and the result comes back as JSON."""
    scripted.answers["echo"] = lambda *params: list(params)
    node = HttpNode(session, scripted.url)
    assert await node.call("echo", "a", 1, None) == ["a", 1, None]
    assert await node.call("echo") == []
    assert scripted.headers[0]["Content-Type"] == "application/json"
    assert (node.counts.calls, node.counts.http_requests, node.counts.failures) == (2, 2, 0)


async def test_an_error_is_typed(scripted: ScriptedNode, session: ClientSession) -> None:
    """What the node answers as an error is raised as the class for it."""
    with pytest.raises(MethodNotFoundError):
        await HttpNode(session, scripted.url).call("nothing")


async def test_a_batch_returns_answers_and_errors_in_order(scripted: ScriptedNode, session: ClientSession) -> None:
    """One HTTP request carries a batch, and one wrong call does not spoil the others."""
    scripted.answers["number"] = lambda value: value
    node = HttpNode(session, scripted.url)
    answers = await node.batch([Call("number", (1,)), Call("nothing"), Call("number", (3,))])
    assert [answer.result for answer in answers] == [1, None, 3]
    assert isinstance(answers[1].error, MethodNotFoundError)
    assert (node.counts.calls, node.counts.http_requests) == (3, 1)
    assert await node.batch([]) == []


async def test_large_batches_are_cut(scripted: ScriptedNode, session: ClientSession) -> None:
    """More calls than a batch may hold travel in several, and come back as one list."""
    scripted.answers["number"] = lambda value: value
    node = HttpNode(session, scripted.url)
    answers = await node.batch([Call("number", (value,)) for value in range(2 * MAX_BATCH + 1)])
    assert [answer.result for answer in answers] == list(range(2 * MAX_BATCH + 1))
    assert [len(body) if isinstance(body, list) else 1 for body in scripted.bodies] == [MAX_BATCH, MAX_BATCH, 1]


def takes_at_most(scripted: ScriptedNode, most: int, how: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Answer as a gateway or node that takes so many requests at once, at most."""

    async def respond(request: web.Request) -> web.Response:
        body = await request.json()
        scripted.bodies.append(body)
        requests = body if isinstance(body, list) else [body]
        if len(requests) <= most and (isinstance(body, dict) or how != "single objects"):
            answered = [scripted.answer(call) for call in requests]
            return web.json_response(answered if isinstance(body, list) else answered[0])
        match how:
            case "too many":
                error = {"code": -32005, "message": "Number of requests exceeds max batch size"}
                return web.json_response({"jsonrpc": "2.0", "id": None, "error": error})
            case "too large":
                return web.Response(status=413, text="Request Entity Too Large")
            case "unreadable":
                return web.Response(status=400, text="Bad Request")
            case _:
                return web.json_response(scripted.answer(requests[0]))

    return respond


@pytest.mark.parametrize("how", ["too many", "too large", "unreadable", "single objects"])
@pytest.mark.parametrize("most", [1, 10])
async def test_reads_of_a_node_that_refuses_batches_are_asked_in_smaller_ones(
    scripted: ScriptedNode, session: ClientSession, how: str, most: int
) -> None:
    """However a batch is refused, all its reads are answered, one by one where nothing else goes, and it is learnt."""
    scripted.answers["number"] = lambda value: value
    scripted.respond = takes_at_most(scripted, most, how)
    node = HttpNode(session, scripted.url)
    calls = [Call("number", (value,)) for value in range(50)]
    assert [answer.result for answer in await node.batch(calls)] == list(range(50))
    assert node.most_in_batch <= most
    scripted.bodies.clear()
    assert [answer.result for answer in await node.batch(calls)] == list(range(50))
    assert sum(len(body) if isinstance(body, list) else 1 for body in scripted.bodies) == 50


async def test_a_refused_batch_with_a_send_in_it_is_not_sent_again(
    scripted: ScriptedNode, session: ClientSession
) -> None:
    """What could change the chain is never asked a second time: whoever refuses a batch may have done a part of it."""
    scripted.answers |= {"eth_chainId": "0x1", "eea_sendRawTransaction": "0x" + "11" * 32}
    scripted.respond = takes_at_most(scripted, 1, "too many")
    with pytest.raises(BatchRefusedError):
        await HttpNode(session, scripted.url).batch([Call("eth_chainId"), Call("eea_sendRawTransaction", ("0x",))])
    assert len(scripted.bodies) == 1


async def test_a_host_that_is_not_allowed_is_named(scripted: ScriptedNode, session: ClientSession) -> None:
    """Besu's answer to a host name outside its list is no broken answer, and nothing was done."""

    async def respond(_: web.Request) -> web.Response:
        return web.json_response({"message": "Host not authorized."}, status=403)

    scripted.respond = respond
    with pytest.raises(HostNotAllowedError, match="--host-allowlist") as failure:
        await HttpNode(session, scripted.url).call("eea_sendRawTransaction", "0x")
    assert failure.value.certain


async def test_the_token_travels_and_is_renewed(scripted: ScriptedNode, session: ClientSession, tmp_path: Path) -> None:
    """Every request carries the token that the file holds at that time."""
    scripted.answers["ping"] = "pong"
    path = tmp_path / "token"
    path.write_text("one")
    node = HttpNode(session, scripted.url, credential=TokenFile(path))
    await node.call("ping")
    path.write_text("another")
    await node.call("ping")
    assert [headers["Authorization"] for headers in scripted.headers] == ["Bearer one", "Bearer another"]


@pytest.mark.parametrize("status", [400, 401])
async def test_json_rpc_errors_are_read_whatever_the_status(
    scripted: ScriptedNode, session: ClientSession, status: int
) -> None:
    """Besu answers 400 and 401 with a JSON-RPC error, which says more than the status."""

    async def respond(_: web.Request) -> web.Response:
        body = {"jsonrpc": "2.0", "id": None, "error": {"code": -40100, "message": "Unauthorized"}}
        return web.json_response(body, status=status)

    scripted.respond = respond
    node = HttpNode(session, scripted.url)
    with pytest.raises(UnauthorizedError):
        await node.call("ping")
    assert all(isinstance(answer.error, UnauthorizedError) for answer in await node.batch([Call("a"), Call("b")]))


@pytest.mark.parametrize(
    ("status", "body"), [(502, "<html>Bad gateway</html>"), (200, "hello"), (429, "{}"), (503, "{}"), (302, "")]
)
async def test_other_answers_are_no_answers(
    scripted: ScriptedNode, session: ClientSession, status: int, body: str
) -> None:
    """A proxy's page, an overload and a redirection are transport errors that name the status."""

    async def respond(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body, headers={"Location": "http://127.0.0.1:1/"})

    scripted.respond = respond
    with pytest.raises(HttpStatusError, match=str(status)) as failure:
        await HttpNode(session, scripted.url).call("ping")
    assert failure.value.status == status
    assert failure.value.error_class is ErrorClass.RETRY


@pytest.mark.parametrize(
    ("status", "body"), [(404, '{"message": "no Route matched"}'), (403, '{"error": "forbidden"}'), (402, "<html>no")]
)
async def test_a_gateways_refusal_is_told_in_its_words(
    scripted: ScriptedNode, session: ClientSession, status: int, body: str
) -> None:
    """What stands before a node answers in JSON or not: status and first words are told."""

    async def respond(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    scripted.respond = respond
    with pytest.raises(HttpStatusError, match=f"HTTP {status} .*{body[:10]}"):
        await HttpNode(session, scripted.url).call("ping")


async def test_a_host_name_that_a_node_does_not_take_is_told(scripted: ScriptedNode, session: ClientSession) -> None:
    """Besu's answer to a host name that it was not told of says which option lets it in."""

    async def respond(_: web.Request) -> web.Response:
        return web.Response(status=403, text='{"message":"Host not authorized."}')

    scripted.respond = respond
    with pytest.raises(HostNotAllowedError, match="--host-allowlist"):
        await HttpNode(session, scripted.url).call("ping")


@pytest.mark.parametrize(("status", "tries"), [(413, 1), (404, 1), (429, 3), (503, 3)])
async def test_a_read_that_is_refused_for_what_it_is_is_asked_once(
    scripted: ScriptedNode, session: ClientSession, status: int, tries: int
) -> None:
    """Only what may pass is asked again: an overloaded gateway, not one that refuses the request."""

    async def respond(_: web.Request) -> web.Response:
        return web.Response(status=status, text="no")

    scripted.respond = respond
    with pytest.raises(HttpStatusError):
        await HttpNode(session, scripted.url).call("eth_chainId")
    assert len(scripted.headers) == tries


async def test_reads_are_tried_again(scripted: ScriptedNode, session: ClientSession) -> None:
    """A read that gets no answer is sent again, up to three times, and every try is counted."""
    tries = 0

    async def respond(request: web.Request) -> web.Response:
        nonlocal tries
        tries += 1
        if tries < 3:
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"jsonrpc": "2.0", "id": (await request.json())["id"], "result": "0x1"})

    scripted.respond = respond
    node = HttpNode(session, scripted.url)
    assert await node.call("eth_blockNumber") == "0x1"
    assert (node.counts.http_requests, node.counts.failures) == (3, 2)


async def test_sends_are_never_repeated(scripted: ScriptedNode, session: ClientSession) -> None:
    """A send whose answer is lost may have been acted on; whether to send again is not decided here."""

    async def respond(request: web.Request) -> web.Response:
        await request.read()
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    scripted.respond = respond
    node = HttpNode(session, scripted.url)
    with pytest.raises(ConnectionLostError) as failure:
        await node.call("eea_sendRawTransaction", "0x")
    assert not failure.value.certain
    with pytest.raises(ConnectionLostError):
        await node.batch([Call("eth_chainId"), Call("eea_sendRawTransaction", ("0x",))])
    assert len(scripted.headers) == 2


async def test_a_node_that_is_down_was_sent_nothing(session: ClientSession, unused_tcp_port: int) -> None:
    """A refused connection is certain: the node cannot have acted."""
    with pytest.raises(NodeUnreachableError) as failure:
        await HttpNode(session, f"http://127.0.0.1:{unused_tcp_port}").call("eea_sendRawTransaction", "0x")
    assert failure.value.certain


async def test_a_silent_node_times_out_once(scripted: ScriptedNode, session: ClientSession) -> None:
    """A time-out is the end of the caller's patience; it is not tried again."""
    release = asyncio.Event()

    async def respond(_: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    scripted.respond = respond
    node = HttpNode(session, scripted.url, timeout_seconds=0.4)
    with pytest.raises(NodeTimeoutError, match=r"0\.4 s"):
        await node.call("eth_blockNumber")
    with pytest.raises(NodeTimeoutError, match=r"0\.3 s"):
        await node.call("eth_blockNumber", timeout=0.3)
    assert len(scripted.headers) <= 2  # no more than asked; on a busy machine the time is over before it is
    assert node.counts.in_flight == 0
    release.set()


async def test_an_endless_answer_is_cut_off(
    scripted: ScriptedNode, session: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading stops at the limit, not at the end of memory."""
    monkeypatch.setattr(http_client, "MAX_ANSWER_BYTES", 1000)
    scripted.answers["much"] = "x" * 2000
    with pytest.raises(ProtocolError, match="1000 bytes"):
        await HttpNode(session, scripted.url).call("much")


async def test_only_so_many_requests_are_under_way(scripted: ScriptedNode, session: ClientSession) -> None:
    """More requests than a node is allowed wait for their turn."""
    busy = 0
    busiest = 0
    gate = asyncio.Semaphore(0)

    async def respond(request: web.Request) -> web.Response:
        nonlocal busy, busiest
        busy += 1
        busiest = max(busiest, busy)
        await gate.acquire()
        busy -= 1
        return web.json_response({"jsonrpc": "2.0", "id": (await request.json())["id"], "result": None})

    scripted.respond = respond
    node = HttpNode(session, scripted.url, max_in_flight=2)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(6):
            tasks.create_task(node.call("ping"))
        async with asyncio.timeout(patient(20)):
            while busy < 2:  # noqa: ASYNC110 - the server's state
                await asyncio.sleep(0.005)
        for _ in range(6):
            await asyncio.sleep(0.005)
            gate.release()
    assert busiest == 2


async def test_a_private_authority_can_be_trusted(session: ClientSession) -> None:
    """With a TLS context the node's certificate is checked against the given authority, and refused without it."""
    authority = trustme.CA()
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(served)

    async def respond(request: web.Request) -> web.Response:
        return web.json_response({"jsonrpc": "2.0", "id": (await request.json())["id"], "result": "0x1"})

    app = web.Application()
    app.router.add_post("/", respond)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=served)
        await site.start()
        url = f"https://localhost:{runner.addresses[0][1]}/"
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        assert await HttpNode(session, url, tls=trusting).call("eth_blockNumber") == "0x1"
        with pytest.raises(NodeUnreachableError, match="certificate"):
            await HttpNode(session, url).call("eea_sendRawTransaction", "0x")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("method", "read"),
    [
        ("eth_getBlockByNumber", True),
        ("priv_call", True),
        ("priv_getPrivacyPrecompileAddress", True),
        ("privx_findFlexiblePrivacyGroup", True),
        ("eea_sendRawTransaction", False),
        ("priv_distributeRawTransaction", False),
        ("priv_createPrivacyGroup", False),
        ("admin_addPeer", False),
        ("devnet_mine", False),
    ],
)
def test_methods_tell_whether_they_only_read(method: str, *, read: bool) -> None:
    """What could change the chain or the node is no read."""
    assert is_read(method) is read


async def test_nodes_share_no_cookies(scripted: ScriptedNode, session: ClientSession) -> None:
    """A cookie that a gateway sets is sent neither back to it nor to another node."""

    async def set_cookie(_: web.Request) -> web.StreamResponse:
        answer = web.json_response({"jsonrpc": "2.0", "id": 1, "result": 1})
        answer.set_cookie("session", "of node A")
        return answer

    scripted.respond = set_cookie
    await HttpNode(session, scripted.url).call("eth_chainId")
    scripted.respond = None
    scripted.answers["eth_chainId"] = "0x1"
    await HttpNode(session, scripted.url).call("eth_chainId")
    assert "Cookie" not in scripted.headers[-1]


async def test_a_batch_that_answers_too_much_is_asked_in_parts(
    scripted: ScriptedNode, session: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the answers to a batch of reads have too many values, fewer are asked at once."""
    monkeypatch.setattr(json_rpc, "MAX_PARTS", 2_000)
    monkeypatch.setattr(json_rpc.bounded_json, "__defaults__", (2_000,))
    scripted.answers["eth_many"] = lambda number: [number] * 50
    answers = await HttpNode(session, scripted.url).batch([Call("eth_many", (number,)) for number in range(64)])
    assert [answer.result[0] for answer in answers] == list(range(64))
    assert max(len(body) for body in scripted.bodies if isinstance(body, list)) == 64


@pytest.mark.parametrize("call", ["priv_distributeRawTransaction", "eea_sendRawTransaction", "eth_sendRawTransaction"])
async def test_nothing_is_sent_for_a_lane_that_is_lost_before_the_write(
    scripted: ScriptedNode, session: ClientSession, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Of what sends not a byte leaves when the lease runs out at the last moment, behind a turn and a connection."""
    scripted.answers = {call: "0x1", "eth_blockNumber": "0x2"}
    node, clock = HttpNode(session, scripted.url), JumpingClock()
    leases, connector = Leases(clock), session.connector
    assert connector is not None
    leases.prolong(["group"], START + timedelta(seconds=8))
    connect = connector.connect

    async def standing_still(*arguments: Any, **more: Any) -> Any:
        connection = await connect(*arguments, **more)
        await clock.sleep(5)
        return connection

    monkeypatch.setattr(connector, "connect", standing_still)
    with leases.acting("group"):
        assert await node.call(call) == "0x1"
        with pytest.raises(LeaseLostError, match="another replica may send now"):
            await node.call(call)
        with pytest.raises(LeaseLostError):
            await node.batch([Call("eth_blockNumber"), Call(call)])
        assert await node.call("eth_blockNumber") == "0x2"
    assert await node.call(call) == "0x1"
    assert scripted.methods == [call, "eth_blockNumber", call]
    assert len(scripted.headers) == 3
