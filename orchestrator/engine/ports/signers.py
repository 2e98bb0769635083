"""What the engine needs of the accounts that sign: one port for private transactions and for statements.

Signing may leave the process, for a service that holds the keys. It may take seconds, fail, or be cancelled; nothing
that is not returned counts as signed, and what is returned is the account's own signature.
"""

from typing import Protocol


class StatementSigner(Protocol):
    """Signs statements as one of the configured accounts."""

    async def sign_statement(self, account: str, text: bytes) -> bytes:
        """Return the signature.

        Raises:
            KeyError: The account is not configured.
            NodeError: Its signer is away, refuses, or answers wrongly (`signer_away`, `signer_refused`,
                `signer_wrong`).
        """


class Signers(StatementSigner, Protocol):
    """Signs private transactions as one of the configured accounts."""

    @property
    def accounts(self) -> tuple[str, ...]:
        """Checksum addresses, in the order of the configuration."""

    async def sign(
        self,
        *,
        account: str,
        chain_id: int,
        private_nonce: int,
        privacy_group_id: str,
        private_from: str,
        payload: bytes,
    ) -> bytes:
        """Return the signed bytes; raises as `StatementSigner.sign_statement` does."""
