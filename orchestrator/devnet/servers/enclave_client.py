"""A node asks its enclave over HTTP, as Besu does: each request has its limit of time."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any, Final

import aiohttp

from orchestrator.devnet.enclaves.enclave import EnclaveDownError, Payload
from orchestrator.devnet.enclaves.kinds import SendRefusedError
from orchestrator.devnet.enclaves.link import (
    AGAIN_SECONDS,
    EnclaveAnswer,
    EnclaveLink,
    EnclaveRequest,
    ReceivePayload,
    SendPayload,
)
from orchestrator.devnet.enclaves.wire import InvalidPayloadError, payload_of, payload_text
from orchestrator.devnet.encoding import from_base64, to_base64

_JSON: Final = "application/json"
_ORION: Final = "application/vnd.orion.v1+json"


class AskedEnclave:
    """Asks an enclave at the address that a node's link has at the moment.

    Args:
        session: an HTTP session.
        wait_seconds: what a request may take.
    """

    def __init__(self, session: aiohttp.ClientSession, wait_seconds: float) -> None:
        self._session = session
        self._wait_seconds = wait_seconds
        self.link: EnclaveLink | None = None

    async def ask(self, request: EnclaveRequest) -> EnclaveAnswer:
        """Return what the enclave answers.

        Raises:
            EnclaveDownError, SendRefusedError: as the enclave answers, or doesn't.
        """
        if isinstance(request, SendPayload):
            body = {
                "payload": payload_text(request.payload),
                "from": request.sender_key,
                "to": list(request.recipients),
            }
            status, answer = await self._post("/send", _JSON, body)
            return _sent_key(status, answer)
        status, answer = await self._post("/receive", _ORION, {"key": to_base64(request.payload_key), "to": None})
        return _received(status, answer)

    async def _post(self, path: str, content_type: str, body: dict[str, Any]) -> tuple[int, Any]:
        if self.link is None:
            raise EnclaveDownError("there is no enclave to ask")
        try:
            async with self._session.post(
                self.link.url.rstrip("/") + path,
                data=json.dumps(body),
                headers={"Content-Type": content_type},
                timeout=aiohttp.ClientTimeout(total=self._wait_seconds),
            ) as response:
                text = await response.text()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise EnclaveDownError(f"the enclave does not answer ({type(error).__name__})") from error
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, {"error": text}


def _received(status: int, answer: Any) -> Payload | None:
    if 400 <= status < 500:
        return None
    try:
        return payload_of(answer.get("payload"))
    except (InvalidPayloadError, AttributeError) as error:
        raise EnclaveDownError(f"the enclave answers HTTP status {status} and no payload") from error


def _sent_key(status: int, answer: Any) -> bytes:
    said = answer if isinstance(answer, dict) else {}
    key = from_base64(said["key"]) if status == 200 and isinstance(said.get("key"), str) else None
    if key is not None:
        return key
    raise SendRefusedError(status, str(said.get("error")))


async def fetch_payloads(link: EnclaveLink, wanted: asyncio.Event, on_answer: Callable[[], None]) -> None:
    """Ask for what a node waits for, one key after the other, for ever.

    Args:
        link: the node's.
        wanted: set when there is something to ask.
        on_answer: called after each answer.
    """
    while True:
        await wanted.wait()
        wanted.clear()
        for asked in link.wanted:
            try:
                answer = await link.client.ask(ReceivePayload(asked.key))
            except EnclaveDownError:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN_SECONDS):
                        await wanted.wait()
                wanted.set()
                break
            link.answered(asked, None if isinstance(answer, bytes) else answer)
        on_answer()
