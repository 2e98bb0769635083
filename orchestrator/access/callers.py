"""Who asks: a role says what kind of thing one may do, a scope for which groups, accounts and kinds.

There are no patterns in a scope: each id is written out and compared as a whole, so that no spelling, case or wildcard
reaches further than what was written.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeVar

from orchestrator.membership.model import Kind

T = TypeVar("T")


class Role(StrEnum):
    """What kind of thing a caller may do; each includes those before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Return whether this role may do all that another one may."""
        return _ORDER.index(self) >= _ORDER.index(other)


_ORDER: Final = (Role.VIEWER, Role.OPERATOR, Role.ADMIN)


class Door(StrEnum):
    """By which way a request came in."""

    HTTP = "http"
    SOCKET = "socket"
    QUEUE = "queue"
    LOCAL = "local"


class ForbiddenError(Exception):
    """A caller may not do what it asks for; the message says what is missing, and nothing of what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """For which groups, accounts and kinds; None stands for all of them.

    Attributes:
        groups: Privacy group ids, canonical base64. They bound what is seen and what may be asked for.
        accounts: Addresses in lower case. They bound what may be asked for.
        kinds: Kinds of changes. They bound what may be asked for.
    """

    groups: frozenset[str] | None = None
    accounts: frozenset[str] | None = None
    kinds: frozenset[Kind] | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self.groups is None and self.accounts is None and self.kinds is None

    def sees(self, privacy_group_id: str) -> bool:
        """Return whether a group lies in it; the empty text, for no group, lies only in one without limit."""
        return self.groups is None or privacy_group_id in self.groups

    def require(self, kind: Kind, privacy_group_id: str | None, account: str | None) -> None:
        """Make sure that a change may be asked for, or amended.

        Args:
            kind: Its kind.
            privacy_group_id: Its group; None when it is left to the daemon to choose one.
            account: The owner's account; None while it is not known: then it is to be asked again when it is.

        Raises:
            ForbiddenError: It lies outside.
        """
        if self.kinds is not None and kind not in self.kinds:
            raise ForbiddenError(f"changes of kind {kind.value} are not among those that this caller may ask for")
        if self.groups is not None and privacy_group_id not in self.groups:
            # Left to the daemon it would be one that nobody has yet, and so not among the caller's.
            named = "a group that is not named" if privacy_group_id is None else f"the group {privacy_group_id}"
            raise ForbiddenError(f"{named} is not among those of this caller")
        if self.accounts is not None and account is not None and account.lower() not in self.accounts:
            raise ForbiddenError(f"the account {account.lower()} is not among those that this caller may act as")

    def narrowed(self, other: "Scope") -> "Scope":
        """Return what lies in both."""
        return Scope(
            groups=_both(self.groups, other.groups),
            accounts=_both(self.accounts, other.accounts),
            kinds=_both(self.kinds, other.kinds),
        )


EVERYTHING: Final = Scope()
NOTHING: Final = Scope(groups=frozenset(), accounts=frozenset(), kinds=frozenset())


def scope_of(groups: Collection[str] | None, accounts: Collection[str] | None, kinds: Collection[Kind] | None) -> Scope:
    """Return the scope of what is listed; None for no limit."""
    return Scope(
        groups=None if groups is None else frozenset(groups),
        accounts=None if accounts is None else frozenset(account.lower() for account in accounts),
        kinds=None if kinds is None else frozenset(kinds),
    )


def _both(one: frozenset[T] | None, other: frozenset[T] | None) -> frozenset[T] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody who was recognised.

    Attributes:
        name: How it is told from all others, its way of proving itself included (``token:alice``); empty for whoever
            comes where there is no access control.
        role: Its role.
        scope: Its scope.
        door: By which way it came in.
        expires_at: When its word for itself ends; None for never.
    """

    name: str
    role: Role
    scope: Scope
    door: Door
    expires_at: datetime | None = None


def anyone(door: Door) -> Caller:
    """Return who comes where there is no access control."""
    return Caller(name="", role=Role.ADMIN, scope=EVERYTHING, door=door)
