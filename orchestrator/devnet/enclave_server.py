"""The HTTP interface of one enclave, as Besu speaks to Orion and Tessera (docs/besu.md#enclave-interface)."""

import socket
from typing import Any, Final, NoReturn

from aiohttp import web
from eth_hash.auto import keccak

from orchestrator.devnet.enclave import (
    Enclave,
    EnclaveDownError,
    EnclaveNetwork,
    NotOurKeyError,
    UnknownRecipientError,
)
from orchestrator.devnet.enclave_wire import (
    EnclaveReply,
    InvalidPayloadError,
    foreign_sender,
    not_found,
    payload_of,
    payload_text,
    unknown_recipient,
    unpropagated,
)
from orchestrator.devnet.encoding import from_base64, to_base64
from orchestrator.devnet.gateway import parse_json

MAX_BODY_BYTES: Final = 512 * 1024 * 1024


class EnclaveServer:
    """One enclave's port; while the enclave is down its connections end without an answer.

    Attributes:
        port: that it listens on, once it was opened.
    """

    def __init__(self, enclaves: EnclaveNetwork, enclave: Enclave, *, kind: str, host: str, port: int) -> None:
        self.port = port
        self._enclaves = enclaves
        self._enclave = enclave
        self._kind = kind
        self._host = host
        self._runner: web.AppRunner | None = None

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
        application.router.add_post("/{method:[A-Za-z]+}", self._post)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2, handle_signals=False)
        await self._runner.setup()
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((self._host, self.port))
        except OSError:
            bound.close()
            raise
        await web.SockSite(self._runner, bound).start()
        self.port = int(bound.getsockname()[1])

    async def close(self) -> None:
        """Close the port and every connection."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _upcheck(self, request: web.Request) -> web.Response:
        if not self._enclave.up:
            _cut(request)
        return web.Response(text="I'm up!")

    async def _post(self, request: web.Request) -> web.Response:
        if not self._enclave.up:
            _cut(request)
        try:
            asked = parse_json(await request.read())
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            return _written(EnclaveReply(400, {"error": "InvalidPayload"}))
        match request.match_info["method"]:
            case "send":
                return _written(self._send(asked))
            case "receive":
                return _written(self._received(asked))
            case "findPrivacyGroup":
                return _written(EnclaveReply(200, []))
            case "retrievePrivacyGroup" | "deletePrivacyGroup":
                return _written(EnclaveReply(404, {"error": "PrivacyGroupNotFound"}))
        return web.Response(status=404, text="Not Found")

    def _send(self, asked: dict[str, Any]) -> EnclaveReply:
        recipients = asked.get("to")
        sender_key = asked.get("from", self._enclave.keys[0])
        if not isinstance(recipients, list) or not all(isinstance(key, str) for key in [sender_key, *recipients]):
            return EnclaveReply(400, {"error": "InvalidPayload"})
        try:
            payload = payload_of(asked.get("payload"))
        except InvalidPayloadError:
            return EnclaveReply(400, {"error": "InvalidPayload"})
        try:
            key = self._enclaves.send(self._enclave, sender_key, recipients, payload)
        except UnknownRecipientError as error:
            return unknown_recipient(self._kind, str(error))
        except NotOurKeyError:
            return foreign_sender(self._kind)
        except EnclaveDownError:
            return unpropagated(self._kind)
        return EnclaveReply(200, {"key": to_base64(key)})

    def _received(self, asked: dict[str, Any]) -> EnclaveReply:
        text, reader = asked.get("key"), asked.get("to")
        key = from_base64(text) if isinstance(text, str) else None
        if key is None or not isinstance(reader, str | None):
            return EnclaveReply(400, {"error": "InvalidPayload"})
        payload = self._enclaves.receive(self._enclave, key, reader or None)
        if payload is None:
            return not_found(self._kind, str(text))
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
