"""A signer whose key is elsewhere: never waited for without end, never too much at once, never believed."""

import asyncio
from typing import Final

from eth_hash.auto import keccak

from orchestrator.besu.client.signer_ports import KeyService, SignerAwayError, SignerError, WrongSignatureError
from orchestrator.besu.codec.account_signatures import InvalidSignatureError, Signature, read_halves, signature_by
from orchestrator.outside_text import presentable

DEFAULT_TIMEOUT_SECONDS: Final = 10.0
DEFAULT_AT_ONCE: Final = 8
_MOST_CHARACTERS: Final = 200


class CheckedSigner:
    """An account whose key a service holds (`orchestrator.besu.client.signer_ports.Signer`).

    Args:
        address: The account's, "0x…"; every signature has to be its.
        name: What the service is called in messages, such as its address.
        service: Signs.
        timeout_seconds: For each signature, waiting for a slot included: lanes fail together, and not in turn.
        at_once: How many signatures are asked for at a time.
    """

    def __init__(
        self,
        address: str,
        name: str,
        service: KeyService,
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        at_once: int = DEFAULT_AT_ONCE,
    ) -> None:
        self._address = address.lower()
        self._name = name
        self._service = service
        self._timeout_seconds = timeout_seconds
        self._slots = asyncio.Semaphore(at_once)

    def __repr__(self) -> str:
        return f"CheckedSigner({self._address}, {self._name})"

    @property
    def address(self) -> str:
        """The account's address, "0x…" in lower case."""
        return self._address

    async def sign(self, message: bytes) -> Signature:
        """Return the account's signature; see ``Signer.sign``."""
        answered = await self._answer(message)
        try:
            return signature_by(self._address, keccak(message), *read_halves(answered))
        except InvalidSignatureError as error:
            raise WrongSignatureError(
                f"what {self._name} answered as {self._address} is not used: {error}. Look which key it signs with"
            ) from None

    async def _answer(self, message: bytes) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_seconds), self._slots:
                return bytes(await self._service.sign(message))
        except SignerError:
            raise
        except TimeoutError:
            raise SignerAwayError(
                f"{self._name} did not sign as {self._address} within {self._timeout_seconds:g} s; is it up, and fast "
                "enough?"
            ) from None
        except Exception as error:
            words = presentable(str(error), _MOST_CHARACTERS).strip()
            raise SignerAwayError(
                f"{self._name} failed to sign as {self._address}: {type(error).__name__} ({words or 'nothing more'})"
            ) from error
