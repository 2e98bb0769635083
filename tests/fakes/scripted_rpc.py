"""JSON-RPC servers with scripted answers, over HTTP and over WebSocket."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from websockets.asyncio.server import ServerConnection


class AnsweredError(Exception):
    """Raised by a scripted answer to answer with an error."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, **({} if data is None else {"data": data})}


@dataclass
class ScriptedNode:
    """What the server answers, and what it was asked.

    Attributes:
        answers: by method, a result or a function of the parameters that returns one or raises ``AnsweredError``.
        respond: replaces everything when set: takes the HTTP request and returns the response.
        bodies: JSON bodies received.
        headers: headers of each HTTP request.
    """

    answers: dict[str, Any] = field(default_factory=dict)
    respond: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
    bodies: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    @property
    def methods(self) -> list[str]:
        """Methods asked, in order."""
        return [call["method"] for body in self.bodies for call in (body if isinstance(body, list) else [body])]

    def answer(self, call: dict[str, Any]) -> dict[str, Any]:
        answer = self.answers.get(call["method"], AnsweredError(-32601, "Method not found"))
        try:
            result = answer(*call["params"]) if callable(answer) else answer
            if isinstance(result, AnsweredError):
                raise result
        except AnsweredError as error:
            return {"jsonrpc": "2.0", "id": call["id"], "error": error.error}
        return {"jsonrpc": "2.0", "id": call["id"], "result": result}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.headers.append(dict(request.headers))
        if self.respond is not None:
            return await self.respond(request)
        body = await request.json()
        self.bodies.append(body)
        answered = [self.answer(call) for call in body] if isinstance(body, list) else self.answer(body)
        return web.json_response(answered)


@dataclass
class ScriptedSocket:
    """A WebSocket server that takes subscriptions.

    Attributes:
        connections: open ones.
        calls: (method, params) asked, over all connections.
        headers: headers of each connection.
        refusals: by topic ("newHeads", "logs"), an error to answer.
        silent: whether calls stay unanswered.
    """

    connections: list[ServerConnection] = field(default_factory=list)
    calls: list[tuple[str, list[Any]]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    refusals: dict[str, AnsweredError] = field(default_factory=dict)
    silent: bool = False
    url: str = ""

    async def handle(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        try:
            async for text in connection:
                call = json.loads(text)
                self.calls.append((call["method"], call["params"]))
                if not self.silent:
                    await connection.send(json.dumps({"jsonrpc": "2.0", "id": call["id"], **self._reply(call)}))
        finally:
            self.connections.remove(connection)

    def _reply(self, call: dict[str, Any]) -> dict[str, Any]:
        if call["method"].endswith("unsubscribe"):
            return {"result": True}
        topic = call["params"][1 if call["method"] == "priv_subscribe" else 0]
        if topic in self.refusals:
            return {"error": self.refusals[topic].error}
        return {"result": hex(len(self.calls))}

    async def notify(self, subscription: str, result: Any, *, method: str = "eth_subscription") -> None:
        """Send a notification on every connection."""
        params = {"subscription": subscription, "result": result}
        for connection in list(self.connections):
            await connection.send(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}))

    async def cut(self) -> None:
        """End every connection without a word."""
        for connection in list(self.connections):
            connection.transport.abort()
