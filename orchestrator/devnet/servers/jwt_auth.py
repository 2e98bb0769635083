"""Tokens of tenants. Pure but for the library's check of the expiry, whose time is the machine's.

Source: docs/besu.md#multi-tenancy: RS256; claims ``privacyPublicKey``, ``permissions``, ``exp``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from orchestrator.devnet.errors import DevnetError

MAX_TOKEN_CHARACTERS: Final = 16_384
_SCHEME: Final = "bearer "


@dataclass(frozen=True, slots=True)
class Principal:
    """The bearer of a good token.

    Attributes:
        permissions: "*:*", "eth:*", "priv:getCode" and the like.
        key: the tenant's enclave key; None when the token names none.
    """

    permissions: tuple[str, ...]
    key: str | None

    def may_call(self, method: str) -> bool:
        """Tell whether the permissions cover a method."""
        namespace, _, name = method.partition("_")
        wanted = {"*:*", f"{namespace}:*", f"{namespace}:{name}", f"*:{name}"}
        return not wanted.isdisjoint(self.permissions)


class TokenVerifier:
    """Checks tokens with one RSA public key."""

    def __init__(self, public_key: RSAPublicKey) -> None:
        self._key = public_key

    @classmethod
    def from_file(cls, path: Path) -> "TokenVerifier":
        """Read the public key from a PEM file.

        Raises:
            DevnetError: the file cannot be read or holds no RSA public key.
        """
        try:
            key = load_pem_public_key(path.read_bytes())
        except (OSError, ValueError) as error:
            raise DevnetError(f"the JWT public key {path} cannot be read: {error}") from error
        if not isinstance(key, RSAPublicKey):
            raise DevnetError(f"the JWT public key {path} is no RSA key; tokens are signed with RS256")
        return cls(key)

    def principal(self, authorization: str | None) -> Principal | None:
        """Read the ``Authorization`` header; None when there is no good token in it."""
        if authorization is None or len(authorization) > MAX_TOKEN_CHARACTERS:
            return None
        token = authorization[len(_SCHEME) :] if authorization[: len(_SCHEME)].lower() == _SCHEME else authorization
        try:
            claims = jwt.decode(token.strip(), self._key, algorithms=["RS256"])
        except (jwt.InvalidTokenError, ValueError):
            return None
        permissions = claims.get("permissions")
        key = claims.get("privacyUserId") or claims.get("privacyPublicKey")
        return Principal(
            permissions=tuple(item for item in permissions if isinstance(item, str))
            if isinstance(permissions, list)
            else (),
            key=key if isinstance(key, str) else None,
        )
