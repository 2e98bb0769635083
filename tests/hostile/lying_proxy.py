"""A proxy in front of one emulated node that lies, or says what the node says, as it is told."""

import asyncio
import contextlib
import json
from collections import defaultdict
from contextlib import AsyncExitStack
from random import Random
from typing import Any, Final

import aiohttp
from aiohttp import web
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.hostile.lying_node import Liar, serve_http

SENDING: Final = frozenset({"priv_distributeRawTransaction", "eth_sendRawTransaction", "eea_sendRawTransaction"})
HEADS: Final = frozenset({"eth_blockNumber", "eth_getBlockByNumber", "eth_syncing", "net_peerCount"})
FAR_AHEAD: Final = 0x7FFFFFFFFFFF
FORGED_GROUPS: Final = 5_000

ON_THE_WIRE: Final = ("cut", "huge", "slow", "mixed", "missing", "junk", "status")
IN_ANSWERS: Final = ("ahead", "behind", "another", "replayed", "mutated", "errors", "nulls", "forged", "swallowed")
HABITS: Final = (*ON_THE_WIRE, *IN_ANSWERS)
MOST_HABITS: Final = 5


class LyingProxy:
    """What the daemon takes for a member's node.

    Args:
        seed: Of the plan: which lies it is given to, and when.
        http: Where the node answers.
        ws: Where it notifies.
        others: Where other nodes answer.
        slow_seconds: How long a slow answer takes.

    Attributes:
        lying: Whether it lies now; set from another thread.
        habits: What it is given to, by how often.
        told: How often it lied, by how.
    """

    def __init__(self, seed: int, http: str, ws: str, others: list[str], slow_seconds: float) -> None:
        self._random = random = Random(seed)  # noqa: S311 - a plan that can be repeated
        self._liar = Liar(seed, {})
        self._http = http
        self._ws = ws
        self._others = others
        self._slow_seconds = slow_seconds
        self._answers: dict[str, list[Any]] = defaultdict(list)
        self._frames: list[str] = []
        self.lying = False
        chosen = random.sample(HABITS, random.randint(2, MOST_HABITS))
        self.habits = {habit: random.choice((0.05, 0.3, 0.8)) for habit in chosen}
        self.told: dict[str, int] = defaultdict(int)

    def __repr__(self) -> str:
        return f"given to {self.habits}, lied {dict(self.told)}"

    async def start(self, stack: AsyncExitStack) -> tuple[str, str]:
        """Serve until the stack is closed; returns where to call and where to subscribe."""
        self._session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30), cookie_jar=aiohttp.DummyCookieJar())
        )
        http = await serve_http(self._respond, stack)
        server = await stack.enter_async_context(serve(self._relay, "127.0.0.1", 0, compression=None))
        return http, f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"

    # --- calls -----------------------------------------------------------------------------------------------------

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        whole = isinstance(body, list)
        calls = body if whole else [body]
        if not self.lying:
            return web.json_response(await self._asked(self._http, body))
        answers = list(await asyncio.gather(*(self._answer(call) for call in calls)))
        kind = next((habit for habit in ON_THE_WIRE if self._does(habit)), "plain")
        return await self._liar.disturbed(kind, answers, whole=whole, slow_seconds=self._slow_seconds)

    async def _answer(self, call: dict[str, Any]) -> dict[str, Any]:
        method, head = call["method"], {"jsonrpc": "2.0", "id": call["id"]}
        if method in SENDING and self._does("swallowed"):
            return head | {"result": "0x" + self._random.randbytes(32).hex()}
        if self._does("errors"):
            if method in SENDING:
                await self._asked(self._http, call)  # it was done, and is called refused
            return head | {"error": self._liar.error()}
        url = self._random.choice(self._others) if method not in SENDING and self._does("another") else self._http
        answer: dict[str, Any] = await self._asked(url, call)
        if method in SENDING or "result" not in answer:
            return answer
        return head | {"result": self._lied(method, answer["result"])}

    def _lied(self, method: str, result: Any) -> Any:
        earlier = self._answers[method]
        earlier.append(result)
        del earlier[:-50]
        if method in HEADS and self._does("ahead"):
            return _with_number(result, FAR_AHEAD)
        if method in HEADS and self._does("behind"):
            return earlier[0]
        if self._does("replayed"):
            return self._random.choice(earlier)
        if self._does("nulls"):
            return None
        if method.startswith("privx_find") and self._does("forged"):
            keys = sorted({key for group in result or () for key in group["members"]})
            return [*(result or ()), *(self._liar.forged_group(keys) for _ in range(FORGED_GROUPS))]
        return self._liar.mutated(result) if self._does("mutated") else result

    def _does(self, habit: str) -> bool:
        does = self._random.random() < self.habits.get(habit, 0.0)
        self.told[habit] += does
        return does

    async def _asked(self, url: str, body: Any) -> Any:
        async with self._session.post(url, json=body) as answer:
            return await answer.json(content_type=None)

    # --- notifications ---------------------------------------------------------------------------------------------

    async def _relay(self, reader: ServerConnection) -> None:
        async with connect(self._ws, compression=None) as node:
            down = asyncio.create_task(self._notify(node, reader))
            try:
                async for frame in reader:
                    await node.send(frame)
            except ConnectionClosed:
                pass
            finally:
                down.cancel()
                await asyncio.gather(down, return_exceptions=True)

    async def _notify(self, node: Any, reader: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for frame in node:
                for sent in self._frames_for(str(frame)):
                    await reader.send(sent)
            await reader.close()

    def _frames_for(self, frame: str) -> list[str]:
        if not self.lying or '"method"' not in frame:
            return [frame]
        self._frames = [*self._frames[-20:], frame]
        frames = [frame]
        if self._does("ahead"):
            message = json.loads(frame)
            message["params"]["result"] = _with_number(message["params"]["result"], FAR_AHEAD)
            frames = [json.dumps(message)]
        if self._does("replayed"):
            frames += self._random.choices(self._frames, k=5)
        if self._does("junk"):
            frames.append(
                self._random.choice(["", "null", "[]", '{"method": "eth_subscription"}', '"\\ud800"', "[" * 99])
            )
        if self._does("cut"):
            frames.append(frame[: self._random.randrange(len(frame))])
        if self._does("missing"):
            frames = []
        return frames


def _with_number(result: Any, number: int) -> Any:
    if isinstance(result, dict) and "number" in result:
        return result | {"number": hex(number)}
    return hex(number) if isinstance(result, str) else result
