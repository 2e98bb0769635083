"""What signs as an account, and how it fails: the one port to keys, wherever they are.

``SignerError``: an account's key can't be used; the tree below it says why a signature did not come.

- ``SignerAwayError``: nothing was heard, or nothing that decides: it may sign the same later.
- ``SignerRefusedError``: it answered that it does not sign: a locked key, a policy, a key that it does not have.
- ``WrongSignatureError``: it answered with something that is not the account's signature over what it was given.
"""

from typing import Protocol

from orchestrator.besu.codec.account_signatures import Signature


class SignerError(ValueError):
    """An account's key cannot be used. The message names file or service, and never shows a secret."""


class SignerAwayError(SignerError):
    """The signer does not answer, or not with what decides; nothing was signed as far as anybody is concerned."""


class SignerRefusedError(SignerError):
    """The signer does not sign; somebody has to look at it."""


class WrongSignatureError(SignerError):
    """The signer answered with what is no signature of the account over the message."""


class Signer(Protocol):
    """An account that signs."""

    @property
    def address(self) -> str:
        """The account's address, "0x…" in lower case."""

    async def sign(self, message: bytes) -> Signature:
        """Return the account's signature over a message's Keccak-256 hash; it is of no other account.

        Raises:
            SignerAwayError, SignerRefusedError, WrongSignatureError: There is none; see the module.
        """


class KeyService(Protocol):
    """Holds an account's key somewhere else and signs with it; ``CheckedSigner`` makes a signer of it.

    Time-outs, limits and the proof that a signature is the account's are not its business.
    """

    async def sign(self, message: bytes) -> bytes:
        """Return a signature over a message's Keccak-256 hash: r, s and v (65 bytes), r and s (64), or DER.

        v may be anything, and s the higher one. A call may be cancelled, and the same message may come again.

        Args:
            message: The message itself: services that take a hash get ``eth_hash.auto.keccak(message)``.

        Raises:
            SignerAwayError: The service did not answer, or asks to come again later.
            SignerRefusedError: It does not sign with this key.
        """
