"""Services that sign over HTTP, emulated by what they promise in public: Web3Signer, and a service like AWS KMS.

Each is a real server on loopback in a thread of its own. It can be killed amid requests, and comes back on its port.
"""

import asyncio
import base64
import json
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

from aiohttp import web
from coincurve import PrivateKey
from eth_hash.auto import keccak

from orchestrator.devnet.servers.kept_port import KeptPort
from tests.patience import patient
from tests.servers.ports import free_port
from tests.servers.side_loop import hang_up


class HttpSigner(ABC):
    """A signing service on loopback.

    Attributes:
        port: where it listens, kept over ``kill`` and ``start``.
        delay_seconds: how long it takes for a signature.
        misbehaves: answers in place of it, when given: told how many requests came before.
        asked: requests for signatures that came in.
        most_at_once: how many of them were under way at the same time, at the most.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.port = free_port()
        self.delay_seconds = 0.0
        self.misbehaves: Callable[[int], web.Response | None] | None = None
        self.asked = 0
        self.most_at_once = 0
        self._under_way = 0
        self._tls = tls
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping = asyncio.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://localhost:{self.port}"

    @abstractmethod
    def routes(self) -> list[web.RouteDef]:
        """Return what it serves."""

    def start(self) -> None:
        """Listen; does nothing while it does."""
        if self._thread is not None:
            return
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(patient(10))

    def kill(self) -> None:
        """Drop all connections and refuse new ones; does nothing while it does."""
        if self._thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(patient(10))
        assert not self._thread.is_alive(), f"what listened on port {self.port} does not end"
        self._thread = None

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        application = web.Application(client_max_size=16 << 20)
        application.add_routes(self.routes())
        runner = web.AppRunner(application, handle_signals=False, shutdown_timeout=0.0)
        await runner.setup()
        port = KeptPort("127.0.0.1", self.port)
        await web.SockSite(runner, await port.bound(), ssl_context=self._tls).start()
        port.give_back()
        ready.set()
        await self._stopping.wait()
        for connection in runner.server.connections if runner.server is not None else ():
            if connection.transport is not None:
                connection.transport.abort()
        self.delay_seconds = 0.0  # whoever waited for it is gone
        await runner.cleanup()
        await hang_up()

    async def under_way(self, answer: Callable[[], web.Response]) -> web.Response:
        """Answer one request for a signature, as slowly and as badly as is wanted."""
        self.asked += 1
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            until = time.monotonic() + self.delay_seconds
            while self.delay_seconds and time.monotonic() < until:  # noqa: ASYNC110 - ended by another thread
                await asyncio.sleep(0.005)
            instead = self.misbehaves(self.asked) if self.misbehaves is not None else None
            return instead if instead is not None else answer()
        finally:
            self._under_way -= 1


class Web3SignerServer(HttpSigner):
    """Web3Signer's eth1 mode: signing, list of keys, upcheck, reload; statuses and bodies as Vert.x sends them.

    Attributes:
        keys: by identifier, "0x" and 128 digits, the key that signs for it.
        loaded: what `/reload` loads.
    """

    def __init__(self, *keys: bytes, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.keys = {identifier_of(key): key for key in keys}
        self.loaded = dict(self.keys)
        self.authorizations: list[str] = []

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/upcheck", self._up),
            web.get("/api/v1/eth1/publicKeys", self._list),
            web.post("/api/v1/eth1/sign/{identifier}", self._sign),
            web.post("/reload", self._reload),
        ]

    async def _up(self, _request: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def _reload(self, _request: web.Request) -> web.Response:
        self.keys = dict(self.loaded)
        return web.Response()

    async def _list(self, _request: web.Request) -> web.Response:
        return web.json_response(list(self.keys))

    async def _sign(self, request: web.Request) -> web.Response:
        self.authorizations.append(request.headers.get("Authorization", ""))
        body, identifier = await request.text(), request.match_info["identifier"]
        return await self.under_way(lambda: self._signed(identifier, body))

    def _signed(self, identifier: str, body: str) -> web.Response:
        try:
            data = json.loads(body)["data"]
            message = bytes.fromhex(data.removeprefix("0x"))
        except (ValueError, KeyError, TypeError, AttributeError):
            data = ""
        if not data:
            return web.Response(status=400, text="Bad Request")
        name = identifier.lower()
        key = self.keys.get(name if name.startswith("0x") else "0x" + name)
        if key is None:
            return web.Response(status=404, text="Not Found")
        signed = PrivateKey(key).sign_recoverable(keccak(message), hasher=None)
        return web.Response(text="0x" + (signed[:64] + bytes([signed[64] + 27])).hex())


class KmsServer(HttpSigner):
    """Signs digests as AWS KMS does with a key of the curve ECC_SECG_P256K1: DER, and the higher s as often as not.

    Attributes:
        keys: by key id the private key.
        disabled: ids of keys that an administrator has disabled.
        token: what callers have to send as bearer.
    """

    def __init__(self, token: str, **keys: bytes) -> None:
        super().__init__()
        self.keys = dict(keys)
        self.disabled: set[str] = set()
        self.token = token

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/", self._sign)]

    async def _sign(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = await request.json()
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return _error("AccessDeniedException", 400)
        assert request.headers["X-Amz-Target"] == "TrentService.Sign"
        return await self.under_way(lambda: self._signed(body))

    def _signed(self, body: dict[str, Any]) -> web.Response:
        if body["KeyId"] in self.disabled:
            return _error("DisabledException", 400)
        if body["KeyId"] not in self.keys:
            return _error("NotFoundException", 400)
        digest = base64.b64decode(body["Message"])
        if body["MessageType"] != "DIGEST" or body["SigningAlgorithm"] != "ECDSA_SHA_256" or len(digest) != 32:
            return _error("ValidationException", 400)
        signed = PrivateKey(self.keys[body["KeyId"]]).sign_recoverable(digest, hasher=None)
        r, s = int.from_bytes(signed[:32]), int.from_bytes(signed[32:64])
        if digest[0] & 1:
            s = ORDER - s
        der = _der_integer(r) + _der_integer(s)
        whole = base64.b64encode(b"\x30" + bytes([len(der)]) + der).decode()
        return web.json_response({"KeyId": body["KeyId"], "Signature": whole, "SigningAlgorithm": "ECDSA_SHA_256"})


ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def identifier_of(key: bytes) -> str:
    """Return what Web3Signer calls a key: its public key, uncompressed and without the leading byte."""
    return "0x" + PrivateKey(key).public_key.format(compressed=False)[1:].hex()


def _error(kind: str, status: int) -> web.Response:
    return web.json_response({"__type": kind, "message": None}, status=status)


def _der_integer(value: int) -> bytes:
    content = value.to_bytes(value.bit_length() // 8 + 1)
    return b"\x02" + bytes([len(content)]) + content
