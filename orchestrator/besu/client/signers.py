"""Accounts whose keys are in this process; they never appear in a representation, a message or a log."""

import json
import sys
from pathlib import Path
from typing import Any, Final

from eth_hash.auto import keccak

from orchestrator.besu.client.secret_files import read_secret, read_text
from orchestrator.besu.client.signer_ports import SignerError
from orchestrator.besu.codec.account_signatures import InvalidSignatureError, Signature, address_of_key, sign_digest
from orchestrator.besu.codec.identifiers import InvalidIdentifierError, hex_to_bytes, normal_address

_KEY_BYTES: Final = 32
_KEYSTORE_VERSION: Final = 3

SEED_BYTES: Final = 32


class LocalSigner:
    """A signer that holds the key in memory (`orchestrator.besu.client.signer_ports.Signer`)."""

    __slots__ = ("_address", "_private_key")

    def __init__(self, private_key: bytes) -> None:
        self._private_key = private_key
        self._address = address_of_key(private_key)

    def __repr__(self) -> str:
        return f"LocalSigner({self._address})"

    def __reduce__(self) -> str:
        raise TypeError("a signer is not pickled: its key stays in this process")

    @property
    def address(self) -> str:
        """The account's address, "0x…" in lower case."""
        return self._address

    async def sign(self, message: bytes) -> Signature:
        """Return the account's signature; see ``Signer.sign``."""
        return sign_digest(keccak(message), self._private_key)


def signer_from_key(private_key: bytes | str) -> LocalSigner:
    """Return a signer for a key in memory (32 bytes, or hexadecimal text); for development accounts.

    Raises:
        SignerError: it is no private key.
    """
    try:
        secret = hex_to_bytes(private_key.strip(), max_bytes=32) if isinstance(private_key, str) else private_key
        return LocalSigner(secret)
    except (InvalidIdentifierError, InvalidSignatureError):
        raise SignerError("the private key is not 32 bytes between 1 and the order of secp256k1") from None


def signer_from_key_file(path: Path, *, expected_address: str | None = None) -> LocalSigner:
    """Read a private key, 64 hexadecimal digits, from a file that only its owner can read.

    Raises:
        SignerError: the file is readable by others, cannot be read, holds no key, or the key of another account.
    """
    text = read_secret(path, "key file")
    try:
        signer = LocalSigner(hex_to_bytes(text.strip(), max_bytes=32))
    except (InvalidIdentifierError, InvalidSignatureError):
        raise SignerError(f"the key file {path} must hold a private key: 64 hexadecimal digits") from None
    return _checked(signer, expected_address, path)


def read_seed(path: Path) -> bytes:
    """Read the seed of marker accounts, 64 hexadecimal digits, from a file that only its owner can read.

    Raises:
        SignerError: the file is readable by others, cannot be read, or holds no seed.
    """
    text = read_secret(path, "seed file").strip().removeprefix("0x")
    try:
        seed = bytes.fromhex(text)
    except ValueError:
        seed = b""
    if len(seed) != SEED_BYTES:
        raise SignerError(
            f"the seed file {path} must hold 64 hexadecimal digits that nobody can guess, such as those of: "
            "openssl rand -hex 32"
        )
    return seed


def signer_from_keystore(path: Path, password_file: Path, *, expected_address: str | None = None) -> LocalSigner:
    """Open a keystore file (Web3 Secret Storage, version 3) with the password in another file.

    Deriving the key takes up to some seconds of processor time: call it before the event loop runs, or in a thread.

    Raises:
        SignerError: a file cannot be read, the password file is readable by others, the password is wrong, or the key
            is another account's.
    """
    password = read_secret(password_file, "password file").rstrip("\r\n")
    try:
        keystore = json.loads(read_text(path, "keystore"))
    except ValueError:
        raise SignerError(f"the keystore {path} is no JSON; it must be a keystore file of version 3") from None
    keystore = {str(name).lower(): value for name, value in keystore.items()} if isinstance(keystore, dict) else {}
    version = keystore.get("version")
    if str(version) != str(_KEYSTORE_VERSION):
        raise SignerError(
            f"the keystore {path} is of version {str(version)[:20]}; it must be a keystore file of version 3"
        )
    try:
        secret = _decrypt(keystore | {"version": _KEYSTORE_VERSION}, password)
    except (ValueError, TypeError, KeyError, RuntimeError) as error:  # the last: a cipher that the library lacks
        what = "another password" if "MAC mismatch" in str(error) else type(error).__name__
        raise SignerError(
            f"the keystore {path} cannot be opened with the password in {password_file} ({what}); "
            "check that both belong together and that the keystore is of version 3"
        ) from None
    if len(secret) != _KEY_BYTES:
        # Its maker dropped leading zeros, or put one before. The address that has to come out proves that it was that.
        secret = secret.lstrip(b"\0").rjust(_KEY_BYTES, b"\0")
        expected_address = expected_address or str(keystore.get("address", ""))
    try:
        signer = LocalSigner(secret)
    except InvalidSignatureError:
        raise SignerError(f"the keystore {path} holds no private key of secp256k1") from None
    return _checked(signer, expected_address, path)


def _decrypt(keystore: Any, password: str) -> bytes:
    # Importing this raises the interpreter's recursion limit to 100,000 (py_ecc/__init__.py). With it, deeply nested
    # JSON from outside would overflow the stack and end the process instead of raising RecursionError.
    limit = sys.getrecursionlimit()
    try:
        from eth_account import Account  # noqa: PLC0415 - imported where the limit can be set back
    finally:
        sys.setrecursionlimit(limit)
    return bytes(Account.decrypt(keystore, password))


def _checked(signer: LocalSigner, expected_address: str | None, path: Path) -> LocalSigner:
    if expected_address is None:
        return signer
    try:
        expected = normal_address(expected_address if expected_address.startswith("0x") else f"0x{expected_address}")
    except InvalidIdentifierError:
        expected = ""
    if expected != signer.address:
        raise SignerError(f"{path} holds the key of {signer.address}, not of {expected_address or 'a named account'}")
    return signer
