"""What passes between a node and its enclave: byte for byte, in constant memory, nothing answered for the enclave."""

import base64
import json
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
import trustme
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from orchestrator.besu.codec.bundles import InvalidBundleError, decode_bundle, encode_bundle, is_bundle
from orchestrator.guard.listener import listening
from orchestrator.guard.proxy import EnclaveProxy, Upstream
from orchestrator.guard.wire import NOT_FOUND, added_group, payload_request, tells
from tests.fakes.bundled_transactions import GROUP, SENDER, bundled


class Enclave:
    """An enclave that keeps what it was asked and answers what it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.status, self.body, self.headers = 200, b"I'm up!", {"Content-Type": "text/plain", "X-Enclave": "yes"}
        self.streams: AsyncIterator[bytes] | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.raw_path, dict(request.headers), await request.read()))
        if self.streams is None:
            return web.Response(status=self.status, body=self.body, headers=self.headers)
        back = web.StreamResponse(status=self.status)
        await back.prepare(request)
        async for part in self.streams:
            await back.write(part)
        return back


class Verdict:
    """A judge that always says the same, and keeps what it was asked."""

    def __init__(self) -> None:
        self.says = True
        self.refuses: set[str] = set()
        self.judged: list[tuple[str, bytes | None]] = []
        self.added: list[str] = []
        self.looked = 0

    def refused(self, key: str) -> bool:
        return key in self.refuses

    async def passes(self, key: str, body: Callable[[], Awaitable[bytes | None]]) -> bool:
        self.judged.append((key, await body()))
        return self.says

    async def gives(self, _key: str, _body: Callable[[], Awaitable[bytes | None]]) -> bool:
        return True

    def adds(self, privacy_group_id: str) -> None:
        self.added.append(privacy_group_id)

    def looks(self) -> None:
        self.looked += 1


class Harness(SimpleNamespace):
    """An enclave, a proxy before it, and a client."""

    enclave: Enclave
    judge: Verdict
    proxy: EnclaveProxy
    url: str
    session: aiohttp.ClientSession

    async def receive(self, key: str = "K", to: str | None = None) -> tuple[int, bytes]:
        body = json.dumps({"key": key, "to": to})
        headers = {"Content-Type": "application/vnd.orion.v1+json"}
        async with self.session.post(self.url + "/receive", data=body, headers=headers) as response:
            return response.status, await response.read()


@asynccontextmanager
async def running_proxy(largest: int = 1 << 20) -> AsyncIterator[Harness]:
    enclave, judge = Enclave(), Verdict()
    async with (
        listening(enclave.answer, "127.0.0.1:0") as upstream,
        aiohttp.ClientSession(auto_decompress=False) as inner,
        aiohttp.ClientSession() as session,
    ):
        proxy = EnclaveProxy(inner, Upstream(url=upstream), judge, largest_bundle_bytes=largest)
        async with listening(proxy.answer, "127.0.0.1:0") as url:
            yield Harness(enclave=enclave, judge=judge, proxy=proxy, url=url, session=session)


def answer(content: bytes, **fields: str) -> bytes:
    payload = base64.b64encode(base64.b64encode(content)).decode()
    return json.dumps({"payload": payload, "senderKey": SENDER, **fields}).encode()


BUNDLE = encode_bundle([bundled(0), bundled(1)])


async def test_everything_passes_unchanged() -> None:
    """Method, path, query, headers and body of the request; status, headers and body of the answer."""
    async with running_proxy() as harness:
        url = URL(harness.url + "/some%20where?a=1&b=%2F", encoded=True)
        harness.enclave.status = 418
        async with harness.session.put(
            url, data=b"\x00\xff", headers={"X-Node": "1", "Content-Type": "a/b"}
        ) as response:
            assert (response.status, await response.read()) == (418, b"I'm up!")
            assert response.headers["X-Enclave"] == "yes"
        ((method, path, headers, body),) = harness.enclave.asked
        assert (method, path, body) == ("PUT", "/some%20where?a=1&b=%2F", b"\x00\xff")
        assert (headers["X-Node"], headers["Content-Type"]) == ("1", "a/b")
        async with harness.session.get(harness.url + "/upcheck") as response:
            assert await response.text() == "I'm up!"


async def test_a_payload_that_is_no_history_is_not_judged() -> None:
    """A private transaction passes, a payload that the enclave does not have stays not found, and so does an error."""
    async with running_proxy() as harness:
        harness.enclave.body = answer(b"\xf8\x22\xe0" + bytes(32))
        assert await harness.receive() == (200, harness.enclave.body)
        harness.enclave.status, harness.enclave.body = 404, b'{"error":"EnclavePayloadNotFound"}'
        assert (await harness.receive(to=SENDER))[0] == 404
        assert harness.judge.looked == 1
        harness.enclave.status, harness.enclave.body = 500, b"{}"
        assert (await harness.receive())[0] == 500
        assert harness.judge.judged == []


@pytest.mark.parametrize("order", ["payload first", "payload last"])
async def test_a_history_is_judged_and_passed_whole_or_not_found(order: str) -> None:
    """Whatever the order of the answer's fields; and one that is refused at once is not even asked for."""
    async with running_proxy() as harness:
        body = answer(BUNDLE)
        if order == "payload last":
            found = json.loads(body)
            body = json.dumps({"senderKey": found["senderKey"], "payload": found["payload"]}).encode()
        harness.enclave.body = body
        assert await harness.receive("K") == (200, body)
        assert harness.judge.judged == [("K", body)]
        harness.judge.says = False
        assert await harness.receive("K") == (404, NOT_FOUND)
        asked = len(harness.enclave.asked)
        harness.judge.refuses.add("L")
        assert await harness.receive("L") == (404, NOT_FOUND)
        assert len(harness.enclave.asked) == asked
        assert harness.proxy.counts.refused == 2


async def test_a_history_that_is_larger_than_is_read_is_judged_unread() -> None:
    """The judge is told that it is too large; where it passes all the same, it passes whole."""
    async with running_proxy(largest=100) as harness:
        harness.enclave.body = answer(BUNDLE)
        assert await harness.receive() == (200, harness.enclave.body)
        assert harness.judge.judged == [("K", None)]


async def test_a_large_payload_streams_through_in_constant_memory() -> None:
    """32 MiB that are no history, and 32 MiB that are sent, take less than 8 MiB."""
    async with running_proxy() as harness:
        block = b"A" * (1 << 18)

        async def parts() -> AsyncIterator[bytes]:
            yield b'{"payload":"' + base64.b64encode(base64.b64encode(b"\xf8\x22\xe0" + bytes(64)))
            for _ in range(128):
                yield block
            yield b'"}'

        harness.enclave.streams = parts()
        tracemalloc.start()
        try:
            body = json.dumps({"key": "K"})
            async with harness.session.post(harness.url + "/receive", data=body) as response:
                size = 0
                async for chunk in response.content.iter_any():
                    size += len(chunk)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert size > 128 * len(block)
        assert peak < 8 << 20


async def test_an_enclave_that_is_away_is_not_answered_for() -> None:
    """The connection ends without an answer, as if the enclave had ended it, and never as if it had found nothing."""
    async with running_proxy() as harness:
        upstream = Upstream(url="http://127.0.0.1:9")
        harness.proxy._upstream = upstream
        with pytest.raises(aiohttp.ClientError):
            await harness.receive()
        assert harness.proxy.counts.failures == 1


async def test_additions_that_the_node_sends_are_noticed() -> None:
    """The judge is told the group; other transactions and histories tell nothing."""
    async with running_proxy() as harness:
        harness.enclave.body = b'{"key":"K"}'
        add = bytes.fromhex("965a25ef") + (32).to_bytes(32) + (0).to_bytes(32)
        for data, to in ((add, "0x" + "0" * 38 + "7c"), (add, "0x" + "11" * 20), (b"\x01", "0x" + "0" * 38 + "7c")):
            raw = bundled(data=data, to=to).signed.raw
            size = len(raw) + 33
            content = b"\xf9" + size.to_bytes(2) + raw + b"\xa0" + bytes(32)
            body = json.dumps({"payload": base64.b64encode(base64.b64encode(content)).decode(), "from": SENDER})
            async with harness.session.post(harness.url + "/send", data=body) as response:
                assert await response.read() == b'{"key":"K"}'
        assert harness.judge.added == [GROUP]


async def test_it_listens_on_a_socket_of_its_user_and_with_tls(tmp_path: Path) -> None:
    """A Unix socket has mode 0600, and takes the place of one that a killed guard left."""
    enclave, path = Enclave(), tmp_path / "guard.sock"
    for _ in range(2):
        async with listening(enclave.answer, f"unix:{path}") as address:
            assert address == f"unix:{path}"
            assert path.stat().st_mode & 0o777 == 0o600
            connector = aiohttp.UnixConnector(path=str(path))
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.get("http://enclave/upcheck") as response,
            ):
                assert await response.text() == "I'm up!"
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    async with listening(enclave.answer, "127.0.0.1:0", server) as address, aiohttp.ClientSession() as session:
        assert address.startswith("https://")
        async with session.get(address + "/upcheck", ssl=client) as response:
            assert response.status == 200


async def test_two_guards_stand_behind_one_address() -> None:
    """When one is gone the other answers; without being told so a second one can't have the port."""
    first, second = Enclave(), Enclave()
    async with listening(second.answer, "127.0.0.1:0", shared=True) as url:
        async with listening(first.answer, url.removeprefix("http://"), shared=True):
            pass
        with pytest.raises(OSError, match="in use"):
            async with listening(first.answer, url.removeprefix("http://")):
                pass
        async with aiohttp.ClientSession() as session, session.get(url + "/upcheck") as response:
            assert response.status == 200


@given(st.binary(max_size=200))
def test_no_bytes_are_read_as_anything_but_a_bundle_or_an_error(content: bytes) -> None:
    """Neither the codec nor what looks at requests raises anything else."""
    with suppress(InvalidBundleError):
        assert decode_bundle(content, 3)
    assert isinstance(is_bundle(content), bool)
    assert tells(content) in (None, True, False)
    assert added_group(content) is None
    payload_request(content)


@given(st.integers(min_value=1, max_value=200))
def test_an_answer_is_told_by_its_first_bytes(size: int) -> None:
    """However it is cut: once it is told it stays so, and the whole tells."""
    body = answer(BUNDLE)
    assert tells(body) is True
    assert tells(body[:size]) in (None, True)
    assert tells(answer(b"\xf8\x22\xe0" + bytes(32))) is False
    assert tells(b'{"payload":"AAAA"}') is False
    assert tells(b'{"error":"x"}') is None
