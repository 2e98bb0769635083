"""Passing on what a node says to its enclave and the other way round; only history bundles are held up.

A payload is told by its first bytes, so that all else streams through in constant memory, byte for byte. Nothing is
answered here but for a bundle; an enclave that does not answer is not answered for either: the connection ends, and the
node waits for its enclave as it does without a guard (docs/besu.md#enclaves-that-fail).
"""

import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from orchestrator.besu.credential_errors import CredentialError
from orchestrator.besu.transport.credentials import Credential
from orchestrator.guard.wire import NOT_FOUND, PayloadRequest, added_group, payload_request, tells

LARGEST_READ_BYTES: Final = 256 * 1024
"""Requests up to this size are read before they are passed on: they may be an addition, or ask for a payload. So are
private transactions, when a node does not get on with one."""
TELLING_BYTES: Final = 16 * 1024
"""Of an answer so many bytes are looked at for what it is."""
SMALL_BYTES: Final = 64 * 1024
"""Answers up to this size go out in one piece, which takes half the time."""
CONNECT_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 30.0
"""Besu itself gives up after 5 s; an enclave that is slower than this is cut off."""

Body = bytes | aiohttp.StreamReader | AsyncIterator[bytes] | None

_NOT_ADDED: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding"}
    | {"upgrade", "content-length", "host"}
)


class Judges(Protocol):
    """Decides about bundles, and is told what shows why a node asks for one."""

    def refused(self, key: str) -> bool:
        """Return whether a key is refused without looking."""

    async def passes(self, key: str, body: Callable[[], Awaitable[bytes | None]]) -> bool:
        """Return whether a node gets a bundle.

        Args:
            key: What it asked for, base64.
            body: Reads the enclave's answer; None when it is larger than is read.
        """

    async def gives(self, key: str, body: Callable[[], Awaitable[bytes | None]]) -> bool:
        """Return whether a node gets what is no bundle, asked for as in the import of a block.

        Args:
            key: What it asked for, base64.
            body: Reads the enclave's answer; None when it is larger than is read.
        """

    def adds(self, privacy_group_id: str) -> None:
        """The node is about to add members to a group: it may read the bundle that it was itself added with."""

    def looks(self) -> None:
        """The node looked for a transaction of before it came into a group: it may read that bundle, too."""


@dataclass(slots=True)
class Counts:
    """What went through a proxy.

    Attributes:
        requests: all.
        bundles: answers that held a history.
        refused: of these, not given.
        failures: requests that the enclave did not answer.
        seconds: what the proxy and the enclave took for what passed through, all together.
    """

    requests: int = 0
    bundles: int = 0
    refused: int = 0
    failures: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Where the enclave is.

    Attributes:
        url: its address for clients, without a slash at the end.
        tls: for "https"; None for the system's authorities.
        credential: what proves us to it; None for nothing.
    """

    url: str
    tls: ssl.SSLContext | None = None
    credential: Credential | None = None

    async def headers(self) -> Mapping[str, str]:
        """Return what is added to each request; raises `CredentialError`."""
        return {} if self.credential is None else await self.credential.headers()


class EnclaveProxy:
    """Stands between a node and its enclave.

    Args:
        session: an HTTP session for the enclave alone.
        upstream: the enclave.
        judge: decides about bundles.
        largest_bundle_bytes: an answer with a bundle that is larger is not read.
    """

    def __init__(
        self, session: aiohttp.ClientSession, upstream: Upstream, judge: Judges, *, largest_bundle_bytes: int
    ) -> None:
        self.counts = Counts()
        self._session = session
        self._upstream = upstream
        self._judge = judge
        self._largest_bundle_bytes = largest_bundle_bytes

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request of the node."""
        self.counts.requests += 1
        began_at = time.perf_counter()
        body, asked = await self._request_body(request)
        # Without asking anybody: a marker may be copied years later, when the enclave or the nodes that we ask are
        # away.
        if asked is not None and self._judge.refused(asked.key):
            self.counts.bundles += 1
            return self._not_found()
        try:
            async with self._session.request(
                request.method,
                URL(self._upstream.url + request.raw_path, encoded=True),
                data=body,
                headers=await self._headers(request, streamed=not isinstance(body, bytes)),
                skip_auto_headers=_NOT_ADDED,
                allow_redirects=False,
                ssl=self._upstream.tls or True,
                # No bound of the whole, since a large history streams for long; what ends is an enclave that stops
                # streaming.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=IDLE_SECONDS),
            ) as response:
                # With a reader it is no import; not found, Besu reads the bundle that it was added with next
                # (docs/besu.md#enclave-interface, 5).
                if asked is not None and response.status == 404 and asked.reader is not None:
                    self._judge.looks()
                return await self._pass_back(request, asked, response, began_at)
        # No 4xx: it says that the payload is not for the node, which would pass the block without it for good. Cut off,
        # the node tries again (docs/besu.md#enclave-interface, 3).
        except (aiohttp.ClientError, OSError, TimeoutError, CredentialError):
            self.counts.failures += 1
            _cut(request)

    async def _headers(self, request: web.Request, *, streamed: bool) -> CIMultiDict[str]:
        passed = _passed(request.headers)
        # What the enclave compressed could not be looked at.
        passed.pop("Accept-Encoding", None)
        if streamed and request.content_length is not None:
            passed["Content-Length"] = str(request.content_length)
        passed.update(await self._upstream.headers())
        return passed

    async def _request_body(self, request: web.Request) -> tuple[Body, PayloadRequest | None]:
        if not request.can_read_body:
            return None, None
        # A bundle on its way out may have hundreds of megabytes; neither an addition nor a question is that long.
        if (request.content_length or 0) > LARGEST_READ_BYTES:
            return request.content, None
        parts, size = [], 0
        while chunk := await request.content.readany():
            parts.append(chunk)
            size += len(chunk)
            if size > LARGEST_READ_BYTES:
                return _followed(b"".join(parts), request.content), None
        body = b"".join(parts)
        if request.path == "/receive":
            return body, payload_request(body)
        # Noted before it is passed on: Besu reads the bundle as soon as the enclave has answered.
        if request.path == "/send" and (group := added_group(body)) is not None:
            self._judge.adds(group)
        return body, None

    async def _pass_back(
        self,
        request: web.Request,
        asked: PayloadRequest | None,
        response: aiohttp.ClientResponse,
        began_at: float,
    ) -> web.StreamResponse:
        start = b""
        if asked is not None and response.status == 200:
            is_history: bool | None = None
            # The payload need not be the answer's first field, and pieces end where they like.
            while is_history is None and len(start) < TELLING_BYTES:
                chunk = await response.content.readany()
                start += chunk
                is_history = tells(start)
                if not chunk:
                    break
            if is_history:
                self.counts.bundles += 1
                whole = _Whole(response, start, self._largest_bundle_bytes)
                if not await self._judge.passes(asked.key, whole.read):
                    return self._not_found()
                start = whole.start
            # With a reader Besu looks for a transaction to show it; it misreads only what it asks for as in an import.
            elif asked.reader is None:
                whole = _Whole(response, start, LARGEST_READ_BYTES)
                if not await self._judge.gives(asked.key, whole.read):
                    return self._not_found()
                start = whole.start
        length = response.content_length
        if length is not None and length <= SMALL_BYTES:
            body = start + await response.content.read()
            self.counts.seconds += time.perf_counter() - began_at
            return web.Response(status=response.status, headers=_passed(response.headers), body=body)
        back = web.StreamResponse(status=response.status, headers=_passed(response.headers))
        back.content_length = response.content_length
        await back.prepare(request)
        if start:
            await back.write(start)
        async for chunk in response.content.iter_any():
            await back.write(chunk)
        await back.write_eof()
        self.counts.seconds += time.perf_counter() - began_at
        return back

    def _not_found(self) -> web.Response:
        self.counts.refused += 1
        return web.Response(status=404, body=NOT_FOUND, content_type="application/json")


class _Whole:
    """An answer that is read as a whole, up to a size; what is too large can still be passed on."""

    def __init__(self, response: aiohttp.ClientResponse, start: bytes, largest: int) -> None:
        self.start = start
        self._response = response
        self._largest = largest

    async def read(self) -> bytes | None:
        if (self._response.content_length or 0) > self._largest:
            return None
        parts = [self.start]
        size = len(self.start)
        while chunk := await self._response.content.readany():
            parts.append(chunk)
            size += len(chunk)
            if size > self._largest:
                self.start = b"".join(parts)
                return None
        self.start = b"".join(parts)
        return self.start


async def _followed(start: bytes, rest: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    yield start
    async for chunk in rest.iter_any():
        yield chunk


def _passed(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP)


def _cut(request: web.Request) -> NoReturn:
    """End a connection without an answer, as an enclave does that is away."""
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("the enclave does not answer")
