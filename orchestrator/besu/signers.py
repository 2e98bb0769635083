"""Accounts that sign private transactions; their keys never appear in a representation, a message or a log."""

import codecs
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any, Final, Protocol

from orchestrator.besu.identifiers import InvalidIdentifierError, hex_to_bytes, normal_address
from orchestrator.besu.private_transaction import (
    InvalidPrivateTransactionError,
    PrivateTransaction,
    address_of_private_key,
    sign_private_transaction,
)
from orchestrator.besu.statements import sign_statement
from orchestrator.secret_modes import is_too_open, lies_in

_MAX_FILE_BYTES: Final = 64 << 10
_KEY_BYTES: Final = 32
_KEYSTORE_VERSION: Final = 3
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

SEED_BYTES: Final = 32


class SignerError(ValueError):
    """An account's key cannot be used. The message names the file and never shows what it holds."""


class Signer(Protocol):
    """An account that can sign private transactions."""

    @property
    def address(self) -> str:
        """The account's address, "0x…" in lower case."""

    def sign(self, transaction: PrivateTransaction) -> bytes:
        """Return the raw signed transaction.

        Raises:
            InvalidPrivateTransactionError: a field is out of range.
        """

    def sign_statement(self, text: bytes) -> bytes:
        """Return the signature of a statement, as of `orchestrator.besu.statements`."""


class LocalSigner:
    """A signer that holds the key in memory."""

    __slots__ = ("_address", "_private_key")

    def __init__(self, private_key: bytes) -> None:
        self._private_key = private_key
        self._address = address_of_private_key(private_key)

    def __repr__(self) -> str:
        return f"LocalSigner({self._address})"

    def __reduce__(self) -> str:
        raise TypeError("a signer is not pickled: its key stays in this process")

    @property
    def address(self) -> str:
        """The account's address, "0x…" in lower case."""
        return self._address

    def sign(self, transaction: PrivateTransaction) -> bytes:
        """Return the raw signed transaction; see ``Signer.sign``."""
        return sign_private_transaction(transaction, self._private_key)

    def sign_statement(self, text: bytes) -> bytes:
        """Return the signature of a statement; see ``Signer.sign_statement``."""
        return sign_statement(text, self._private_key)


def signer_from_key(private_key: bytes | str) -> LocalSigner:
    """Return a signer for a key in memory (32 bytes, or hexadecimal text); for development accounts.

    Raises:
        SignerError: it is no private key.
    """
    try:
        secret = hex_to_bytes(private_key.strip(), max_bytes=32) if isinstance(private_key, str) else private_key
        return LocalSigner(secret)
    except (InvalidIdentifierError, InvalidPrivateTransactionError):
        raise SignerError("the private key is not 32 bytes between 1 and the order of secp256k1") from None


def signer_from_key_file(path: Path, *, expected_address: str | None = None) -> LocalSigner:
    """Read a private key, 64 hexadecimal digits, from a file that only its owner can read.

    Raises:
        SignerError: the file is readable by others, cannot be read, holds no key, or the key of another account.
    """
    text = _read_secret(path, "key file")
    try:
        signer = LocalSigner(hex_to_bytes(text.strip(), max_bytes=32))
    except (InvalidIdentifierError, InvalidPrivateTransactionError):
        raise SignerError(f"the key file {path} must hold a private key: 64 hexadecimal digits") from None
    return _checked(signer, expected_address, path)


def read_seed(path: Path) -> bytes:
    """Read the seed of marker accounts, 64 hexadecimal digits, from a file that only its owner can read.

    Raises:
        SignerError: the file is readable by others, cannot be read, or holds no seed.
    """
    text = _read_secret(path, "seed file").strip().removeprefix("0x")
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
    password = _read_secret(password_file, "password file").rstrip("\r\n")
    try:
        keystore = json.loads(_read(path, "keystore"))
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
    except InvalidPrivateTransactionError:
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


def _read_secret(path: Path, what: str) -> str:
    try:
        found = os.stat(path)
    except OSError as error:
        raise SignerError(f"the {what} {path} cannot be read: {error.strerror}") from None
    mode, handed_over = found.st_mode, lies_in(str(path), os.environ.get("CREDENTIALS_DIRECTORY", ""))
    if is_too_open(mode, owner=found.st_uid, reader=os.getuid(), handed_over=handed_over):
        raise SignerError(
            f"the {what} {path} has mode {stat.S_IMODE(mode):04o}: others can read it; run chmod 600 {path}, or "
            "have it handed over with mode 0400 or 0440 (docs/servers.md)"
        )
    return _read(path, what)


def _read(path: Path, what: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SignerError(f"the {what} {path} cannot be read: {error.strerror}") from None
    if len(content) > _MAX_FILE_BYTES:
        raise SignerError(f"the {what} {path} is larger than {_MAX_FILE_BYTES} bytes")
    if content.startswith(_UTF_16):
        raise SignerError(f"the {what} {path} is written in UTF-16: write it again as UTF-8 (or plain ASCII)")
    try:
        return content.decode("utf-8-sig")  # some editors put a mark in front
    except UnicodeDecodeError:
        raise SignerError(f"the {what} {path} is no text") from None
