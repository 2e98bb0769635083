"""Bearer tokens: an id that is looked up, and a secret of which only the hash is kept.

The secret has 256 random bits, so that SHA-256 is enough to keep it: there is no dictionary of such secrets to try, and
a slow hash, which protects chosen passwords, would only make each request slow.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from orchestrator.access.callers import Caller, Door, Role, Scope

SIGNING_ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"),
)
"""What JSON Web Tokens may be signed by, asymmetric only: with a shared secret who verifies could have signed."""
SECRET_BYTES: Final = 32
ID_BYTES: Final = 8
LONGEST_TOKEN: Final = 72
_TOKEN: Final = re.compile(r"orct_([0-9a-f]{16})_([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """What is kept of a token.

    Attributes:
        token_id: By which it is looked up, listed and revoked; no secret.
        name: Who has it; several tokens of one name are one caller, so that one can replace another.
        role: The caller's role.
        scope: The caller's scope.
        secret_hash: SHA-256 of the secret, hexadecimal.
        created_at: When it was made.
        created_by: Who made it.
        expires_at: When it ends.
        revoked_at: When it was revoked; None for never.
    """

    token_id: str
    name: str
    role: Role
    scope: Scope
    secret_hash: str
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None = None


def token_text(token_id: bytes, secret: bytes) -> str:
    """Return a token as its owner gets it, from `ID_BYTES` and `SECRET_BYTES` random bytes."""
    return f"orct_{token_id.hex()}_{base64.urlsafe_b64encode(secret).decode().rstrip('=')}"


def split_token(text: str) -> tuple[str, str] | None:
    """Return id and secret of what is written as a token; None when it is no token of ours."""
    found = _TOKEN.fullmatch(text) if len(text) <= LONGEST_TOKEN else None
    return None if found is None else (found[1], found[2])


def hash_of(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def caller_of(record: TokenRecord | None, secret: str, now: datetime, door: Door) -> Caller | None:
    """Return who shows a token; None when the secret is another's, or the token is expired, revoked or not there.

    The comparison takes the same time wherever two secrets differ.
    """
    # Hashed and compared also where there is no such token: the time taken does not tell which ids there are.
    kept = "" if record is None else record.secret_hash
    same = hmac.compare_digest(hash_of(secret).encode(), kept.encode())
    # One answer for all of these: who tries tokens learns nothing of how near it came.
    if record is None or not same or record.revoked_at is not None or now >= record.expires_at:
        return None
    return Caller(
        name=f"token:{record.name}", role=record.role, scope=record.scope, door=door, expires_at=record.expires_at
    )
