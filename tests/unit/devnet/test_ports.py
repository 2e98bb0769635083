"""The ports of a running devnet: HTTP, WebSocket, faults, TLS, tokens."""

import asyncio
import gc
import io
import json
import socket
import ssl
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from orchestrator.devnet import Devnet, DevnetError, running_devnet
from orchestrator.devnet.accounts import enclave_key_of
from orchestrator.devnet.servers.node_servers import MAX_BODY_BYTES
from tests.servers.late_connections import ACCEPT_AS_IT_IS
from tests.servers.ports import consecutive_ports
from tests.unit.devnet.driving import DEFAULTS

WAIT_SECONDS = 60.0


@pytest.fixture
async def devnet() -> AsyncIterator[Devnet]:
    async with running_devnet(DEFAULTS) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WAIT_SECONDS)) as opened:
        yield opened


async def ask(session: aiohttp.ClientSession, url: str, method: str, *params: Any, **options: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    async with session.post(url, json=body, **options) as response:
        return await response.json()


async def control(devnet: Devnet, method: str, *params: Any) -> Any:
    return await devnet.call(1, method, params)


async def test_each_node_answers_on_its_two_ports(devnet: Devnet, session: aiohttp.ClientSession) -> None:
    """HTTP on one, WebSocket on the other, with the node's own key."""
    for node in devnet.nodes:
        assert (await ask(session, node.http_url, "eth_chainId"))["result"] == "0x539"
        async with session.ws_connect(node.ws_url) as websocket:
            await websocket.send_json({"jsonrpc": "2.0", "id": 7, "method": "net_version", "params": []})
            assert await websocket.receive_json() == {"jsonrpc": "2.0", "id": 7, "result": "1337"}
    assert devnet.nodes[1].enclave_key == enclave_key_of(2)


async def test_ports_count_from_the_base_port() -> None:
    """Node i answers HTTP on base + 2(i - 1) and WebSocket on the next port."""
    base = consecutive_ports(4)
    async with running_devnet(replace(DEFAULTS, base_port=base, nodes=2, validators=1)) as devnet:
        urls = [(node.http_url, node.ws_url) for node in devnet.nodes]

    assert urls == [
        (f"http://127.0.0.1:{base}", f"ws://127.0.0.1:{base + 1}"),
        (f"http://127.0.0.1:{base + 2}", f"ws://127.0.0.1:{base + 3}"),
    ]


async def test_a_taken_port_is_named(devnet: Devnet) -> None:
    """The error says which port and what to do."""
    port = int(devnet.nodes[0].http_url.rsplit(":", 1)[1])
    with pytest.raises(DevnetError, match=f"{port}.*choose another base port"):
        async with running_devnet(replace(DEFAULTS, base_port=port)):
            pass


@pytest.mark.parametrize("turns", range(5))
async def test_a_connection_that_comes_while_a_port_closes_is_closed(
    turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However far it is accepted: Python 3.11 loses one that reaches a server which is closed already."""
    monkeypatch.setattr(BaseSelectorEventLoop, "_accept_connection2", ACCEPT_AS_IT_IS)
    async with running_devnet(DEFAULTS) as devnet:
        port = int(devnet.nodes[0].http_url.rsplit(":", 1)[1])
        late = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        for _ in range(turns):
            await asyncio.sleep(0)
        await devnet._servers[0].close()
        for connection in late:
            connection.close()
    gc.collect()  # what was lost is reported here, as a warning, which is an error


async def test_new_heads_and_private_logs_are_pushed(devnet: Devnet, session: aiohttp.ClientSession) -> None:
    """A subscriber gets a frame for every block, until it unsubscribes."""
    async with session.ws_connect(devnet.nodes[1].ws_url) as websocket:
        await websocket.send_json({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})
        number = (await websocket.receive_json())["result"]
        await control(devnet, "devnet_mine", 2)
        frames = [await websocket.receive_json(timeout=WAIT_SECONDS) for _ in range(2)]
        await websocket.send_json({"jsonrpc": "2.0", "id": 2, "method": "eth_unsubscribe", "params": [number]})
        ended = await websocket.receive_json()
        await websocket.send_json({"jsonrpc": "2.0", "id": 3, "method": "eth_unsubscribe", "params": [number]})
        again = await websocket.receive_json()

    assert [frame["params"]["result"]["number"] for frame in frames] == ["0x1", "0x2"]
    assert ended["result"] is True
    assert again["error"] == {"code": -32000, "message": "Subscription not found"}


async def test_a_dropped_connection_loses_its_subscriptions(devnet: Devnet, session: aiohttp.ClientSession) -> None:
    """The connection ends without a close frame, and nothing is replayed on the next one."""
    async with session.ws_connect(devnet.nodes[1].ws_url) as websocket:
        await websocket.send_json({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})
        await websocket.receive_json()
        await control(devnet, "devnet_dropWebSockets", 2)
        message = await websocket.receive(timeout=WAIT_SECONDS)
    await control(devnet, "devnet_mine")

    assert message.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
    assert websocket.close_code == 1006


async def test_subscriptions_do_not_exist_over_http(devnet: Devnet, session: aiohttp.ClientSession) -> None:
    """Besu knows the method and has it not enabled there."""
    answer = await ask(session, devnet.nodes[0].http_url, "eth_subscribe", "newHeads")

    assert answer["error"]["code"] == -32604


async def test_a_node_that_is_down_refuses_connections_and_drops_the_open_ones(
    devnet: Devnet, session: aiohttp.ClientSession
) -> None:
    """Nothing listens on its ports until it is up again, on the same ports."""
    node = devnet.nodes[2]
    websocket = await session.ws_connect(node.ws_url)
    await control(devnet, "devnet_setNode", 3, False)
    message = await websocket.receive(timeout=WAIT_SECONDS)
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(session, node.http_url, "eth_chainId")
    await control(devnet, "devnet_setNode", 3, True)

    assert message.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSE}
    assert (await ask(session, node.http_url, "eth_chainId"))["result"] == "0x539"


@pytest.mark.parametrize("kind", ["reset", "half", "lost"])
async def test_answers_can_be_cut_off(devnet: Devnet, session: aiohttp.ClientSession, kind: str) -> None:
    """The connection ends before, in the middle of, or instead of the answer; the next call is well."""
    await control(devnet, "devnet_rpcFault", {"kind": kind, "node": 1, "methods": ["eth_chainId"]})
    url = devnet.nodes[0].http_url
    assert (await ask(session, url, "eth_blockNumber"))["result"] == "0x0"
    with pytest.raises((aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)):
        await ask(session, url, "eth_chainId")

    assert (await ask(session, url, "eth_chainId"))["result"] == "0x539"


async def test_a_lost_answer_is_of_a_call_that_was_done(devnet: Devnet, session: aiohttp.ClientSession) -> None:
    """The node did what it was asked; only the client does not know."""
    await control(devnet, "devnet_rpcFault", {"kind": "lost", "methods": ["eth_newBlockFilter"]})
    url = devnet.nodes[0].http_url
    with pytest.raises(aiohttp.ClientConnectionError):
        await ask(session, url, "eth_newBlockFilter")

    assert (await ask(session, url, "eth_getFilterChanges", "0x1"))["result"] == []


async def test_a_fault_can_be_a_status_and_last_until_it_is_cleared(
    devnet: Devnet, session: aiohttp.ClientSession
) -> None:
    """Every call gets the status, on that node only."""
    await control(devnet, "devnet_rpcFault", {"kind": "status", "status": 502, "node": 2, "count": None})
    statuses = []
    for node in (2, 2, 1):
        body = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
        async with session.post(devnet.nodes[node - 1].http_url, json=body) as response:
            statuses.append(response.status)

    assert statuses == [502, 502, 200]
    assert await control(devnet, "devnet_clearFaults") == 1
    assert (await ask(session, devnet.nodes[1].http_url, "eth_chainId"))["result"] == "0x539"


async def test_a_fault_can_be_slowness(devnet: Devnet, session: aiohttp.ClientSession) -> None:
    """The answer comes, late; others are answered meanwhile."""
    await control(devnet, "devnet_rpcFault", {"kind": "latency", "seconds": 0.2, "methods": ["eth_chainId"]})
    url = devnet.nodes[0].http_url
    slow = asyncio.create_task(ask(session, url, "eth_chainId"))
    quick = await ask(session, url, "eth_blockNumber")

    assert quick["result"] == "0x0"
    assert not slow.done()
    assert (await slow)["result"] == "0x539"


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (b"", 400, {"code": -32700, "message": "Parse error"}),
        (b"\xff\xfe", 400, {"code": -32700, "message": "Parse error"}),
        (b"NaN", 400, {"code": -32700, "message": "Parse error"}),
        (b"[" * 100_000, 400, {"code": -32700, "message": "Parse error"}),
        (b'{"jsonrpc":"2.0","id":1,"method":5}', 400, {"code": -32600, "message": "Invalid Request"}),
        (
            b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":{}}',
            400,
            {"code": -32600, "message": "Invalid Request"},
        ),
        (b'{"jsonrpc":"2.0","id":{},"method":"eth_chainId"}', 400, {"code": -32600, "message": "Invalid Request"}),
    ],
)
async def test_bodies_that_are_no_requests_get_an_error(
    devnet: Devnet, session: aiohttp.ClientSession, body: bytes, status: int, expected: dict[str, Any]
) -> None:
    """Whatever it is, the answer says what it is not."""
    async with session.post(devnet.nodes[0].http_url, data=body) as response:
        assert response.status == status
        assert json.loads(await response.text())["error"] == expected


async def test_a_body_that_is_too_large_is_not_read(devnet: Devnet, session: aiohttp.ClientSession) -> None:
    """It is refused with its own status, and the node goes on."""
    async with session.post(devnet.nodes[0].http_url, data=io.BytesIO(b"x" * (MAX_BODY_BYTES + 1))) as response:
        assert response.status == 413
    assert (await ask(session, devnet.nodes[0].http_url, "eth_chainId"))["result"] == "0x539"


async def test_a_node_tells_that_it_lives(devnet: Devnet, session: aiohttp.ClientSession) -> None:
    """``/liveness`` and ``/readiness`` as Besu has them."""
    for path in ("liveness", "readiness"):
        async with session.get(f"{devnet.nodes[0].http_url}/{path}") as response:
            assert await response.json() == {"status": "UP"}


async def test_both_ports_speak_tls_when_told_to(tmp_path: Path) -> None:
    """With a certificate and a key, over both transports."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.private_key_pem.write_to_path(key)
    chain.write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    config = replace(DEFAULTS, tls_certificate_file=chain, tls_key_file=key)
    async with running_devnet(config) as devnet, aiohttp.ClientSession() as session:
        node = devnet.nodes[0]
        assert node.http_url.startswith("https://")
        assert (await ask(session, node.http_url, "eth_chainId", ssl=context))["result"] == "0x539"
        async with session.ws_connect(node.ws_url, ssl=context) as websocket:
            await websocket.send_json({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []})
            assert (await websocket.receive_json())["result"] == "0x539"


async def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The devnet does not start, and says why."""
    missing = tmp_path / "missing.pem"
    with pytest.raises(DevnetError, match="TLS certificate or key cannot be read"):
        async with running_devnet(replace(DEFAULTS, tls_certificate_file=missing, tls_key_file=missing)):
            pass


@pytest.fixture
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def public_key_file(tmp_path: Path, private_key: rsa.RSAPrivateKey) -> Path:
    path = tmp_path / "public.pem"
    path.write_bytes(
        private_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return path


@pytest.mark.parametrize(
    ("permissions", "method", "allowed"),
    [
        (["*:*"], "eth_chainId", True),
        (["eth:*"], "eth_chainId", True),
        (["eth:chainId"], "eth_chainId", True),
        (["eth:chainId"], "eth_blockNumber", False),
        (["priv:*"], "eth_chainId", False),
        ([], "eth_chainId", False),
        ("eth:*", "eth_chainId", False),
    ],
)
async def test_a_token_opens_what_its_permissions_say(
    private_key: rsa.RSAPrivateKey,
    public_key_file: Path,
    session: aiohttp.ClientSession,
    permissions: Any,
    method: str,
    allowed: bool,
) -> None:
    """A namespace, a method or everything; without it 401 and Unauthorized."""
    claims = {
        "permissions": permissions,
        "privacyPublicKey": enclave_key_of(1),
        "exp": datetime.now(UTC) + timedelta(minutes=5),
    }
    headers = {"Authorization": f"Bearer {jwt.encode(claims, private_key, algorithm='RS256')}"}
    async with running_devnet(replace(DEFAULTS, jwt_public_key_file=public_key_file)) as devnet:
        answer = await ask(session, devnet.nodes[0].http_url, method, headers=headers)

    assert ("result" in answer) is allowed
    if not allowed:
        assert answer["error"] == {"code": -40100, "message": "Unauthorized"}


async def test_a_token_of_another_algorithm_is_no_token(public_key_file: Path, session: aiohttp.ClientSession) -> None:
    """A token signed with a shared secret, or a very long one, opens nothing."""
    tokens = [jwt.encode({"permissions": ["*:*"]}, "x" * 32, algorithm="HS256"), "x" * 7_000]
    async with running_devnet(replace(DEFAULTS, jwt_public_key_file=public_key_file)) as devnet:
        for token in tokens:
            headers = {"Authorization": f"Bearer {token}"}
            answer = await ask(session, devnet.nodes[0].http_url, "eth_chainId", headers=headers)
            assert answer["error"]["code"] == -40100


async def test_a_key_file_that_is_none_is_named(tmp_path: Path) -> None:
    """The devnet does not start, and says why."""
    path = tmp_path / "public.pem"
    path.write_text("no key")
    with pytest.raises(DevnetError, match="JWT public key"):
        async with running_devnet(replace(DEFAULTS, jwt_public_key_file=path)):
            pass
