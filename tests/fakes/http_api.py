"""The parts that the HTTP API talks to, in memory: small, and told by the test what to answer."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from orchestrator.access.audit import FIRST_HASH, AuditEntry, ChainedEntry, chained
from orchestrator.access.callers import EVERYTHING, Caller, Role, Scope
from orchestrator.access.tokens import ID_BYTES, TokenRecord, hash_of, split_token, token_text
from orchestrator.api.application import make_api
from orchestrator.api.callers.authentication import AccessRules, Authentication
from orchestrator.api.callers.web_tokens import WebTokens
from orchestrator.api.ports.changes import ApiServices, BuriedMessage, Check, GroupListing, GroupStanding
from orchestrator.api.ports.forecasts import Foreseen, RemovalForeseen
from orchestrator.api.ports.overview import Attention, NodeStanding
from orchestrator.api.web.connections import Connections
from orchestrator.engine.archives.whole_changes import ChangeVersion, WholeChange
from orchestrator.engine.intake.requests import ChangeRequest
from orchestrator.engine.ports.queues import FeedClosedError
from orchestrator.engine.ports.records import EVERY_CHANGE, AdditionTime, ChangeFilter, HistoryEntry
from orchestrator.engine.ports.store import Acceptance, Amendment, LeaseLostError
from orchestrator.events.webhooks.control import WebhookStanding
from orchestrator.membership.attempt import Action, Attempt, AttemptStatus
from orchestrator.membership.errors import ConflictingRequestError
from orchestrator.membership.forecast.durations import Durations
from orchestrator.membership.forecast.returns import Returns
from orchestrator.membership.forecast.verdict import Forecast
from orchestrator.membership.model import Change, Effect, GroupView, Kind, MemberProgress, State, Verdict
from orchestrator.membership.news.attention import Need
from orchestrator.membership.reasons.table import Reason
from tests.fakes.changes import a_marker
from tests.servers.side_loop import in_a_thread

NOW = datetime(2024, 11, 5, 12, 0, tzinfo=UTC)
NEVER = datetime(2099, 1, 1, tzinfo=UTC)
GROUP = "kAbelwaVW7okoEn1+okO+AbA4Hhz/7DaCOWVQz9nx5M="
GROUP_IN_PATH = "kAbelwaVW7okoEn1-okO-AbA4Hhz_7DaCOWVQz9nx5M"
ACCOUNT = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"
KEYS = (
    "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo=",
    "QfeDAys9MPDs2XHExtc84jKGHxZg/aj52DTh0vtA3Xc=",
    "1iTZde/ndBHvzhcl7V68x44Vx7pl8nwx9LqnM/AfJUg=",
)
RAW = b"\xf8signed bytes that nobody shall see"


@dataclass
class FakeRecord:
    """Changes in a dictionary, newest last; also the intake.

    What is `coming` happens to a change one entry (fields and values) each time that it is read.
    """

    stored: dict[str, Change] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    steps: list[HistoryEntry] = field(default_factory=list)
    failure: Exception | None = None
    held: set[str] = field(default_factory=set)
    coming: list[dict[str, Any]] = field(default_factory=list)
    on_step: Callable[[], None] = lambda: None
    audited: list[AuditEntry] = field(default_factory=list)
    times: dict[str, tuple[AdditionTime, ...]] = field(default_factory=dict)

    async def submit(self, request: ChangeRequest, caller: Caller) -> Acceptance:
        """Store a request as a queued change."""
        self._fail()
        caller.scope.require(request.kind, request.privacy_group_id, request.account or ACCOUNT)
        change_id = f"change-{len(self.stored) + 1}"
        for change in self.stored.values():
            if change.request_id == request.request_id:
                if self.hashes[request.request_id] != request.body_hash:
                    raise ConflictingRequestError(f"request {request.request_id} came before with another body.")
                return Acceptance(change=change, duplicate=True)
        change = make_change(
            change_id,
            request_id=request.request_id,
            kind=request.kind,
            privacy_group_id=request.privacy_group_id or GROUP,
            members=request.members,
            account=request.account or ACCOUNT,
        )
        self.stored[change_id] = change
        self.hashes[request.request_id] = request.body_hash
        return Acceptance(change=change, duplicate=False)

    async def amend(self, change_id: str, amendment: Amendment, audit: AuditEntry | None = None) -> Change:
        """Apply an operator's request."""
        self._fail()
        if change_id in self.held:
            raise LeaseLostError("held")
        record = amendment(self.stored[change_id])
        self.audited += [] if audit is None else [audit]
        for change in record.changes:
            self.stored[change.change_id] = change
        self.steps += record.history
        return self.stored[change_id]

    async def change(self, change_id: str) -> Change | None:
        """Return a change, after the next of what is coming happened to it."""
        self._fail()
        if self.coming and change_id in self.stored:
            self.stored[change_id] = replace(self.stored[change_id], **self.coming.pop(0))
            self.on_step()
        return self.stored.get(change_id)

    async def changes(
        self, wanted: ChangeFilter = EVERY_CHANGE, *, limit: int = 100, before: str = ""
    ) -> tuple[Change, ...]:
        """Return changes, newest first."""
        self._fail()
        newest = list(reversed(self.stored.values()))
        if before:
            ids = [change.change_id for change in newest]
            newest = newest[ids.index(before) + 1 :] if before in ids else []
        found = [
            change
            for change in newest
            if wanted.privacy_group_id in (None, change.privacy_group_id)
            and (wanted.within is None or change.privacy_group_id in wanted.within)
            and (not wanted.states or change.state in wanted.states)
            and change.change_id.startswith(wanted.prefix)
            and wanted.request_id in ("", change.request_id)
        ]
        return tuple(found[:limit])

    async def count(self, wanted: ChangeFilter = EVERY_CHANGE) -> int:
        """Return how many there are."""
        return len(await self.changes(wanted, limit=1_000_000))

    async def groups_asked_for(self, *, limit: int = 10_000) -> tuple[str, ...]:
        """Return the groups of all changes, the newest first."""
        newest = (change.privacy_group_id for change in reversed(self.stored.values()))
        return tuple(dict.fromkeys(newest))[:limit]

    async def groups(self, *, limit: int = 10_000) -> tuple[str, ...]:
        """Return the groups of succeeded changes."""
        done = (change.privacy_group_id for change in self.stored.values() if change.state is State.SUCCEEDED)
        return tuple(dict.fromkeys(done))[:limit]

    async def version(self, change_id: str) -> ChangeVersion | None:
        """Return a version of the change, after the next of what is coming happened to it."""
        await self.change(change_id)
        whole = await self.whole(change_id)
        return None if whole is None else whole.version

    async def whole(self, change_id: str) -> WholeChange | None:
        """Return a change with its steps, its attempt if it has one, and its times."""
        self._fail()
        change = self.stored.get(change_id)
        if change is None:
            return None
        history = tuple(entry for entry in self.steps if entry.change_id == change_id)
        times = self.times.get(change_id, ())
        return WholeChange(
            version=ChangeVersion(privacy_group_id=change.privacy_group_id, mark=repr((change, history, times))),
            change=change,
            history=history,
            attempts=() if change.attempt is None else (change.attempt,),
            times=times,
        )

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


@dataclass
class FakeGroups:
    """Groups in a dictionary."""

    known: dict[str, GroupStanding] = field(default_factory=dict)

    async def groups(
        self, *, limit: int, after: str = "", prefix: str = "", within: Collection[str] | None = None
    ) -> GroupListing:
        """Return a page of them."""
        ids = [group for group in self.known if group.startswith(prefix) and (within is None or group in within)]
        if after and after not in ids:
            raise KeyError(after)
        first = ids.index(after) + 1 if after else 0
        page = ids[first : first + limit]
        return GroupListing(
            groups=tuple(self.known[group] for group in page),
            following=page[-1] if first + limit < len(ids) else None,
            total=len(ids),
        )

    async def group(self, privacy_group_id: str) -> GroupStanding | None:
        """Return one."""
        return self.known.get(privacy_group_id)


@dataclass
class FakeNames:
    """Names in a dictionary."""

    given: dict[str, str] = field(default_factory=dict)

    async def names(self) -> dict[str, str]:
        """Return all."""
        return self.given

    async def give(self, name: str, privacy_group_id: str) -> str:
        """Give a name that is free."""
        return self.given.setdefault(name, privacy_group_id)


@dataclass
class FakeForecasts:
    """One forecast for whatever is asked; an error when one is set."""

    found: Forecast | None = None
    preflight: Reason | None = None
    durations: Durations | None = None
    returns: Returns = field(default_factory=Returns)
    leaving: RemovalForeseen | None = None
    failure: Exception | None = None
    asked: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    async def forecast(self, privacy_group_id: str, members: Sequence[str]) -> Foreseen | None:
        """Return it."""
        self.asked.append((privacy_group_id, tuple(members)))
        if self.failure is not None:
            raise self.failure
        if self.found is None:
            return None
        return Foreseen(forecast=self.found, preflight=self.preflight, durations=self.durations, returns=self.returns)

    async def removal(self, privacy_group_id: str, members: Sequence[str]) -> RemovalForeseen | None:
        """Return what is to be told of a removal."""
        self.asked.append((privacy_group_id, tuple(members)))
        if self.failure is not None:
            raise self.failure
        return self.leaving


@dataclass
class FakeOverview:
    """What a test says that there is to see."""

    needs: tuple[Need, ...] = ()
    standings: tuple[NodeStanding, ...] = ()

    async def attention(self, within: frozenset[str] | None = None) -> Attention:
        """Return what needs a person."""
        needs = tuple(need for need in self.needs if within is None or need.privacy_group_id in {"", *within})
        return Attention(at=NOW, needs=needs, total=len(needs))

    async def nodes(self) -> tuple[NodeStanding, ...]:
        """Return the nodes."""
        return self.standings


@dataclass(frozen=True)
class FakeEvent:
    """One event of the feed."""

    resume_id: str
    event_type: str
    text: str


@dataclass
class FakeFeed:
    """Events in a list; ends with an error when one is set."""

    events: list[FakeEvent] = field(default_factory=list)
    closed: str = ""
    resume_from: str | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    readers: int = 0

    def publish(self, event: FakeEvent) -> None:
        """Add an event and tell the readers."""
        self.events.append(event)
        self.news.set()

    async def subscribe(self, **asked: Any) -> AsyncIterator[FakeEvent]:
        """Yield what there is, then wait for more."""
        self.asked.append(asked)
        seen = int(asked["resume_id"] or 0)
        self.readers += 1
        try:
            while True:
                for event in self.events:
                    if int(event.resume_id) > seen:
                        seen = int(event.resume_id)
                        yield event
                if self.closed:
                    raise FeedClosedError(self.closed, resume_id=self.resume_from)
                self.news.clear()
                await self.news.wait()
        finally:
            self.readers -= 1


@dataclass
class FakeReadiness:
    """Checks that a test sets."""

    found: tuple[Check, ...] = (Check(name="store", ok=True),)

    async def checks(self) -> tuple[Check, ...]:
        """Return them."""
        return self.found


@dataclass(frozen=True)
class Letter:
    """A message that could not be accepted."""

    letter_id: str
    reason: str
    body: bytes


@dataclass
class FakeDeadLetters:
    """Dead letters in a dictionary."""

    letters: dict[str, Letter] = field(default_factory=dict)

    async def dead_letters(self, limit: int = 100) -> Sequence[BuriedMessage]:
        """Return them."""
        return tuple(self.letters.values())[:limit]

    async def replay(self, letter_id: str) -> None:
        """Forget one."""
        del self.letters[letter_id]


@dataclass
class FakeWebhooks:
    """Webhooks in a dictionary."""

    known: dict[str, WebhookStanding] = field(default_factory=dict)
    taken: tuple[bool, str] = (True, "it took the event")

    async def webhooks(self) -> Sequence[WebhookStanding]:
        """Return all."""
        return tuple(self.known.values())

    async def stop(self, name: str) -> WebhookStanding:
        """Stop one."""
        self.known[name] = replace(self.known[name], stopped_since=NOW)
        return self.known[name]

    async def resume(self, name: str) -> WebhookStanding:
        """Let one go on."""
        self.known[name] = replace(self.known[name], stopped_since=None, paused_since=None, failures=0)
        return self.known[name]

    async def send_again(self, name: str, position: int) -> WebhookStanding:
        """Send one again what it had."""
        if position > 10:
            raise ValueError(f"there is no event {position}; the newest is 10")
        self.known[name] = replace(self.known[name], position=position)
        return self.known[name]

    async def try_out(self, name: str) -> tuple[bool, str]:
        """Say what a test says."""
        if name not in self.known:
            raise KeyError(name)
        return self.taken


@dataclass
class FakeTokens:
    """Tokens in a dictionary."""

    kept: dict[str, TokenRecord] = field(default_factory=dict)
    audited: list[AuditEntry] = field(default_factory=list)

    async def find(self, token_id: str) -> TokenRecord | None:
        """Return one."""
        return self.kept.get(token_id)

    async def add(self, record: TokenRecord, audit: AuditEntry) -> None:
        """Keep one."""
        self.audited.append(audit)
        self.kept[record.token_id] = record

    async def newest(self) -> tuple[TokenRecord, ...]:
        """Return all."""
        return tuple(reversed(self.kept.values()))

    async def revoke(self, token_id: str, at: datetime, audit: AuditEntry) -> TokenRecord | None:
        """Revoke one."""
        self.audited.append(audit)
        if token_id in self.kept:
            self.kept[token_id] = replace(self.kept[token_id], revoked_at=at)
        return self.kept.get(token_id)

    def make(self, name: str, role: Role, scope: Scope = EVERYTHING, *, expires_at: datetime = NEVER) -> str:
        """Keep a token and return it."""
        number = len(self.kept) + 1
        token = token_text(number.to_bytes(ID_BYTES), hashlib.sha256(name.encode()).digest())
        parts = split_token(token)
        assert parts is not None
        self.kept[parts[0]] = TokenRecord(
            token_id=parts[0],
            name=name,
            role=role,
            scope=scope,
            secret_hash=hash_of(parts[1]),
            created_at=NOW,
            created_by="",
            expires_at=expires_at,
        )
        return token


@dataclass
class FakeAudit:
    """An audit log in a list, of which the first entries may have been archived."""

    entries: list[AuditEntry] = field(default_factory=list)
    first: int = 0

    async def record(self, entry: AuditEntry) -> None:
        """Append one."""
        self.entries.append(entry)

    async def behind(self, after: int, limit: int) -> list[ChainedEntry]:
        """Return some."""
        start = max(after, self.first)
        return chained(self.entries, 0, FIRST_HASH)[start : start + limit]


@dataclass
class FakeParts:
    """All of them together."""

    record: FakeRecord = field(default_factory=FakeRecord)
    groups: FakeGroups = field(default_factory=FakeGroups)
    names: FakeNames = field(default_factory=FakeNames)
    nodes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    forecasts: FakeForecasts = field(default_factory=FakeForecasts)
    overview: FakeOverview = field(default_factory=FakeOverview)
    feed: FakeFeed = field(default_factory=FakeFeed)
    readiness: FakeReadiness = field(default_factory=FakeReadiness)
    dead_letters: FakeDeadLetters = field(default_factory=FakeDeadLetters)
    webhooks: FakeWebhooks = field(default_factory=FakeWebhooks)
    tokens: FakeTokens = field(default_factory=FakeTokens)
    audit: FakeAudit = field(default_factory=FakeAudit)
    metrics: CollectorRegistry = field(default_factory=CollectorRegistry)
    rules: AccessRules = field(default_factory=AccessRules)
    web_tokens: WebTokens | None = None
    now: datetime = NOW
    seconds: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.record.on_step = self._announce

    def _announce(self) -> None:
        number = str(len(self.feed.events) + 1)
        self.feed.publish(FakeEvent(resume_id=number, event_type="membership.change.progressed.v1", text="{}"))

    def services(self) -> ApiServices:
        """Return them as the API wants them."""
        return ApiServices(
            intake=self.record,
            changes=self.record,
            groups=self.groups,
            names=self.names,
            nodes=self.nodes,
            forecasts=self.forecasts,
            overview=self.overview,
            feed=self.feed,
            readiness=self.readiness,
            dead_letters=self.dead_letters,
            webhooks=self.webhooks,
            tokens=self.tokens,
            audit=self.audit,
            metrics=self.metrics,
            now=lambda: self.now,
            origins=("https://console.example.org",),
        )

    def application(self) -> web.Application:
        """Return the API on them."""
        self.authentication = Authentication(
            self.rules, self.tokens, self.audit, self.web_tokens, lambda: self.now, self.seconds
        )
        return make_api(self.services(), self.authentication)


@contextmanager
def serving(parts: FakeParts) -> Iterator[str]:
    """Serve the API in a thread with a loop of its own while the context lasts; yields its address."""

    async def start(stack: AsyncExitStack) -> str:
        runner = web.AppRunner(parts.application(), shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        assert runner.server is not None
        listening = await asyncio.get_running_loop().create_server(Connections(runner.server), "127.0.0.1", 0)
        stack.callback(listening.close)
        return f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"

    with in_a_thread(start) as url:
        yield url


def make_change(change_id: str = "change-1", **fields: Any) -> Change:
    """Return a queued addition of the third member, or what the fields say."""
    given: dict[str, Any] = {
        "request_id": f"request of {change_id}",
        "kind": Kind.ADD_MEMBERS,
        "privacy_group_id": GROUP,
        "members": (KEYS[2],),
        "account": ACCOUNT,
        "created_at": NOW,
        **fields,
    }
    return Change(change_id=change_id, **given)


def make_parked_change(change_id: str = "change-1") -> Change:
    """Return a change that waits for a person, with all that explains why."""
    view = GroupView(
        block_number=9, exists=True, participants=KEYS, version="0x" + "12" * 32, state_root="0x" + "34" * 32
    )
    return replace(
        make_change(change_id),
        state=State.PARKED,
        transacted=True,
        lead_id=change_id,
        reason=Reason(slug="member_missing", detail=KEYS[2], members=(KEYS[2],)),
        effect=Effect(block_number=9, block_hash="0x" + "ab" * 32, view=view),
        attempt=Attempt(
            attempt_id="attempt-1",
            action=Action.ADD,
            members=(KEYS[2],),
            node="member1",
            private_nonce=3,
            raw=RAW,
            since_block=7,
            sent_block=8,
            marker=a_marker("1", pmt_hash="0x" + "cd" * 32),
            status=AttemptStatus.EFFECTIVE,
        ),
        progress=(
            MemberProgress(
                enclave_key=KEYS[2],
                verdict=Verdict.MISSING,
                blocks_replayed=3,
                blocks_total=8,
                head=12,
                moved_at=NOW,
                in_sync_through=9,
            ),
        ),
    )
