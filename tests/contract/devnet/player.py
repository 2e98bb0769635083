"""Playing a recording to a devnet, over HTTP and WebSocket, in the recorded block structure."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from orchestrator.devnet import Devnet
from orchestrator.devnet.accounts import validator_address_of
from orchestrator.devnet.encoding import to_json
from tests.contract.devnet.comparison import Comparison
from tests.contract.devnet.enclave_faults import WAITED_SECONDS, FaultDriver
from tests.contract.devnet.own_markers import ScriptDriver
from tests.contract.devnet.recording import Exchange, Recording, first_head

FRAME_TIMEOUT_SECONDS = 60.0
INACCURACY_SECONDS = 0.35
BATCHES = {"1025 requests": 1025}


@dataclass(slots=True)
class _Socket:
    """A WebSocket connection with the frames that came unasked."""

    websocket: aiohttp.ClientWebSocketResponse
    frames: list[dict[str, Any]] = field(default_factory=list)
    next_id: int = 1

    async def ask(self, method: str, params: list[Any], request_id: Any) -> Any:
        await self.websocket.send_json({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
        while True:
            frame = await asyncio.wait_for(self.websocket.receive_json(), FRAME_TIMEOUT_SECONDS)
            if "method" not in frame:
                return frame
            self.frames.append(frame)

    async def take_like(self, recorded: Mapping[str, Any]) -> Any:
        """Take the first frame that tells of the same thing, waiting for it."""
        while True:
            for frame in self.frames:
                if _subject(frame) == _subject(recorded):
                    self.frames.remove(frame)
                    return frame
            self.frames.append(await asyncio.wait_for(self.websocket.receive_json(), FRAME_TIMEOUT_SECONDS))


def _subject(frame: Mapping[str, Any]) -> tuple[Any, ...]:
    params = frame.get("params", {})
    result = params.get("result")
    place = (
        (result.get("number") or result.get("blockNumber"), result.get("logIndex")) if isinstance(result, dict) else ()
    )
    return (frame.get("method"), params.get("subscription"), *place)


def _sorted(answer: dict[str, Any]) -> dict[str, Any]:
    """A list of groups in a fixed order: a node's own is that of its database."""
    return {**answer, "result": sorted(answer["result"], key=lambda group: str(group["privacyGroupId"]))}


def _recorded_id(exchange: Exchange) -> Any:
    """The id of the answer; None where it was not recorded or is null."""
    if isinstance(exchange.response, dict):
        return exchange.response.get("id")
    found = re.match(r'\{"jsonrpc":"2.0","id":(\d+),', exchange.cut_text or "")
    return int(found.group(1)) if found else None


class Player:
    """Plays one recording.

    Attributes:
        mismatches: by line of the recording, what differed.
        compared: how many exchanges were compared.
    """

    def __init__(self, recording: Recording, devnet: Devnet, tokens: Mapping[str, str]) -> None:
        self.mismatches: dict[int, list[str]] = {}
        self.compared = 0
        self._recording = recording
        self._devnet = devnet
        self._tokens = tokens
        validators = frozenset(validator_address_of(node) for node in (1, 2, 3))
        self._comparison = Comparison(validators, any_order=recording.has_events)
        self._sockets: dict[tuple[int, str | None], _Socket] = {}
        driver = FaultDriver if recording.has_events else ScriptDriver
        self._driver = driver(recording, devnet, self._comparison)

    async def play(self) -> None:
        """Play every exchange in order."""
        if self._recording.has_own_markers:
            await self._driver.begin()
        else:
            await self._mine_to(first_head(self._recording))
        async with aiohttp.ClientSession() as session:
            for exchange in self._recording.exchanges:
                await self._driver.before(exchange)
                if exchange.event is not None:
                    continue
                await self._mine_to(self._driver.needed_head(exchange))
                await self._play(session, exchange)
            for socket in self._sockets.values():
                await socket.websocket.close()

    async def _mine_to(self, number: int) -> None:
        behind = number - self._devnet.emulation.network.chain.head.number
        if behind > 0:
            await self._driver.mine(behind)

    async def _play(self, session: aiohttp.ClientSession, exchange: Exchange) -> None:
        node = exchange.node or 1
        status: int | None
        begun_at = self._devnet.emulation.network.now
        params = self._driver.translated(exchange)
        if exchange.transport == "http-raw":
            status, actual = await self._post_raw(session, node, exchange.body or "")
        elif exchange.transport == "ws":
            socket = await self._socket(session, node, exchange.tenant)
            status = exchange.http_status
            if exchange.method is None:
                actual = await self._frame(socket, exchange)
            else:
                actual = await socket.ask(exchange.method, params, exchange.response.get("id"))
        else:
            status, actual = await self._post(session, node, exchange, params)
        self.compared += 1
        if exchange.cut_text is not None:
            found = self._comparison.differences_of_beginning(exchange.method, exchange.cut_text, to_json(actual))
        else:
            expected = self._recording.told_of(exchange)
            if expected is not exchange.response:
                actual = _sorted(actual)
            found = self._comparison.differences(exchange.method, exchange.params, expected, actual)
        if exchange.http_status is not None and status != exchange.http_status:
            found.append(f"HTTP status {status} instead of {exchange.http_status}")
        took_seconds = self._devnet.emulation.network.now - begun_at
        waited = self._recording.has_events and exchange.elapsed_seconds >= WAITED_SECONDS
        if waited and abs(took_seconds - exchange.elapsed_seconds) > INACCURACY_SECONDS:
            found.append(f"answered after {took_seconds} s instead of {exchange.elapsed_seconds} s")
        if exchange.method == "priv_getTransactionReceipt" and exchange.params[0] in self._driver.competing:
            found = [difference for difference in found if not difference.startswith(".result.status")]
        if found:
            self.mismatches[exchange.line] = [f"{exchange.step}: {exchange.method}", *found]

    async def _frame(self, socket: _Socket, exchange: Exchange) -> Any:
        try:
            return await socket.take_like(exchange.response)
        except TimeoutError:
            return {"missing": "no such frame came"}

    async def _post(
        self, session: aiohttp.ClientSession, node: int, exchange: Exchange, params: list[Any]
    ) -> tuple[int, Any]:
        recorded_id = _recorded_id(exchange)
        request = {
            "jsonrpc": "2.0",
            "id": 1 if recorded_id is None else recorded_id,
            "method": exchange.method,
            "params": params,
        }
        headers = self._headers(exchange.tenant)
        async with session.post(self._devnet.nodes[node - 1].http_url, json=request, headers=headers) as response:
            actual = await response.json()
            if recorded_id is None and exchange.tenant == "":
                # Only the result or the error was recorded.
                actual = {key: value for key, value in actual.items() if key in {"result", "error"}}
            return response.status, actual

    async def _post_raw(self, session: aiohttp.ClientSession, node: int, body: str) -> tuple[int, Any]:
        if body in BATCHES:
            call = {"jsonrpc": "2.0", "method": "eth_chainId", "params": []}
            body = json.dumps([{**call, "id": number} for number in range(BATCHES[body])])
        async with session.post(self._devnet.nodes[node - 1].http_url, data=body) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None

    def _headers(self, tenant: str | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._tokens[tenant]}"} if tenant else {}

    async def _socket(self, session: aiohttp.ClientSession, node: int, tenant: str | None) -> _Socket:
        if (node, tenant) not in self._sockets:
            url = self._devnet.nodes[node - 1].ws_url
            websocket = await session.ws_connect(url, headers=self._headers(tenant), max_msg_size=0)
            self._sockets[node, tenant] = _Socket(websocket)
        return self._sockets[node, tenant]
