"""Keys in a token that speaks PKCS#11: an HSM, a smart card, SoftHSM.

The token signs the Keccak-256 hash by CKM_ECDSA. Its library blocks, so each call has a thread of its own, which does
not keep the process from ending; one call of a library is made at a time. A session that died is opened again. A PIN
that was refused is never tried a second time: tokens lock themselves after a few wrong ones.
"""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from eth_hash.auto import keccak

from orchestrator.besu.client.secret_files import read_secret
from orchestrator.besu.client.signer_ports import KeyService, SignerAwayError, SignerError, SignerRefusedError
from orchestrator.outside_text import presentable

_REFUSALS: Final = (
    "FunctionRejected",
    "KeyFunctionNotPermitted",
    "KeyTypeInconsistent",
    "MechanismInvalid",
    "MechanismParamInvalid",
    "MultipleObjectsReturned",
    "NoSuchKey",
)
_PIN_REFUSALS: Final = (
    "PinExpired",
    "PinIncorrect",
    "PinInvalid",
    "PinLenRange",
    "PinLocked",
    "UserPinNotInitialized",
    "UserTypeInvalid",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenKey:
    """Where an account's key is.

    Attributes:
        module: The token's library, such as ``/usr/lib/softhsm/libsofthsm2.so``.
        token: The token's label.
        label: The key's label (CKA_LABEL); None for any.
        key_id: The key's id (CKA_ID); None for any.
        pin_file: File with the user's PIN, which only its owner can read.
    """

    module: Path
    token: str
    label: str | None = None
    key_id: bytes | None = None
    pin_file: Path

    def __str__(self) -> str:
        return f"token {self.token} of {self.module}"


@dataclass(slots=True)
class _Library:
    """What all accounts of this process share of one library: it has one state for them, their log-in included.

    Attributes:
        in_use: Held while the library is called.
        refused_pins: By token, hashes of PINs that it refused.
        beginnings: How often it began anew: handles of before are given out again, for other sessions and keys.
    """

    in_use: threading.Lock = field(default_factory=threading.Lock)
    refused_pins: set[tuple[str, bytes]] = field(default_factory=set)
    beginnings: int = 0


_libraries: dict[Path, _Library] = {}


class Pkcs11Token:
    """One account's key in a token (`orchestrator.besu.client.signer_ports.KeyService`).

    Args:
        key: Where it is.

    Raises:
        SignerError: The Python package for PKCS#11 is not installed.
    """

    def __init__(self, key: TokenKey) -> None:
        try:
            import pkcs11  # noqa: PLC0415 - an extra that most installations do not have
        except ImportError:
            raise SignerError(
                "accounts with pkcs11 need another package: pip install 'besu-membership-orchestrator[pkcs11]'"
            ) from None
        self._pkcs11: Any = pkcs11
        self._key = key
        self._library = _libraries.setdefault(key.module, _Library())
        self._session: Any = None
        self._found: Any = None
        self._opened_in = 0
        self._running: asyncio.Future[bytes] | None = None

    async def sign(self, message: bytes) -> bytes:
        """Return r and s; see ``KeyService.sign``."""
        while self._running is not None and not self._running.done():
            await asyncio.wait([self._running])  # of a call that nobody waits for any more: a session takes one
        self._running = _in_thread(lambda: self._sign(keccak(message)))
        return await asyncio.shield(self._running)

    async def close(self) -> None:
        """Close the session, unless the token still works: then the process's end closes it."""
        if self._running is None or self._running.done():
            await asyncio.wait([_in_thread(self._forget_in_turn)], timeout=1.0)

    def _sign(self, digest: bytes) -> bytes:
        with self._library.in_use:
            try:
                return self._signed_anew(digest)
            except SignerError:
                raise
            except self._pkcs11.PKCS11Error as error:
                self._forget()
                raise self._meaning(error) from error

    def _signed_anew(self, digest: bytes) -> bytes:
        mechanism = self._pkcs11.Mechanism.ECDSA
        if self._opened_in != self._library.beginnings:
            self._session = self._found = None  # closing it would close whatever has its handle now
        if self._found is not None:
            try:
                return bytes(self._found.sign(digest, mechanism=mechanism))
            except self._pkcs11.PKCS11Error as error:
                if type(error).__name__ in _REFUSALS:
                    raise
                self._forget()  # the session died: with a token that was restarted, unplugged or logged out
        self._session = self._opened()
        self._opened_in = self._library.beginnings
        self._found = self._session.get_key(
            object_class=self._pkcs11.ObjectClass.PRIVATE_KEY, label=self._key.label, id=self._key.key_id
        )
        return bytes(self._found.sign(digest, mechanism=mechanism))

    def _opened(self) -> Any:
        pin = read_secret(self._key.pin_file, "PIN file").strip("\r\n")
        known_as = (self._key.token, hashlib.sha256(pin.encode()).digest())
        if known_as in self._library.refused_pins:
            raise SignerRefusedError(
                f"{self._key} refused the PIN in {self._key.pin_file} before, and is not asked again with it, since it "
                "may lock itself: write the right one there"
            )
        library = self._loaded()
        try:
            try:
                return self._open_session(library, pin)
            except self._pkcs11.PKCS11Error as error:
                if type(error).__name__ in _PIN_REFUSALS:
                    raise
            self._library.beginnings += 1
            library.reinitialize()  # a library looks for tokens that came back only when it begins anew
            return self._open_session(library, pin)
        except self._pkcs11.PKCS11Error as error:
            if type(error).__name__ in _PIN_REFUSALS:
                self._library.refused_pins.add(known_as)
            raise

    def _open_session(self, library: Any, pin: str) -> Any:
        token = library.get_token(token_label=self._key.token)
        try:
            return token.open(user_pin=pin)
        except self._pkcs11.UserAlreadyLoggedIn:
            return token.open()  # by another account of this process, for all of its sessions

    def _loaded(self) -> Any:
        try:
            return self._pkcs11.lib(str(self._key.module))
        except Exception as error:
            if isinstance(error, self._pkcs11.PKCS11Error) and type(error) is not self._pkcs11.PKCS11Error:
                raise  # the library is one, and answers
            words = presentable(str(error)).strip()
            raise SignerRefusedError(
                f"{self._key.module} can't be loaded as a library for PKCS#11 ({type(error).__name__}: {words})"
            ) from error

    def _meaning(self, error: Exception) -> SignerError:
        name = type(error).__name__
        if name in _PIN_REFUSALS:
            return SignerRefusedError(
                f"{self._key} refuses the PIN in {self._key.pin_file} ({name}); it is not tried again before the file "
                "changes"
            )
        if name in _REFUSALS:
            wanted = ", ".join(
                text
                for text in (
                    f"label {self._key.label}" if self._key.label is not None else "",
                    f"id {self._key.key_id.hex()}" if self._key.key_id is not None else "",
                )
                if text
            )
            return SignerRefusedError(
                f"{self._key} does not sign with the private key with {wanted} ({name}); it must be one key of "
                "secp256k1 that may sign by CKM_ECDSA"
            )
        return SignerAwayError(f"{self._key} does not sign ({name}); is it plugged in and running?")

    def _forget_in_turn(self) -> bytes:
        with self._library.in_use:
            self._forget()
        return b""

    def _forget(self) -> None:
        session, self._session, self._found = self._session, None, None
        if session is not None and self._opened_in == self._library.beginnings:
            with suppress(self._pkcs11.PKCS11Error):
                session.close()


@asynccontextmanager
async def pkcs11_token(key: TokenKey) -> AsyncIterator[KeyService]:
    """Use a key in a token while the context lasts; the token is not touched before the first signature.

    Args:
        key: Where it is.

    Raises:
        SignerError: The Python package for PKCS#11 is not installed.
    """
    service = Pkcs11Token(key)
    try:
        yield service
    finally:
        await service.close()


def _in_thread(work: Callable[[], bytes]) -> asyncio.Future[bytes]:
    """Run what blocks in a thread that ends with the process, however long it blocks."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[bytes] = loop.create_future()
    future.add_done_callback(lambda done: None if done.cancelled() else done.exception())  # nobody may wait any more

    def tell(put: Callable[[Any], None], value: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(lambda: None if future.done() else put(value))

    def run() -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - it is raised where the future is awaited
            tell(future.set_exception, error)
        else:
            tell(future.set_result, result)

    threading.Thread(target=run, name="pkcs11", daemon=True).start()
    return future
