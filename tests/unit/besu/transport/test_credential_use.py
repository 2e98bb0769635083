"""Nodes, and gateways before them, that do not take our credentials."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stamina
from aiohttp import ClientSession, web

from orchestrator.besu.adapter.reasons import read_failure, send_failure
from orchestrator.besu.codec.json_rpc import Call
from orchestrator.besu.credential_errors import CredentialError, CredentialsRefusedError
from orchestrator.besu.errors import UnauthorizedError
from orchestrator.besu.transport.credentials import IssuedToken, RenewedToken
from orchestrator.besu.transport.http_client import HttpNode
from orchestrator.besu.transport.subscriptions import Gap, GapReason
from orchestrator.besu.transport.token_files import TokenFile
from orchestrator.engine.ports.nodes import Said
from orchestrator.membership.reasons.judgements import Judgement
from orchestrator.membership.reasons.table import RULES
from tests.fakes.scripted_rpc import AnsweredError, ScriptedNode, ScriptedSocket
from tests.unit.besu.transport.test_websocket_client import next_of, node_socket, until

SEND = "eea_sendRawTransaction"


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Retries happen at once."""
    stamina.set_testing(True, attempts=3, cap=True)
    yield
    stamina.set_testing(False)


class Issuer:
    """Issues tokens one after the other, and counts."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.issued = 0

    def token(self, lifetime: float | None = None) -> RenewedToken:
        async def issue() -> IssuedToken:
            self.issued += 1
            return IssuedToken(f"t{self.issued}", lifetime)

        return RenewedToken(issue, "the issuer", lambda: self.seconds)


def takes_only(scripted: ScriptedNode, token: str, how: str) -> None:
    """Answer only who shows a token: as Besu does, or as a gateway does."""

    async def respond(request: web.Request) -> web.Response:
        body = await request.json()
        scripted.bodies.append(body)
        if request.headers.get("Authorization") == f"Bearer {token}":
            calls = body if isinstance(body, list) else [body]
            answered = [scripted.answer(call) for call in calls]
            return web.json_response(answered if isinstance(body, list) else answered[0])
        if how == "gateway":
            return web.Response(status=401, text="who are you?")
        refusal = {"code": -40100, "message": "Unauthorized"}
        if isinstance(body, list):
            return web.json_response([{"jsonrpc": "2.0", "id": one["id"], "error": refusal} for one in body])
        return web.json_response({"jsonrpc": "2.0", "id": None, "error": refusal}, status=401)

    scripted.respond = respond


@pytest.mark.parametrize("how", ["besu", "gateway"])
@pytest.mark.parametrize("method", ["eth_blockNumber", SEND])
async def test_a_refused_token_is_renewed_once_and_what_was_asked_is_asked_again(
    scripted: ScriptedNode, session: ClientSession, how: str, method: str
) -> None:
    """A refusal for want of a good token is certain, so that sends are repeated as well; each goes out twice."""
    issuer = Issuer()
    node = HttpNode(session, scripted.url, credential=issuer.token())
    scripted.answers |= {"eth_blockNumber": "0x1", SEND: "0x1"}
    takes_only(scripted, "t1", how)
    assert await node.call(method) == "0x1"
    issuer.seconds += 60
    takes_only(scripted, "t2", how)
    scripted.bodies.clear()
    assert await node.call(method) == "0x1"
    assert (issuer.issued, scripted.methods) == (2, [method] * 2)
    assert [answer.result for answer in await node.batch([Call("eth_blockNumber")] * 2)] == ["0x1"] * 2


@pytest.mark.parametrize("how", ["besu", "gateway"])
async def test_a_token_that_no_renewal_helps_is_a_reason_to_wait(
    scripted: ScriptedNode, session: ClientSession, how: str
) -> None:
    """Nothing is concluded about what was asked; nothing was done; the change is tried again without end."""
    issuer = Issuer()
    node = HttpNode(session, scripted.url, credential=issuer.token())
    takes_only(scripted, "another", how)
    for asking in (node.call("priv_call"), node.call(SEND), node.batch([Call("priv_call")] * 3)):
        with pytest.raises(CredentialsRefusedError) as failure:
            await asking
        issuer.seconds += 60
    assert issuer.issued == 3
    assert len(scripted.methods) <= 16
    assert "t1" not in str(failure.value)
    reason, sent = read_failure(failure.value, "n"), send_failure(failure.value, "n")
    assert (reason.reason.slug, reason.said, sent.said) == ("credentials_refused", Said.NOT_KNOWN, Said.REFUSED)
    assert (RULES["credentials_refused"].judgement, RULES["credentials_refused"].patience) == (Judgement.RETRY, None)


async def test_a_tenant_outside_a_group_is_told_from_a_token_that_has_ended(
    scripted: ScriptedNode, session: ClientSession
) -> None:
    """The node says the same to both; where it answers what anybody may ask, the refusal is of what was asked."""
    issuer = Issuer()
    node = HttpNode(session, scripted.url, credential=issuer.token())
    scripted.answers |= {"priv_call": AnsweredError(-40100, "Unauthorized"), "eth_chainId": "0x1"}
    for _ in range(2):
        with pytest.raises(UnauthorizedError):
            await node.call("priv_call")
    # No token is asked for because of each: one that came a moment ago is not the reason.
    assert issuer.issued == 1


async def test_credentials_that_cannot_be_had_send_nothing(
    scripted: ScriptedNode, session: ClientSession, tmp_path: Path
) -> None:
    """A token file that is away is a named reason to wait, over HTTP and WebSocket."""
    credential = TokenFile(tmp_path / "away")
    with pytest.raises(CredentialError) as failure:
        await HttpNode(session, scripted.url, credential=credential).call("eth_chainId")
    assert scripted.headers == []
    assert read_failure(failure.value, "n").reason.slug == "credentials_unavailable"
    async with node_socket("ws://127.0.0.1:1", credential=credential) as socket:
        await until(lambda: "cannot be read" in (socket.last_error or ""))


async def test_a_connection_whose_token_ended_is_made_anew_with_another(
    scripted_socket: ScriptedSocket, tmp_path: Path
) -> None:
    """What was shown when a WebSocket opened counts for each subscription: the next one shows the file's new token."""
    path = tmp_path / "token"
    path.write_text("one")
    scripted_socket.refusals["newHeads"] = AnsweredError(-40100, "Unauthorized")
    async with node_socket(scripted_socket.url, credential=TokenFile(path)) as socket:
        heads = socket.subscribe_heads()
        with pytest.raises(UnauthorizedError):
            await next_of(heads)
        path.write_text("another")
        socket.subscribe_heads()
        await until(lambda: len(scripted_socket.headers) == 2)
        scripted_socket.refusals.clear()
        assert await next_of(socket.subscribe_heads()) == Gap(GapReason.STARTED)
    assert [headers["Authorization"] for headers in scripted_socket.headers[:2]] == ["Bearer one", "Bearer another"]


async def test_a_refused_upgrade_asks_for_another_token() -> None:
    """A gateway's 401 to the upgrade has the token issued anew for the next connection."""
    issuer = Issuer()
    shown: list[str] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        shown.extend(line for line in lines if line.startswith("Authorization"))
        issuer.seconds += 60
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, node_socket(url, credential=issuer.token()) as socket:
        await until(lambda: len(shown) > 1)
        assert "HTTP 401" in (socket.last_error or "")
    assert shown[:2] == ["Authorization: Bearer t1", "Authorization: Bearer t2"]


async def test_a_token_is_renewed_before_it_ends_beside_the_requests() -> None:
    """Requests go on with the old one while the next is got; one that has ended is waited for; failures are spared."""
    issuer = Issuer()
    gate = asyncio.Event()
    gate.set()
    fails = [False]

    async def issue() -> IssuedToken:
        await gate.wait()
        issuer.issued += 1
        if fails[0]:
            raise CredentialError("the issuer is away")
        return IssuedToken(f"t{issuer.issued}", 100.0)

    token = RenewedToken(issue, "the issuer", lambda: issuer.seconds)

    async def shown() -> Any:
        return (await token.headers())["Authorization"]

    assert list(await asyncio.gather(shown(), shown())) == ["Bearer t1"] * 2
    issuer.seconds += 81
    gate.clear()
    assert list(await asyncio.gather(shown(), shown())) == ["Bearer t1"] * 2
    gate.set()
    await until(lambda: issuer.issued == 2)
    assert (await shown(), issuer.issued) == ("Bearer t2", 2)
    fails[0] = True
    issuer.seconds += 90
    assert await shown() == "Bearer t2"
    await until(lambda: issuer.issued == 3)
    assert (await shown(), issuer.issued) == ("Bearer t2", 3)
    issuer.seconds += 10
    for _ in range(3):
        with pytest.raises(CredentialError, match="away"):
            await token.headers()
    assert issuer.issued == 4
    fails[0] = False
    issuer.seconds += 6
    assert await shown() == "Bearer t5"


async def test_who_gives_up_does_not_end_the_getting_for_others() -> None:
    """A caller that is cancelled while it waits for a token leaves the getting to the others."""
    gate = asyncio.Event()

    async def issue() -> IssuedToken:
        await gate.wait()
        return IssuedToken("t", None)

    token = RenewedToken(issue, "the issuer", lambda: 0.0)
    first, second = asyncio.ensure_future(token.headers()), asyncio.ensure_future(token.headers())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    gate.set()
    assert await second == {"Authorization": "Bearer t"}


async def test_a_token_that_has_ended_when_it_comes_is_none() -> None:
    """Where the clocks differ by more than a token's life it is said, and the issuer is not asked without end."""
    issuer = Issuer()
    token = issuer.token(lifetime=0.0)
    for _ in range(3):
        with pytest.raises(CredentialError, match="compare the clocks"):
            await token.headers()
    assert issuer.issued == 1
