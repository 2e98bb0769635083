"""The HTTP interface of one enclave, as Besu speaks to Orion and Tessera (docs/besu.md#enclave-interface)."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, NoReturn

from aiohttp import web
from eth_hash.auto import keccak

from orchestrator.devnet.enclaves.enclave import Condition, Enclave, EnclaveDownError, EnclaveNetwork
from orchestrator.devnet.enclaves.kinds import SendRefusedError
from orchestrator.devnet.enclaves.wire import (
    EnclaveReply,
    InvalidPayloadError,
    failed,
    not_found,
    payload_of,
    payload_text,
    refused,
)
from orchestrator.devnet.encoding import from_base64, to_base64
from orchestrator.devnet.servers.gateway import parse_json
from orchestrator.devnet.servers.kept_port import KeptPort

MAX_BODY_BYTES: Final = 512 * 1024 * 1024
_LOOK_SECONDS: Final = 0.05
"""How often a request that hangs looks whether the enclave goes on."""


class EnclaveServer:
    """One enclave's port: of all of its servers, where it has several.

    A killed enclave's port refuses connections; a frozen one takes them and answers when it goes on.

    Args:
        enclaves: all enclaves.
        enclave: the one that answers here.
        host: to listen on.
        port: to listen on; 0 for a free one.
        advance: called before each answer: brings the network to the present time.
    """

    def __init__(
        self,
        enclaves: EnclaveNetwork,
        enclave: Enclave,
        *,
        host: str,
        port: int,
        advance: Callable[[], None],
    ) -> None:
        self._port = KeptPort(host, port)
        self._enclaves = enclaves
        self._enclave = enclave
        self._host = host
        self._advance = advance
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """That it listens on, once it was opened."""
        return self._port.number

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self._host}:{self.port}"

    async def open(self) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.router.add_get("/upcheck", self._upcheck)
        application.router.add_get("/partyinfo/keys", self._party_keys)
        application.router.add_post("/{method:[A-Za-z]+}", self._post)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2, handle_signals=False)
        await self._runner.setup()
        await web.SockSite(self._runner, await self._port.bound()).start()

    async def close(self) -> None:
        """Close the port and every connection; it stays its own."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def end(self) -> None:
        """Close, and let others have the port."""
        await self.close()
        self._port.give_back()

    async def follow(self) -> None:
        """Close the port of an enclave that was killed, and open it when it is back."""
        if self._enclave.condition is Condition.KILLED:
            await self.close()
        elif self._runner is None:
            await self.open()

    async def _upcheck(self, request: web.Request) -> web.Response:
        return await self._when_well(request) or web.Response(text="I'm up!")

    async def _party_keys(self, request: web.Request) -> web.Response:
        trouble = await self._when_well(request)
        if trouble is not None:
            return trouble
        if self._enclave.kind.writes_json:
            return web.Response(status=404, text="Not Found")
        return web.json_response({"keys": [{"key": key} for key, _ in self._enclaves.known_keys(self._enclave)]})

    async def _when_well(self, request: web.Request) -> web.Response | None:
        """Wait while the enclave is frozen, or slow; return what it answers instead while it fails."""
        while self._enclave.condition is Condition.FROZEN:  # noqa: ASYNC110 - whoever freezes it tells nobody
            await asyncio.sleep(_LOOK_SECONDS)
        await asyncio.sleep(self._enclave.slow_seconds)
        self._advance()
        if self._enclave.condition is Condition.FAILING:
            return _written(failed(self._enclave.kind))
        if not self._enclave.up:
            _cut(request)
        return None

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.read()
        trouble = await self._when_well(request)
        if trouble is not None:
            return trouble
        try:
            asked = parse_json(body)
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            return _written(EnclaveReply(400, {"error": "InvalidPayload"}))
        match request.match_info["method"]:
            case "send":
                return _written(await self._send(asked))
            case "receive":
                return _written(self._received(asked))
            case "findPrivacyGroup":
                return _written(EnclaveReply(200, []))
            case "retrievePrivacyGroup" | "deletePrivacyGroup":
                return _written(EnclaveReply(404, {"error": "PrivacyGroupNotFound"}))
        return web.Response(status=404, text="Not Found")

    async def _send(self, asked: dict[str, Any]) -> EnclaveReply:
        recipients = asked.get("to")
        sender_key = asked.get("from", self._enclave.keys[0])
        if not isinstance(recipients, list) or not all(isinstance(key, str) for key in [sender_key, *recipients]):
            return EnclaveReply(400, {"error": "InvalidPayload"})
        try:
            payload = payload_of(asked.get("payload"))
        except InvalidPayloadError:
            return EnclaveReply(400, {"error": "InvalidPayload"})
        try:
            key, seconds = self._enclaves.send(self._enclave, sender_key, recipients, payload)
        except SendRefusedError as error:
            await asyncio.sleep(error.seconds)
            return refused(self._enclave.kind, error)
        except EnclaveDownError as error:
            # Besu has given up by then.
            await asyncio.sleep(error.seconds)
            return failed(self._enclave.kind)
        await asyncio.sleep(max(seconds - self._enclave.slow_seconds, 0.0))
        return EnclaveReply(200, {"key": to_base64(key)})

    def _received(self, asked: dict[str, Any]) -> EnclaveReply:
        text, reader = asked.get("key"), asked.get("to")
        key = from_base64(text) if isinstance(text, str) else None
        if key is None or not isinstance(reader, str | None):
            return EnclaveReply(400, {"error": "InvalidPayload"})
        payload = self._enclaves.receive(self._enclave, key, reader or None)
        if payload is None:
            return not_found(self._enclave.kind, str(text))
        sender_key, readers = self._enclaves.sender_of(key)
        legacy_group = to_base64(keccak("".join(readers).encode()))
        return EnclaveReply(
            200, {"payload": payload_text(payload), "senderKey": sender_key, "privacyGroupId": legacy_group}
        )


def _written(reply: EnclaveReply) -> web.Response:
    if isinstance(reply.body, str):
        return web.Response(status=reply.status, text=reply.body)
    return web.json_response(reply.body, status=reply.status)


def _cut(request: web.Request) -> NoReturn:
    """End a connection at once, and with it the handling of the request."""
    if request.transport is not None:
        request.transport.abort()
    raise ConnectionResetError("the connection was ended on purpose")
