"""What a replica sends to the nodes, seen from between the two."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

SENDING = frozenset({"priv_distributeRawTransaction", "eth_sendRawTransaction", "eea_sendRawTransaction"})


@dataclass(frozen=True, slots=True)
class Sendings:
    """The calls of one replica that send something.

    Attributes:
        seen: When each came, by the monotonic clock, and its method.
    """

    seen: list[tuple[float, str]] = field(default_factory=list)

    def since(self, moment: float) -> list[str]:
        """Return the methods that were called since a moment of the monotonic clock."""
        return [method for at, method in self.seen if at >= moment]

    @asynccontextmanager
    async def between(self, url: str) -> AsyncIterator[str]:
        """Pass calls on to a node and note those that send; gives the address to call instead of the node's."""
        async with aiohttp.ClientSession() as session:

            async def respond(request: web.Request) -> web.Response:
                body = await request.json()
                now = time.monotonic()
                calls = body if isinstance(body, list) else [body]
                self.seen.extend((now, call["method"]) for call in calls if call["method"] in SENDING)
                async with session.post(url, json=body) as answer:
                    return web.Response(body=await answer.read(), content_type="application/json", status=answer.status)

            app = web.Application(client_max_size=16 << 20)
            app.router.add_post("/", respond)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            try:
                yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
            finally:
                await runner.cleanup()
