"""NATS credentials: the file that ``nsc`` makes, with the user's JWT and the seed of the key that signs for it.

It is read anew for each connection, since something else may renew it. The client library reads such files, too, but
looks for the JWT for ever in one that has none, an empty one while it is being replaced among them, and stops the
event loop with that.
"""

import base64
import re
from pathlib import Path
from typing import Final

import nkeys  # type: ignore[import-untyped] # it has no types
from nats.errors import Error as NatsError

_MAX_FILE_BYTES: Final = 64 << 10
_PART: Final = r"-----BEGIN {name}-----\s+(\S+)\s+-+END {name}-"
_JWT: Final = re.compile(_PART.format(name="NATS USER JWT"))
_BARE_SEED: Final = re.compile(r"SU[A-Z2-7]{56}")
_SEED: Final = re.compile(_PART.format(name="USER NKEY SEED"))


class CredentialsError(NatsError):
    """The credentials can't be used. The message names the file, never what is in it."""


class Credentials:
    """A file of credentials, as the two answers that the server asks for.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def bare_seed(self) -> str | None:
        """Return the seed of a file that holds one and no JWT, as ``nk -gen user`` makes it; None for other files.

        Raises:
            CredentialsError: The file can't be read.
        """
        found = _BARE_SEED.fullmatch(self._text().strip())
        return None if found is None else found[0]

    def jwt(self) -> bytearray:
        """Return the user's JWT.

        Raises:
            CredentialsError: The file can't be read, or holds none.
        """
        return bytearray(self._part(_JWT, "NATS USER JWT").encode())

    def signature(self, nonce: str) -> bytes:
        """Return the server's challenge, signed, in base64.

        Raises:
            CredentialsError: The file can't be read, or holds no key.
        """
        seed = self._part(_SEED, "USER NKEY SEED")
        try:
            pair = nkeys.from_seed(bytearray(seed.encode()))
            signed = pair.sign(nonce.encode())
        except Exception as error:
            # The library has no common exception: base64's, its own, PyNaCl's.
            raise CredentialsError(
                f"the USER NKEY SEED in {self._path} is no seed of a user's key: have the file made again"
            ) from error
        return base64.b64encode(signed)

    def _text(self) -> str:
        try:
            with self._path.open("rb") as file:
                return file.read(_MAX_FILE_BYTES).decode("utf-8", "replace")
        except OSError as error:
            raise CredentialsError(f"the credentials {self._path} can't be read: {error.strerror}") from error

    def _part(self, pattern: re.Pattern[str], name: str) -> str:
        found = pattern.search(self._text())
        if found is None:
            raise CredentialsError(
                f"{self._path} has no part BEGIN {name}: it must be a file of credentials as `nsc generate creds` "
                "makes, or the seed of a user's key alone"
            )
        return found[1]
