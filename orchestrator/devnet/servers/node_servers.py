"""The HTTP and WebSocket ports of one node."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, NoReturn

from aiohttp import WSMsgType, web

from orchestrator.devnet.clock import Clock
from orchestrator.devnet.faults import FaultKind, RpcFault, RpcFaults
from orchestrator.devnet.servers.gateway import Gateway, methods_of, parse_json
from orchestrator.devnet.servers.kept_port import KeptPort

MAX_BODY_BYTES: Final = 5 * 1024 * 1024
MAX_FRAME_BYTES: Final = 1024 * 1024
MAX_QUEUED_FRAMES: Final = 10_000
SEND_TIMEOUT_SECONDS: Final = 30.0
ACCEPTING_TURNS: Final = 20


class WebSocketClient:
    """One WebSocket connection: a bounded queue of frames in front of the socket."""

    def __init__(self, socket_: web.WebSocketResponse, request: web.Request) -> None:
        self._socket = socket_
        self._request = request
        self._frames: asyncio.Queue[str] = asyncio.Queue(MAX_QUEUED_FRAMES)

    def push(self, frame: str) -> None:
        """Queue a frame; a client that does not read loses its connection instead of the node its memory."""
        try:
            self._frames.put_nowait(frame)
        except asyncio.QueueFull:
            self.abort()

    def abort(self) -> None:
        """End the connection without a word."""
        _abort(self._request)

    async def send_frames(self) -> None:
        """Send what is queued, for ever; ends with the connection."""
        while True:
            frame = await self._frames.get()
            try:
                async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                    await self._socket.send_str(frame)
            except (ConnectionError, TimeoutError):
                self.abort()
                return


class NodeServer:
    """Both ports of a node; while the node is down nothing listens on them."""

    def __init__(
        self,
        gateway: Gateway,
        clock: Clock,
        faults: RpcFaults,
        *,
        host: str,
        http_port: int,
        websocket_port: int,
        tls: ssl.SSLContext | None,
        settle: Callable[[], Any],
    ) -> None:
        self._http, self._websocket = KeptPort(host, http_port), KeptPort(host, websocket_port)
        self._gateway = gateway
        self._clock = clock
        self._faults = faults
        self._tls = tls
        self._settle = settle
        self._runners: list[web.AppRunner] = []
        self._listening: list[socket.socket] = []
        self._clients: set[WebSocketClient] = set()

    @property
    def http_port(self) -> int:
        """That it listens on, once it was opened."""
        return self._http.number

    @property
    def websocket_port(self) -> int:
        """Likewise."""
        return self._websocket.number

    async def open(self) -> None:
        """Listen on both ports.

        Raises:
            OSError: a port is taken.
        """
        http, websocket = web.Application(client_max_size=MAX_BODY_BYTES), web.Application()
        http.router.add_get("/liveness", _alive)
        http.router.add_get("/readiness", _alive)
        http.router.add_route("POST", "/{path:.*}", self._on_http)
        websocket.router.add_route("GET", "/{path:.*}", self._on_websocket)
        await self._listen(http, self._http)
        await self._listen(websocket, self._websocket)

    async def close(self) -> None:
        """Close both ports and every connection; they stay its own."""
        self.drop_websockets()
        runners, self._runners = self._runners, []
        listening, self._listening = self._listening, []
        for port in listening:
            asyncio.get_running_loop().remove_reader(port.fileno())
        # A connection reaches the server some turns of the loop after it was accepted. Python 3.11 loses, and never
        # closes, one that comes when the server is closed already.
        for _ in range(ACCEPTING_TURNS):
            await asyncio.sleep(0)
        for runner in runners:
            await runner.cleanup()

    async def end(self) -> None:
        """Close, and let others have the ports."""
        await self.close()
        self._http.give_back()
        self._websocket.give_back()

    def drop_websockets(self) -> None:
        """End every WebSocket connection without a word."""
        for client in list(self._clients):
            client.abort()

    async def _listen(self, application: web.Application, port: KeptPort) -> None:
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2, handle_signals=False)
        await runner.setup()
        self._runners.append(runner)
        bound = await port.bound()
        await web.SockSite(runner, bound, ssl_context=self._tls).start()
        self._listening.append(bound)

    async def _on_http(self, request: web.Request) -> web.StreamResponse:
        if not self._gateway.api.node.up:
            _cut(request)
        body = await request.read()
        try:
            parsed = parse_json(body)
        except ValueError:
            parsed = None
        methods = methods_of(parsed)
        if not self._serves(request) and not (methods and all(method.startswith("devnet_") for method in methods)):
            return web.json_response({"message": "Host not authorized."}, status=403)
        fault = self._faults.take(self._gateway.api.node.number, methods, in_batch=isinstance(parsed, list))
        if fault is not None:
            refused = await self._meet(fault, request)
            if refused is not None:
                return refused
        reply = await self._gateway.reply(body, request.headers.get("Authorization"), None)
        if fault is not None and fault.kind is FaultKind.LOST:
            _cut(request)
        if fault is not None and fault.kind is FaultKind.HALF:
            await _half(request, reply.text)
        await self._settle()
        return web.Response(status=reply.status, text=reply.text, content_type="application/json")

    def _serves(self, request: web.Request) -> bool:
        allowed = self._gateway.api.network.config.host_allowlist
        return "*" in allowed or request.host.rpartition(":")[0] in allowed or request.host in allowed

    async def _meet(self, fault: RpcFault, request: web.Request) -> web.Response | None:
        if fault.kind is FaultKind.LATENCY:
            await self._clock.sleep(fault.seconds)
        elif fault.kind is FaultKind.RESET:
            _cut(request)
        elif fault.kind is FaultKind.STATUS:
            return web.Response(status=fault.status, text=f"fault: {fault.status}")
        return None

    async def _on_websocket(self, request: web.Request) -> web.StreamResponse:
        if not self._gateway.api.node.up:
            _cut(request)
        if not self._serves(request):
            return web.json_response({"message": "Host not authorized."}, status=403)
        websocket = web.WebSocketResponse(max_msg_size=MAX_FRAME_BYTES, heartbeat=None)
        await websocket.prepare(request)
        client = WebSocketClient(websocket, request)
        self._clients.add(client)
        sender = asyncio.create_task(client.send_frames())
        try:
            async for message in websocket:
                if message.type not in {WSMsgType.TEXT, WSMsgType.BINARY}:
                    continue
                await self._on_frame(client, message.data, request.headers.get("Authorization"))
        finally:
            self._clients.discard(client)
            self._gateway.api.subscriptions.forget(client)
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sender
        return websocket

    async def _on_frame(self, client: WebSocketClient, frame: str | bytes, authorization: str | None) -> None:
        try:
            parsed = parse_json(frame)
        except ValueError:
            parsed = None
        fault = self._faults.take(self._gateway.api.node.number, methods_of(parsed), in_batch=isinstance(parsed, list))
        if fault is not None and fault.kind is FaultKind.LATENCY:
            await self._clock.sleep(fault.seconds)
        elif fault is not None and fault.kind is not FaultKind.LOST:
            client.abort()
            return
        reply = await self._gateway.reply(frame, authorization, client)
        if fault is not None and fault.kind is FaultKind.LOST:
            client.abort()
            return
        if reply.text:
            client.push(reply.text)
        await self._settle()


def _abort(request: web.Request) -> None:
    """End a connection at once."""
    if request.transport is not None:
        request.transport.abort()


def _cut(request: web.Request) -> NoReturn:
    """End a connection at once, and with it the handling of the request."""
    _abort(request)
    raise ConnectionResetError("the connection was ended on purpose")


async def _alive(_: web.Request) -> web.Response:
    return web.json_response({"status": "UP"})


async def _half(request: web.Request, text: str) -> NoReturn:
    """Write half of an answer, then end the connection."""
    body = text.encode()
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    _cut(request)
