"""Who sends a request: a bearer token, a JSON Web Token, a signed-in browser, or a user of this machine.

Without access control everybody is an operator, which is the daemon's way on loopback as long as nothing else is
configured. What was shown is never told, logged or stored, only why it proves nothing.
"""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web

from orchestrator.access.audit import Action, Outcome, entry_by
from orchestrator.access.callers import EVERYTHING, Caller, Door, ForbiddenError, Role, Scope, anyone
from orchestrator.access.table import require, route_rule
from orchestrator.access.tokens import TokenRecord, caller_of, split_token
from orchestrator.api.callers.key_sets import KeySetError
from orchestrator.api.callers.web_tokens import RefusedTokenError, WebTokens
from orchestrator.api.ports.callers import AccessTokens, AuditLog
from orchestrator.api.problems import Handler, ProblemError
from orchestrator.bounded_dicts import BoundedDict
from orchestrator.engine.ports.store import StoreError
from orchestrator.instants import micros
from orchestrator.outside_text import presentable

COOKIE: Final = "orchestrator_token"
KNOWN_SECONDS: Final = 2.0
"""For how long a token that was found is not looked up again: so long one that is revoked elsewhere may still do."""
MOST_KNOWN: Final = 1_024
LOOKED_UP_AT_ONCE: Final = 4
"""Tokens that are looked up at the same time: made-up ones must not take all readers of the store."""
REPORTED_EVERY_SECONDS: Final = 1.0
MOST_REFUSALS_A_MINUTE: Final = 60
"""Of each known caller, that go into the audit log: one who tries for ever does not fill it, nor hide others'."""
MOST_REFUSED: Final = 1_024
"""Callers whose refusals are counted apart within a minute; further ones are counted as one."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Linux's `struct ucred`: process, user and group of who connected, as the kernel knew them then.
_PEER: Final = struct.Struct("3i")
_BEARER: Final = "bearer "

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalUser:
    """Who a user of this machine is, at the Unix socket.

    Attributes:
        name: How it is called.
        role: Its role.
        scope: Its scope.
    """

    name: str
    role: Role
    scope: Scope = EVERYTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRules:
    """What the configuration says of access.

    Attributes:
        required: Whether a caller has to prove who it is.
        users: Users of this machine by their number, for the Unix socket.
        limits: By a caller's name (``token:alice``) what it is limited to, besides what its own scope says.
    """

    required: bool = False
    users: Mapping[int, LocalUser] = field(default_factory=dict)
    limits: Mapping[str, Scope] = field(default_factory=dict)


class UnauthenticatedError(ProblemError):
    """Nobody is proven to send the request."""

    def __init__(self, detail: str, *, shown: bool) -> None:
        super().__init__(HTTPStatus.UNAUTHORIZED, "unauthenticated", detail, "Authorization")
        error = ', error="invalid_token"' if shown else ""
        self.headers = {"WWW-Authenticate": f'Bearer realm="orchestrator"{error}'}


class Authentication:
    """Tells who sends a request.

    Args:
        rules: What the configuration says.
        tokens: Keeps tokens.
        audit: The audit log.
        web_tokens: Verifies JSON Web Tokens; None when no issuer is configured.
        now: Returns the present time.
        seconds: Returns seconds of a clock that never goes back.

    Attributes:
        failures: How many times something that proves nothing was shown.
    """

    def __init__(
        self,
        rules: AccessRules,
        tokens: AccessTokens,
        audit: AuditLog,
        web_tokens: WebTokens | None,
        now: Callable[[], datetime],
        seconds: Callable[[], float],
    ) -> None:
        self.rules = rules
        self.failures = 0
        self._tokens = tokens
        self._audit = audit
        self._web_tokens = web_tokens
        self._now = now
        self._seconds = seconds
        self._known: BoundedDict[str, tuple[float, TokenRecord]] = BoundedDict(MOST_KNOWN)
        self._looking_up = asyncio.Semaphore(LOOKED_UP_AT_ONCE)
        self._reported_at = float("-inf")
        self._refused_since: datetime | None = None
        self._refused: Counter[str] = Counter()

    async def caller(self, request: web.Request) -> Caller:
        """Return who sends a request.

        Raises:
            UnauthenticatedError: It proves nothing.
            ProblemError: It shows several things, or can't be looked up now.
            StoreError: The store does not answer.
        """
        uid = _user_of(request)
        door = Door.HTTP if uid is None else Door.SOCKET
        if not self.rules.required:
            return anyone(door)
        shown = _shown(request)
        if shown is not None:
            return await self.bearer(shown, door)
        if uid is not None and uid in self.rules.users:
            user = self.rules.users[uid]
            return self._limited(Caller(name=f"user:{user.name}", role=user.role, scope=user.scope, door=door))
        raise UnauthenticatedError(
            "Show a token: `Authorization: Bearer …`; an admin makes one with `orchestrator tokens create`.",
            shown=False,
        )

    async def bearer(self, shown: str, door: Door) -> Caller:
        """Return who shows a token; see `caller` for what is raised."""
        try:
            found = await self._bearer(shown, door)
        except RefusedTokenError as error:
            self._tell(str(error), door)
            raise UnauthenticatedError(f"Not accepted: {error}.", shown=True) from None
        except KeySetError as error:
            detail = f"The token can't be verified now: {error}."
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "keys-unavailable", detail) from error
        return self._limited(found)

    async def _bearer(self, shown: str, door: Door) -> Caller:
        parts = split_token(shown)
        if parts is not None:
            found = caller_of(await self._record(parts[0]), parts[1], self._now(), door)
            if found is None:
                raise RefusedTokenError("the token is not known, expired, or revoked")
            return found
        if self._web_tokens is None:
            raise RefusedTokenError("this is no token of this daemon")
        return await self._web_tokens.caller(shown, door, self._now())

    async def used(self, caller: Caller, route: str, named: Mapping[str, str]) -> None:
        """Note in the audit log what a caller is about to do; what can't be noted is not done.

        Raises:
            StoreError: It could not be noted.
        """
        about = presentable(" ".join((route, *named.values())))
        await self._audit.record(entry_by(caller, Action.USE, micros(self._now()), about=about))

    async def refused(self, caller: Caller, route: str, why: str) -> None:
        """Note in the audit log that a caller asked for what it may not, a bounded number of each a minute."""
        now = self._now()
        # This clock may be set back, and must not end the counting for as long.
        if self._refused_since is None or not timedelta(0) <= now - self._refused_since < timedelta(minutes=1):
            self._refused_since = now
            self._refused.clear()
        counted = caller.name if caller.name in self._refused or len(self._refused) < MOST_REFUSED else ""
        self._refused[counted] += 1
        if self._refused[counted] > MOST_REFUSALS_A_MINUTE:
            return
        entry = entry_by(caller, Action.USE, micros(now), outcome=Outcome.REFUSED, about=route, reason=presentable(why))
        try:
            await self._audit.record(entry)
        except StoreError as error:
            _log.warning("a refusal is not in the audit log", caller=caller.name, route=route, reason=str(error))

    def forget(self, token_id: str) -> None:
        """Look a token up again before it counts: it was revoked here."""
        self._known.pop(token_id, None)

    async def _record(self, token_id: str) -> TokenRecord | None:
        known = self._known.get(token_id)
        if known is not None and self._seconds() - known[0] < KNOWN_SECONDS:
            return known[1]
        async with self._looking_up:
            # As old as the question: what was revoked while the store read counts for no longer than elsewhere.
            asked_at = self._seconds()
            record = await self._tokens.find(token_id)
        self._known.pop(token_id, None)
        # An id that nobody has is not remembered: made-up ones would push out those that are in use, and a token that
        # is made right after would not do.
        if record is not None:
            self._known[token_id] = (asked_at, record)
        return record

    def _limited(self, caller: Caller) -> Caller:
        limit = self.rules.limits.get(caller.name)
        return caller if limit is None else replace(caller, scope=caller.scope.narrowed(limit))

    def _tell(self, why: str, door: Door) -> None:
        self.failures += 1
        if self._seconds() - self._reported_at >= REPORTED_EVERY_SECONDS:
            self._reported_at = self._seconds()
            _log.warning("a caller was not accepted", why=why, door=door.value, so_far=self.failures)


AUTHENTICATION = web.AppKey("authentication", Authentication)
CALLER = web.RequestKey("caller", Caller)


@web.middleware
async def authentication_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Find out who sends a request, and whether it may use the route; what it is about, the handler looks at."""
    route = request.match_info.route
    if request.match_info.http_exception is not None:
        # Neither what there is nor what there is not is told to who may not ask.
        request[CALLER] = await request.app[AUTHENTICATION].caller(request)
        return await handler(request)
    path = "" if route.resource is None else route.resource.canonical
    rule = route_rule(request.method, path)
    if rule.least is not None:
        caller = await request.app[AUTHENTICATION].caller(request)
        request[CALLER] = caller
        try:
            require(rule, caller)
            if rule.noted:
                await request.app[AUTHENTICATION].used(caller, f"{request.method} {path}", request.match_info)
            return await handler(request)
        except ForbiddenError as error:
            await request.app[AUTHENTICATION].refused(caller, f"{request.method} {path}", str(error))
            raise
    return await handler(request)


def caller_of_request(request: web.Request) -> Caller:
    """Return who sends a request that came through `authentication_middleware`."""
    return request[CALLER]


def _shown(request: web.Request) -> str | None:
    """Return the token that a request shows.

    Raises:
        ProblemError: It shows several, or one that no page of ours sent by a browser.
    """
    given = request.headers.getall("Authorization", [])
    if len(given) > 1:
        detail = "Authorization is there more than once: which one is meant?"
        raise ProblemError(HTTPStatus.BAD_REQUEST, "repeated-header", detail, "Authorization")
    if given:
        if given[0][: len(_BEARER)].lower() != _BEARER:
            raise UnauthenticatedError("Authorization must be `Bearer` and a token.", shown=True)
        return given[0][len(_BEARER) :].strip()
    cookie = request.cookies.get(COOKIE)
    if cookie is None:
        return None
    # `access_middleware` compared the origin; a browser names it with whatever changes something.
    if request.method not in _SAFE and "Origin" not in request.headers:
        detail = "A request that is made by a browser's cookie must name its Origin; programs send Authorization."
        raise ProblemError(HTTPStatus.FORBIDDEN, "foreign-origin", detail, "Origin")
    return cookie


def _user_of(request: web.Request) -> int | None:
    """Return the number of the user at the other end of a Unix socket, as the kernel says; None for TCP."""
    connected = None if request.transport is None else request.transport.get_extra_info("socket")
    if connected is None or connected.family != socket.AF_UNIX:
        return None
    _, uid, _ = _PEER.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(uid)
