"""JSON-RPC over HTTP: one pooled session for all nodes, batches, bounded answers, retries of reads."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Final

import aiohttp
import stamina

from orchestrator.besu.codec.json_rpc import (
    MAX_ANSWER_BYTES,
    MAX_BATCH,
    Answer,
    AnswerTooLargeError,
    Call,
    decode_answer,
    decode_batch,
    encode_batch,
    encode_request,
    result_of,
)
from orchestrator.besu.credential_errors import CredentialsRefusedError
from orchestrator.besu.errors import (
    BatchRefusedError,
    BesuError,
    ConnectionLostError,
    HostNotAllowedError,
    HttpStatusError,
    NodeTimeoutError,
    NodeUnreachableError,
)
from orchestrator.besu.transport.batch_limit import BatchLimit
from orchestrator.besu.transport.concurrency_limit import ConcurrencyLimit
from orchestrator.besu.transport.credential_use import PROBE, Asking, ask_proven
from orchestrator.besu.transport.credentials import Credential
from orchestrator.besu.transport.gathered_reads import MOST_CALLS, ReadGatherer
from orchestrator.besu.transport.large_answers import in_turn
from orchestrator.besu.transport.network_words import broken_words, system_words
from orchestrator.besu.transport.sending_body import SendingBody
from orchestrator.engine.runtime.tracing import asking
from orchestrator.outside_text import presentable

DEFAULT_TIMEOUT_SECONDS: Final = 10.0
_READ_ATTEMPTS: Final = 3
_WRITE_WORDS: Final = ("send", "distribute", "create", "delete", "add", "remove", "set")
_JSON: Final = "application/json"
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_MOST_BYTES: Final = 1024
_MOST_CHARACTERS: Final = 120
_TOO_MANY: Final = 429
_HOST_REFUSED: Final = b"Host not authorized"
_BATCH_STATUSES: Final = (400, 413)
"""What a gateway answers, without JSON-RPC, to a batch that it can't read or that is too large for it."""
_SMALLEST_HALVED: Final = 8
"""A batch of fewer reads whose answer is too large is not asked in halves: it is no honest answer."""


@dataclass(slots=True)
class CallCounts:
    """How much a node was asked, since the start.

    Attributes:
        calls: JSON-RPC requests.
        http_requests: HTTP requests, each with one call or a batch.
        failures: HTTP requests without an answer.
        in_flight: HTTP requests under way now.
    """

    calls: int = 0
    http_requests: int = 0
    failures: int = 0
    in_flight: int = 0


def open_session(*, max_connections: int = 500) -> aiohttp.ClientSession:
    """Return a session for any number of nodes; use it as an asynchronous context manager.

    Args:
        max_connections: connections to all nodes together.
    """
    connector = aiohttp.TCPConnector(limit=max_connections, ttl_dns_cache=30)
    # Environment proxies are not trusted: nodes are internal, and a proxy would see the tokens.
    # No cookies: what a gateway before one node sets is nothing to another node, and could be its session.
    return aiohttp.ClientSession(
        connector=connector, trust_env=False, auto_decompress=True, cookie_jar=aiohttp.DummyCookieJar()
    )


class HttpNode:
    """One node's JSON-RPC over HTTP.

    Args:
        session: shared with the other nodes, from ``open_session``.
        url: "http://…" or "https://…".
        credential: sent with every request; a session that it is used with serves no other node.
        tls: context for "https", such as one that trusts a private authority; None for the system's.
        max_in_flight: reads of this node at a time, at most, and as many sends: fewer while it is busy. A send takes
            seconds when a long history is bundled with it, and keeps no read waiting. Besu takes 80 connections.
        timeout_seconds: for each request, unless a call says otherwise; waiting for a slot is not counted.
        gather_seconds: how long a read waits for others to travel with; 0 sends each by itself.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        credential: Credential | None = None,
        tls: ssl.SSLContext | None = None,
        max_in_flight: int = 32,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        gather_seconds: float = 0.0,
    ) -> None:
        self.url = url
        self.counts = CallCounts()
        self._session = session
        self._credential = credential
        self._tls = tls
        self._read_limit = ConcurrencyLimit(max_in_flight, by_latency=True)
        self._send_limit = ConcurrencyLimit(max_in_flight, by_latency=False)
        self._timeout_seconds = timeout_seconds
        self._ids = count(1)
        self._batches = BatchLimit()
        self._gatherer = ReadGatherer(self._ask_together, gather_seconds) if gather_seconds > 0 else None

    def __repr__(self) -> str:
        return f"HttpNode({self.url!r})"

    async def call(self, method: str, *params: Any, timeout: float | None = None) -> Any:
        """Ask the node and return the result as JSON.

        Reads are tried again when no answer comes; what could change the chain never is.

        Args:
            method: JSON-RPC method.
            params: its parameters, ready for JSON.
            timeout: seconds for each try; None for the node's own.

        Raises:
            RpcError: the node answered with an error.
            TransportError: no answer came.
            ProtocolError: the answer is no JSON-RPC.
            CredentialError: what proves us to the node can't be had.
            LeaseLostError: it sends something, for a lane that is not ours any more: nothing left.
        """
        with asking(method):
            if self._gatherer is not None and timeout is None and is_read(method):
                (answer,) = await self._gatherer.read([Call(method, params)])
                return result_of(answer)
            return result_of(await self._ask_alone(Call(method, params), timeout))

    @property
    def most_in_batch(self) -> int:
        """How many requests travel together, as far as the node was found to take them; 1: it refuses batches."""
        return self._batches.most

    async def _ask_alone(self, call: Call, timeout: float | None) -> Answer:
        (answer,) = await self._proven(partial(self._ask_alone_with, call, timeout))
        return answer

    async def _proven(self, ask: Asking) -> list[Answer]:
        return await ask_proven(self._credential, self.url, ask, partial(self._ask_alone_with, PROBE, None))

    async def _ask_alone_with(self, call: Call, timeout: float | None, shown: Mapping[str, str]) -> list[Answer]:
        request_id = next(self._ids)
        body = encode_request(request_id, call)
        answered = await self._post(body, shown, calls=1, retry=is_read(call.method), timeout=timeout)
        return await in_turn([decode_answer(answered, request_id)], answered)

    async def _ask_together(self, calls: Sequence[Call]) -> Sequence[Answer]:
        return await self._ask_all(calls, None)

    async def batch(self, calls: Sequence[Call], *, timeout: float | None = None) -> list[Answer]:
        """Ask many things in as few HTTP requests as the node takes; return the answers in order, errors among them.

        Args:
            calls: any number; they travel ``MAX_BATCH`` at a time, one batch after the other. Reads of a node that
                refuses batches are asked in smaller ones, down to one by one.
            timeout: seconds for each HTTP request; None for the node's own.

        Raises:
            TransportError: no answer came to a batch.
            BatchRefusedError: a batch that is not of reads alone was refused.
            ProtocolError: an answer is no JSON-RPC.
            CredentialError: what proves us to the node can't be had.
        """
        gathered = self._gatherer is not None and timeout is None and 0 < len(calls) <= MOST_CALLS
        with asking(", ".join(dict.fromkeys(call.method for call in calls))):
            if self._gatherer is not None and gathered and all(is_read(call.method) for call in calls):
                return list(await self._gatherer.read(calls))
            return await self._ask_all(calls, timeout)

    async def _ask_all(self, calls: Sequence[Call], timeout: float | None) -> list[Answer]:
        answers: list[Answer] = []
        while len(answers) < len(calls):
            most = self._batches.most
            chunk = calls[len(answers) : len(answers) + (most if most > 1 else MAX_BATCH)]
            if most == 1 or len(chunk) == 1:
                answers += await self._ask_one_by_one(chunk, timeout)
                continue
            try:
                answers += await self._ask_chunk(chunk, timeout)
            except BatchRefusedError:
                if not all(is_read(call.method) for call in chunk):
                    raise
                self._batches.refuse(len(chunk))
            else:
                self._batches.answer(len(chunk))
        return answers

    async def _ask_chunk(self, calls: Sequence[Call], timeout: float | None) -> list[Answer]:
        return await self._proven(partial(self._ask_chunk_with, calls, timeout))

    async def _ask_chunk_with(
        self, calls: Sequence[Call], timeout: float | None, shown: Mapping[str, str]
    ) -> list[Answer]:
        first_id = next(self._ids)
        for _ in calls[1:]:
            next(self._ids)
        retry = all(is_read(call.method) for call in calls)
        body = encode_batch(first_id, calls)
        try:
            answered = await self._post(body, shown, calls=len(calls), retry=retry, timeout=timeout)
            return await in_turn(decode_batch(answered, first_id, len(calls)), answered)
        except HttpStatusError as error:
            if error.status in _BATCH_STATUSES:
                raise BatchRefusedError(f"a batch of {len(calls)} requests: {error}") from error
            raise
        except AnswerTooLargeError as error:
            if retry and len(calls) >= _SMALLEST_HALVED:
                raise BatchRefusedError(f"a batch of {len(calls)} requests: {error}") from error
            raise

    async def _ask_one_by_one(self, calls: Sequence[Call], timeout: float | None) -> list[Answer]:
        # As many at a time as the node gets slots; the first failure is raised when all have ended.
        asked = await asyncio.gather(*(self._ask_alone(call, timeout) for call in calls), return_exceptions=True)
        answers: list[Answer] = []
        for answer in asked:
            if isinstance(answer, BaseException):
                raise answer
            answers.append(answer)
            self._batches.answer(1)
        return answers

    async def _post(
        self, body: bytes, shown: Mapping[str, str], *, calls: int, retry: bool, timeout: float | None
    ) -> bytes:
        seconds = self._timeout_seconds if timeout is None else timeout
        headers = {"Content-Type": _JSON, **shown}
        if not retry:
            return await self._post_once(self._send_limit, SendingBody(body), headers, calls, seconds)
        async for attempt in stamina.retry_context(
            on=_may_pass, attempts=_READ_ATTEMPTS, timeout=None, wait_initial=0.1, wait_jitter=0.1
        ):
            with attempt:
                return await self._post_once(self._read_limit, aiohttp.BytesPayload(body), headers, calls, seconds)
        raise AssertionError("a retry ends with an answer or an error")

    async def _post_once(
        self, limit: ConcurrencyLimit, body: aiohttp.BytesPayload, headers: dict[str, str], calls: int, seconds: float
    ) -> bytes:
        async with limit.slot():
            self.counts.calls += calls
            self.counts.http_requests += 1
            self.counts.in_flight += 1
            try:
                return await self._exchange(body, headers, seconds)
            except BesuError:
                self.counts.failures += 1
                raise
            finally:
                self.counts.in_flight -= 1

    async def _exchange(self, body: aiohttp.BytesPayload, headers: dict[str, str], seconds: float) -> bytes:
        try:
            async with (
                asyncio.timeout(seconds),
                self._session.post(
                    self.url, data=body, headers=headers, ssl=self._tls or True, allow_redirects=False
                ) as response,
            ):
                answered = await self._read(response)
                if response.status == _FORBIDDEN and _HOST_REFUSED in answered:
                    raise HostNotAllowedError(
                        f"{self.url} takes no requests under this host name; add it to the node's --host-allowlist"
                    )
                # Besu answers errors of the request with 400 and 401 and says in JSON what they are.
                # A gateway's JSON is none of Besu's: that has a version in it.
                refused = response.status >= 400 and b'"jsonrpc"' not in answered
                if (
                    refused
                    or response.status >= 500
                    or response.status == _TOO_MANY
                    or answered.lstrip()[:1] not in {b"{", b"["}
                ):
                    words = presentable(answered[:_MOST_BYTES].decode("utf-8", "replace"), _MOST_CHARACTERS).strip()
                    said = f"{self.url} answered HTTP {response.status} without JSON-RPC ({words or 'nothing'}); "
                    if response.status == _UNAUTHORIZED:
                        shown = "nothing" if self._credential is None else repr(self._credential)
                        raise CredentialsRefusedError(f"{said}what stands before the node was shown {shown}")
                    what_to_do = "check that it is a Besu node's address and what stands before it"
                    raise HttpStatusError(said + what_to_do, status=response.status)
                return answered
        except TimeoutError as error:
            raise NodeTimeoutError(f"{self.url} did not answer within {seconds:g} s") from error
        except aiohttp.ClientConnectorError as error:
            raise NodeUnreachableError(
                f"no connection to {self.url}: {system_words(error.os_error)}; is the node running?"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(body, SendingBody) and body.refused is not None:
                raise body.refused from error
            raise ConnectionLostError(f"the connection to {self.url} broke: {broken_words(error)}") from error

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_chunked(1 << 16):
            size += len(part)
            if size > MAX_ANSWER_BYTES:
                raise AnswerTooLargeError(
                    f"{self.url} answers more than {MAX_ANSWER_BYTES} bytes; ask for less at once"
                )
            parts.append(part)
        return b"".join(parts)


def _may_pass(error: Exception) -> bool:
    """Whether the same read may be answered in a moment.

    A time-out is not tried again: the caller's patience is over, and a node that is busy gets no better by it. Nor is a
    request that was refused for what it is (HTTP 4xx), unless for there being too many.
    """
    if isinstance(error, HttpStatusError):
        return not 400 <= error.status < 500 or error.status == _TOO_MANY
    return isinstance(error, NodeUnreachableError | ConnectionLostError)


def is_read(method: str) -> bool:
    """Whether asking twice does no more than asking once, told by the method's name; devnet methods never are reads."""
    group, _, name = method.partition("_")
    return group != "devnet" and not name.startswith(_WRITE_WORDS)
