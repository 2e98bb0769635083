"""A client of the daemon's HTTP API and of its status events; the command line is made with it.

    async with connect("http://127.0.0.1:8080") as daemon:
        change = await daemon.ask("add-member3", {"kind": "add_members", "privacy_group_id": group, "members": [key]})
        async for event in daemon.events(change_id=change.change_id, resume_id="0"):
            ...

Documents are the models of `orchestrator.api`; what a newer daemon says more is left out. A call that fails raises
`DaemonError`: `RefusedError` with the daemon's own words, `DaemonUnreachableError` when none answers.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import quote

import aiohttp
from pydantic import BaseModel, ValidationError

from orchestrator.api.documents.access import MadeTokenDocument, TokenDocument, TokenPage
from orchestrator.api.documents.changes import ChangeDetailDocument, ChangeDocument, ChangePage
from orchestrator.api.documents.forecasts import ForecastDocument, RemovalForecastDocument
from orchestrator.api.documents.groups import GroupDocument, GroupPage
from orchestrator.api.documents.names import NamesDocument
from orchestrator.api.documents.overview import AttentionDocument, NodesDocument
from orchestrator.api.documents.shared import DeadLetterPage, path_id
from orchestrator.api.documents.webhooks import TriedDocument, WebhookDocument, WebhooksDocument
from orchestrator.api.resources.audit_log import AuditPage

TIMEOUT_SECONDS: Final = 30.0
SILENCE_SECONDS: Final = 45.0
"""A stream that sends nothing for so long (it pings every 15 s) is taken for dead."""
MAX_LINE_BYTES: Final = 1 << 20

Document = TypeVar("Document", bound=BaseModel)


class DaemonError(Exception):
    """The daemon did not do what was asked; the message is for a person."""


class DaemonUnreachableError(DaemonError):
    """No daemon answers at the address."""


class UsageError(DaemonError):
    """What was asked for can't be meant; the daemon was not asked for it.

    Attributes:
        mistakes: What is wrong, a sentence each.
    """

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


class RefusedError(DaemonError):
    """The daemon answered with a problem.

    Attributes:
        status: HTTP status.
        field: The field that is wrong, if one is.
        conflicting: Whether the request is valid, but its id is known with another one.
    """

    def __init__(self, status: int, detail: str, field: str | None, conflicting: bool = False) -> None:
        super().__init__(detail)
        self.status = status
        self.field = field
        self.conflicting = conflicting


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """One status event from the stream.

    Attributes:
        resume_id: What to name to go on behind it.
        event_type: Its CloudEvents type; ``closed`` when the daemon ended the stream and says why.
        document: The CloudEvents JSON document.
    """

    resume_id: str
    event_type: str
    document: dict[str, Any]


class DaemonClient:
    """Talks to one daemon; use `connect`."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url.rstrip("/")

    async def ask(self, request_id: str, data: Mapping[str, object]) -> ChangeDocument:
        """Ask for a change; safe to repeat under the same id.

        Raises:
            RefusedError: The request is not valid, or its id is known with another body.
            DaemonUnreachableError: No daemon answers.
        """
        headers = {"Idempotency-Key": request_id}
        return _read(ChangeDocument, await self._call("POST", "/v1/changes", headers=headers, json=dict(data)))

    async def change(self, change_id: str) -> ChangeDetailDocument:
        """Return a change with its history."""
        return _read(ChangeDetailDocument, await self._call("GET", f"/v1/changes/{change_id}"))

    async def changes(
        self,
        *,
        group: str | None,
        states: Sequence[str],
        limit: int,
        before: str = "",
        prefix: str = "",
        count: bool = False,
    ) -> ChangePage:
        """Return the newest changes, from the one after `before` on; `prefix` is what their ids begin with."""
        query = [("limit", str(limit)), *(("state", state) for state in states)]
        query += [] if group is None else [("group", path_id(group))]
        query += [(name, value) for name, value in (("before", before), ("id", prefix)) if value]
        query += [("count", "true")] if count else []
        return _read(ChangePage, await self._call("GET", "/v1/changes", params=query))

    async def amend(self, change_id: str, verb: str, reason: str | None = None) -> ChangeDocument:
        """Retry or cancel a change, the latter with a reason where there is one."""
        said = {} if reason is None else {"json": {"reason": reason}}
        return _read(ChangeDocument, await self._call("POST", f"/v1/changes/{change_id}/{verb}", **said))

    async def groups(self, *, limit: int = 100, after: str = "", prefix: str = "") -> GroupPage:
        """Return known groups, from the one after `after` on; `prefix` is what their ids begin with."""
        query = [("limit", str(limit))]
        query += [(name, path_id(value)) for name, value in (("after", after), ("id", prefix)) if value]
        return _read(GroupPage, await self._call("GET", "/v1/groups", params=query))

    async def names(self) -> NamesDocument:
        """Return what nodes and groups are called; nothing where the daemon does not know of names."""
        try:
            return _read(NamesDocument, await self._call("GET", "/v1/names"))
        except RefusedError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return NamesDocument(nodes=[], groups=[])
            raise

    async def name_group(self, name: str, privacy_group_id: str) -> None:
        """Let a name stand for a group.

        Raises:
            RefusedError: It stands for another one.
        """
        await self._call("PUT", f"/v1/names/{name}", json={"privacy_group_id": privacy_group_id})

    async def group(self, privacy_group_id: str) -> GroupDocument:
        """Return a group and how its members stand."""
        return _read(GroupDocument, await self._call("GET", f"/v1/groups/{path_id(privacy_group_id)}"))

    async def forecast(self, privacy_group_id: str, members: Sequence[str]) -> ForecastDocument:
        """Return what is to be expected of adding members."""
        path = f"/v1/groups/{path_id(privacy_group_id)}/forecast"
        return _read(ForecastDocument, await self._call("GET", path, params=[("members", key) for key in members]))

    async def removal_forecast(self, privacy_group_id: str, members: Sequence[str]) -> RemovalForecastDocument:
        """Return whether members could be added again after a removal."""
        path = f"/v1/groups/{path_id(privacy_group_id)}/forecast/removal"
        query = [("members", key) for key in members]
        return _read(RemovalForecastDocument, await self._call("GET", path, params=query))

    async def dead_letters(self, limit: int) -> DeadLetterPage:
        """Return the oldest dead letters."""
        return _read(DeadLetterPage, await self._call("GET", "/v1/dead-letters", params={"limit": limit}))

    async def replay(self, letter_id: str) -> None:
        """Put a dead letter back among the triggers."""
        await self._call("POST", f"/v1/dead-letters/{letter_id}/replay")

    async def attention(self) -> AttentionDocument:
        """Return what needs a person, the most urgent first."""
        return _read(AttentionDocument, await self._call("GET", "/v1/attention"))

    async def nodes(self) -> NodesDocument:
        """Return how each configured node is."""
        return _read(NodesDocument, await self._call("GET", "/v1/nodes"))

    async def webhooks(self) -> WebhooksDocument:
        """Return how far each webhook is."""
        return _read(WebhooksDocument, await self._call("GET", "/v1/webhooks"))

    async def steer_webhook(self, name: str, verb: str, after: int | None = None) -> WebhookDocument:
        """Let a webhook ``pause``, ``resume``, or ``redrive`` everything behind an event.

        Args:
            name: The webhook.
            verb: What it shall do.
            after: With ``redrive``, the number of that event.
        """
        body: dict[str, Any] = {} if after is None else {"json": {"after": after}}
        return _read(WebhookDocument, await self._call("POST", f"/v1/webhooks/{quote(name, safe='')}/{verb}", **body))

    async def try_webhook(self, name: str) -> TriedDocument:
        """Post a test event to a webhook."""
        return _read(TriedDocument, await self._call("POST", f"/v1/webhooks/{quote(name, safe='')}/test"))

    async def tokens(self) -> TokenPage:
        """Return callers' tokens."""
        return _read(TokenPage, await self._call("GET", "/v1/tokens"))

    async def create_token(self, wanted: Mapping[str, object]) -> MadeTokenDocument:
        """Make a token."""
        return _read(MadeTokenDocument, await self._call("POST", "/v1/tokens", json=dict(wanted)))

    async def revoke_token(self, token_id: str) -> TokenDocument:
        """Let a token count no more."""
        return _read(TokenDocument, await self._call("POST", f"/v1/tokens/{quote(token_id, safe='')}/revoke"))

    async def audit_log(self, *, after: int = 0, limit: int = 100) -> AuditPage:
        """Return entries of the audit log behind the one of a number, in their order."""
        return _read(AuditPage, await self._call("GET", "/v1/audit-log", params={"after": after, "limit": limit}))

    async def events(
        self,
        *,
        resume_id: str | None = None,
        group: str | None = None,
        change_id: str | None = None,
        types: Sequence[str] = (),
    ) -> AsyncIterator[ReceivedEvent]:
        """Yield status events until the stream ends; after `DaemonUnreachableError` resume behind the last one."""
        query = [("type", name) for name in types]
        query += [] if group is None else [("group", path_id(group))]
        query += [] if change_id is None else [("change", change_id)]
        headers = {} if resume_id is None else {"Last-Event-ID": resume_id}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_SECONDS, sock_read=SILENCE_SECONDS)
        try:
            async with self._session.get(
                self._url + "/v1/events", params=query, headers=headers, timeout=timeout
            ) as response:
                if response.status != HTTPStatus.OK:
                    raise _refusal(response.status, await response.read())
                async for event in _parse_stream(response):
                    yield event
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise self._unreachable(error) from error

    async def _call(self, method: str, path: str, **options: Any) -> bytes:
        try:
            async with self._session.request(method, self._url + path, **options) as response:
                body = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise _refusal(response.status, body)
        return body

    def _unreachable(self, error: Exception) -> DaemonError:
        if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
            return UsageError([f"{self._url!r} is no address of a daemon: write it like http://127.0.0.1:8080"])
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
        refused = isinstance(cause, ConnectionError) and cause.errno
        why = os.strerror(refused) if refused else str(error) or type(error).__name__
        return DaemonUnreachableError(
            f"no daemon at {self._url} ({why}): start one (`orchestrator run`), or name it (--url, ORCHESTRATOR_URL)"
        )


@asynccontextmanager
async def connect(url: str, token: str | None = None) -> AsyncIterator[DaemonClient]:
    """Return a client of the daemon at an address or a socket (``unix:/path``), where `token` proves who we are."""
    path = url.removeprefix("unix:") if url.startswith("unix:") else None
    async with aiohttp.ClientSession(
        connector=None if path is None else aiohttp.UnixConnector(path),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
        headers={} if token is None else {"Authorization": f"Bearer {token}"},
        trust_env=False,
        read_bufsize=MAX_LINE_BYTES,
    ) as session:
        yield DaemonClient(session, url if path is None else "http://localhost")


@asynccontextmanager
async def following(
    client: DaemonClient, change_id: str, pause_seconds: float = 5.0
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Give a function that waits until something may have happened to a change: one of its events, or a pause is over.

    A stream that breaks is opened again behind the last event; meanwhile the pauses go on.
    """
    news = asyncio.Event()

    async def wait() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_seconds):
                await news.wait()
        news.clear()

    async with asyncio.TaskGroup() as tasks:
        listener = tasks.create_task(_listen(client, change_id, news, pause_seconds))
        try:
            yield wait
        finally:
            listener.cancel()


async def _listen(client: DaemonClient, change_id: str, news: asyncio.Event, pause_seconds: float) -> None:
    resume_id = "0"
    while True:
        try:
            async for event in client.events(resume_id=resume_id, change_id=change_id):
                resume_id = event.resume_id or resume_id
                news.set()
        except DaemonError:
            news.set()  # whoever reads the change meets the same trouble and tells it
        await asyncio.sleep(pause_seconds)


async def _parse_stream(response: aiohttp.ClientResponse) -> AsyncIterator[ReceivedEvent]:
    fields: dict[str, str] = {}
    async for line in response.content:
        text = line.decode("utf-8").rstrip("\r\n")
        if text:
            name, _, value = text.partition(": ")
            fields[name] = value
            continue
        if "data" in fields:
            yield ReceivedEvent(
                resume_id=fields.get("id", ""), event_type=fields.get("event", ""), document=json.loads(fields["data"])
            )
        fields = {}


def _refusal(status: int, body: bytes) -> RefusedError:
    try:
        problem = json.loads(body)
        conflicting = str(problem.get("type")).endswith(":conflicting-request")
        return RefusedError(status, str(problem["detail"]), problem.get("field"), conflicting)
    except (ValueError, KeyError, TypeError, AttributeError):
        return RefusedError(status, f"the answer was HTTP {status}; is this the daemon's address?", None)


def _read(model: type[Document], body: bytes) -> Document:
    try:
        return model.model_validate_json(body, extra="ignore")
    except ValidationError as error:
        raise DaemonError(f"the daemon's answer is not understood; is it of another version? {error}") from error
