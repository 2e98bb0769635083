"""Callers who show a JSON Web Token of an issuer that the configuration names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import jwt

from orchestrator.access.callers import EVERYTHING, Caller, Door, Role, Scope
from orchestrator.access.tokens import SIGNING_ALGORITHMS
from orchestrator.api.callers.key_sets import KeySet
from orchestrator.engine.messages.base64_texts import GROUP_ID_BYTES, base64_bytes

LONGEST_TOKEN: Final = 8 * 1024
LEEWAY_SECONDS: Final = 30
MOST_GROUPS: Final = 1_000
_LONGEST_NAME: Final = 128
_MOST_STEPS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class WebTokenRules:
    """What is expected of a token.

    Attributes:
        issuer: Who must have issued it (``iss``).
        audience: For whom it must be (``aud``).
        algorithms: By which it may be signed, some of `access.tokens.SIGNING_ALGORITHMS`.
        role_claim: Which claim names the role or roles; a dot stands between the names of nested objects.
        roles: What the issuer calls the roles; a role by its own name needs no entry.
        groups_claim: Which claim lists privacy group ids or names of groups; None when tokens say nothing of groups.
        group_names: What groups are called in the configuration.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...] = SIGNING_ALGORITHMS
    role_claim: str = "role"
    roles: Mapping[str, Role] = field(default_factory=dict)
    groups_claim: str | None = None
    group_names: Mapping[str, str] = field(default_factory=dict)


class RefusedTokenError(Exception):
    """A token that proves nothing; the message says why, and shows nothing of it."""


class WebTokens:
    """Verifies tokens.

    Args:
        rules: What is expected.
        keys: The issuer's keys.
    """

    def __init__(self, rules: WebTokenRules, keys: KeySet) -> None:
        self._rules = rules
        self._keys = keys

    async def caller(self, token: str, door: Door, now: datetime) -> Caller:
        """Return who shows a token.

        Raises:
            RefusedTokenError: It is not valid now, or gives no role.
            KeySetError: The issuer's keys can't be had.
        """
        if len(token) > LONGEST_TOKEN:
            raise RefusedTokenError(f"the token has more than {LONGEST_TOKEN} characters")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise RefusedTokenError("the token is no JSON Web Token") from None
        # Before its key is looked for: what is refused anyway has no document read.
        if header.get("alg") not in self._rules.algorithms:
            raise RefusedTokenError("the token is signed by an algorithm that is not allowed")
        if "crit" in header or "b64" in header:
            raise RefusedTokenError("the token asks for extensions that are not known here")  # RFC 7515, 4.1.11
        key_id = header.get("kid")
        key = await self._keys.key(key_id) if key_id is None or isinstance(key_id, str) else None
        if key is None:
            raise RefusedTokenError("the token is signed with a key that its issuer's keys do not have")
        return self._caller(self._claims(token, key), door, now)

    def _claims(self, token: str, key: Any) -> dict[str, Any]:
        try:
            found: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(self._rules.algorithms),
                audience=self._rules.audience,
                issuer=self._rules.issuer,
                # The times are compared with the daemon's own clock below.
                options={
                    "require": ["exp", "iss", "aud", "sub"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise RefusedTokenError(f"the token is not valid ({type(error).__name__})") from None
        return found

    def _caller(self, claims: dict[str, Any], door: Door, now: datetime) -> Caller:
        seconds = now.timestamp()
        expires, begins = _number(claims.get("exp")), _number(claims.get("nbf", 0))
        if expires is None or begins is None:
            raise RefusedTokenError("the token's times are no numbers")
        if seconds >= expires + LEEWAY_SECONDS:
            raise RefusedTokenError("the token is expired")
        if seconds < begins - LEEWAY_SECONDS:
            raise RefusedTokenError("the token is not valid yet")
        name = claims.get("sub")
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
            raise RefusedTokenError("the token's `sub` names nobody")
        named = _listed(_claim(claims, self._rules.role_claim))
        roles = [role for text in named if (role := self._role(text)) is not None]
        if not roles:
            raise RefusedTokenError(f"the token's claim {self._rules.role_claim} gives no role")
        return Caller(
            name=f"jwt:{name}",
            # Each role includes those before it, so that of several the last one counts.
            role=max(roles, key=list(Role).index),
            scope=self._scope(claims),
            door=door,
            expires_at=datetime.fromtimestamp(expires + LEEWAY_SECONDS, UTC),
        )

    def _role(self, text: str) -> Role | None:
        if text in self._rules.roles:
            return self._rules.roles[text]
        return Role(text) if text in set(Role) else None

    def _scope(self, claims: dict[str, Any]) -> Scope:
        if self._rules.groups_claim is None:
            return EVERYTHING
        listed = _listed(_claim(claims, self._rules.groups_claim))[:MOST_GROUPS]
        groups = (self._rules.group_names.get(text, text) for text in listed)
        # Who is said to have no group has none: a claim that is missing widens nothing.
        return Scope(groups=frozenset(group for group in groups if base64_bytes(group) == GROUP_ID_BYTES))


def _claim(claims: dict[str, Any], path: str) -> object:
    if path in claims:
        return claims[path]  # some issuers write addresses as names, which hold dots
    value: object = claims
    for name in path.split(".", _MOST_STEPS):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _listed(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _number(value: object) -> float | None:
    """Return a time as seconds since 1970; None when it is none that a calendar has."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**33:
        return None
    return float(value)
