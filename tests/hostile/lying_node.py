"""A node that lies by a seeded plan: in its heads, with other nodes' answers, cut off, huge, slow, and worse."""

import asyncio
import base64
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

from aiohttp import web

from tests.servers.side_loop import in_a_thread

RECORDINGS: Final = Path(__file__).parents[1] / "contract/devnet/recordings"
HOSTILE_TEXTS: Final = (
    "\ud800",
    "\x1b[2J\x07",
    "\u202e\u2066",
    "token.a" * 5_000,
    "password=hunter2",
    "0x",
    "0x" + "f" * 20_000,
    "",
    "\x00",
    "é" * 1000,
    "Infinity",
)
HOSTILE_VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    -1,
    1 << 63,
    1 << 300,
    1e308,
    [],
    {},
    [[]],
    {"result": {}},
    [None] * 3,
    "0x7fffffffffff",
)


def recorded_results() -> dict[str, list[Any]]:
    """Return by method what real nodes answered, of any version, group and block."""
    found: dict[str, list[Any]] = defaultdict(list)
    for path in sorted(RECORDINGS.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            request, response = row.get("request") or {}, row.get("response")
            if isinstance(response, dict) and "method" in request and "result" in response:
                found[request["method"]].append(response["result"])
    return {method: results[:200] for method, results in found.items()}


class Liar:
    """What the node answers.

    Args:
        seed: Of the plan.
        results: By method what nodes answered.
    """

    def __init__(self, seed: int, results: dict[str, list[Any]]) -> None:
        self._random = Random(seed)  # noqa: S311 - a plan that can be repeated
        self._results = results
        self.told: list[str] = []

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Answer one HTTP request."""
        body = await request.json()
        calls = body if isinstance(body, list) else [body]
        answers: list[Any] = [self._answer(call) for call in calls]
        kind = self._random.choices(
            ("plain", "cut", "huge", "slow", "mixed", "missing", "junk", "status"), (70, 4, 3, 2, 6, 5, 5, 5)
        )[0]
        self.told.append(kind)
        return await self.disturbed(kind, answers, whole=isinstance(body, list))

    async def disturbed(self, kind: str, answers: list[Any], *, whole: bool, slow_seconds: float = 0.6) -> web.Response:
        """Return an HTTP response in which something is wrong.

        Args:
            kind: What: "plain" for nothing.
            answers: What it would say.
            whole: Whether a batch was asked for.
            slow_seconds: How long a slow one takes.
        """
        text = json.dumps(answers if whole else answers[0]).encode()
        match kind:
            case "cut":
                text = text[: self._random.randrange(len(text) + 1)]
            case "huge":
                text = self._random.choice(
                    [
                        b"[" + b"{}," * (3 << 20) + b"{}]",
                        b'{"id":1,"result":"' + b"a" * (13 << 20) + b'"}',
                        b"[" * 100_000,
                    ]
                )
            case "slow":
                await asyncio.sleep(slow_seconds)
            case "mixed":
                self._random.shuffle(answers)
                text = json.dumps(answers).encode()
            case "missing":
                text = json.dumps(answers[1:] + answers[:1] * self._random.randrange(3)).encode()
            case "junk":
                text = self._random.choice([b"", b"<html>", b"null", b"{}", b"[]", b"[1]", b'"\xff"', b"\xff\xfe{\x00"])
            case "status":
                return web.Response(
                    body=text, status=self._random.choice([200, 204, 302, 400, 401, 413, 429, 500, 503])
                )
        return web.Response(body=text, content_type="application/json")

    def _answer(self, call: dict[str, Any]) -> dict[str, Any]:
        head = {"jsonrpc": "2.0", "id": call["id"]}
        if self._random.random() < 0.15:
            return head | {"error": self.error()}
        method = call["method"]
        if method.startswith("privx_find") and self._random.random() < 0.3:
            return head | {"result": [self.forged_group() for _ in range(self._random.choice([3, 5000]))]}
        result = self._random.choice(self._results.get(method) or [None])
        if self._random.random() < 0.4:
            result = self.mutated(result)
        return head | {"result": result}

    def error(self) -> Any:
        """Return an error that no node gives."""
        pick = self._random.choice
        return pick(
            [
                {"code": pick([-32000, -32001, -50100, -50200, 0, 1 << 70, "x"]), "message": pick(HOSTILE_TEXTS)},
                {"code": -32000, "message": "Execution reverted", "data": "0x08c379a0" + "ff" * 100},
                {"code": -32000, "message": pick(HOSTILE_TEXTS), "data": pick(HOSTILE_VALUES)},
                "no object",
                [],
            ]
        )

    def forged_group(self, keys: Sequence[str] = ()) -> dict[str, Any]:
        """Return a group that there is not.

        Args:
            keys: Of nodes that may be named as its members.
        """
        pick, group_id = self._random.choice, self._random.randbytes(32)
        return {
            "privacyGroupId": pick([group_id.hex(), base64.b64encode(group_id).decode()]),
            "members": pick([list(keys), [pick(HOSTILE_TEXTS)]]),
            "type": pick(["FLEXIBLE", "ONCHAIN", None]),
        }

    def mutated(self, value: Any) -> Any:
        """Return a value in which something is changed."""
        if isinstance(value, dict) and value and self._random.random() < 0.9:
            name = self._random.choice(sorted(value))
            return value | {name: self.mutated(value[name])}
        if isinstance(value, list) and value and self._random.random() < 0.9:
            place = self._random.randrange(len(value))
            return [*value[:place], self.mutated(value[place]), *value[place + 1 :]]
        return self._random.choice((*HOSTILE_TEXTS, *HOSTILE_VALUES))


@contextmanager
def serving(liar: Liar) -> Iterator[str]:
    """Serve on loopback, in a thread of its own: what lying takes is not the reader's time; gives the address."""
    with in_a_thread(lambda stack: serve_http(liar.respond, stack)) as url:
        yield url


async def serve_http(respond: Callable[[web.Request], Awaitable[web.StreamResponse]], stack: AsyncExitStack) -> str:
    """Answer HTTP requests until the stack is closed; returns the address."""
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/", respond)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}/"
