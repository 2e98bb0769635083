"""The JSON documents about callers: who one is, and tokens."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from orchestrator.access.callers import Caller, Role, Scope
from orchestrator.access.tokens import TokenRecord
from orchestrator.api.documents.names import NAME_PATTERN
from orchestrator.api.documents.shared import Document
from orchestrator.engine.messages.base64_texts import GROUP_ID_BYTES, base64_bytes
from orchestrator.membership.model import Kind

MOST_DAYS = 3650
DEFAULT_DAYS = 90
MOST_LISTED = 1_000


def _group(text: str) -> str:
    if base64_bytes(text) != GROUP_ID_BYTES:
        raise ValueError("must be canonical base64 of exactly 32 bytes")
    return text


class SessionDocument(Document):
    """Who the caller is, and what it is limited to; null where it is not."""

    name: str = Field(description="Empty where there is no access control.")
    role: Role
    groups: list[str] | None = Field(description="Privacy group ids.")
    accounts: list[str] | None = Field(description="Addresses, lower case.")
    kinds: list[Kind] | None = Field(description="Kinds of changes.")
    expires_at: datetime | None = Field(description="When it has to prove who it is anew; null for never.")


class TokenDocument(Document):
    """What is kept of a token: not the token."""

    token_id: str
    name: str
    role: Role
    groups: list[str] | None
    accounts: list[str] | None
    kinds: list[Kind] | None
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None


class TokenPage(Document):
    """Tokens, the newest first, those that are expired or revoked among them."""

    tokens: list[TokenDocument]


class MadeTokenDocument(TokenDocument):
    """A token that was just made."""

    token: str = Field(description="Shown this once, and not kept.")


class SignIn(Document):
    """A token, to be kept in a browser's cookie."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    # Browsers drop cookies of more than 4,096 bytes, name and attributes included.
    token: str = Field(min_length=1, max_length=3800, description="A token, or a JSON Web Token.")


class TokenRequest(Document):
    """A token that shall be made."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=NAME_PATTERN, description="Who gets it. Tokens of one name are one caller.")
    role: Role = Field(description="viewer looks, operator asks for changes, admin also makes tokens.")
    groups: list[Annotated[str, AfterValidator(_group)]] | None = Field(
        default=None, max_length=MOST_LISTED, description="Only these groups, canonical base64; all when left out."
    )
    accounts: list[Annotated[str, Field(pattern="^0x[0-9a-fA-F]{40}$")]] | None = Field(
        default=None, max_length=MOST_LISTED, description="Only as these accounts; as all when left out."
    )
    kinds: list[Kind] | None = Field(
        default=None, max_length=len(Kind), description="Only these kinds of changes; all when left out."
    )
    days: int = Field(
        default=DEFAULT_DAYS, ge=1, le=MOST_DAYS, description="After so many days it ends; 90 by default."
    )


def _listed(scope: Scope) -> dict[str, list[str] | list[Kind] | None]:
    return {
        "groups": None if scope.groups is None else sorted(scope.groups),
        "accounts": None if scope.accounts is None else sorted(scope.accounts),
        "kinds": None if scope.kinds is None else sorted(scope.kinds),
    }


def session_document(caller: Caller) -> SessionDocument:
    """Return what a caller is told of itself."""
    said = {"name": caller.name, "role": caller.role, "expires_at": caller.expires_at, **_listed(caller.scope)}
    return SessionDocument.model_validate(said)


def token_document(record: TokenRecord) -> TokenDocument:
    """Return a token as the API shows it."""
    return TokenDocument.model_validate(_said(record))


def made_token_document(record: TokenRecord, token: str) -> MadeTokenDocument:
    """Return a token as it is shown once."""
    return MadeTokenDocument.model_validate({**_said(record), "token": token})


def _said(record: TokenRecord) -> dict[str, object]:
    names = ("token_id", "name", "role", "created_at", "created_by", "expires_at", "revoked_at")
    return {**{name: getattr(record, name) for name in names}, **_listed(record.scope)}
