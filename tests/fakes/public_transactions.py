"""Public transactions that anybody can make: markers, what burns them, and pairs that no replay survives."""

from typing import Any

from eth_hash.auto import keccak

from orchestrator.besu.codec.management_contract import PRIVACY_PRECOMPILE
from orchestrator.devnet.chain.public_signatures import SigningAccount, sign_public_transaction, signing_account
from orchestrator.devnet.chain.public_transaction import PublicTransaction


class PublicTransactions:
    """Makes them, with accounts that nobody used before."""

    def __init__(self) -> None:
        self._accounts_used = 0

    def one_time(self) -> SigningAccount:
        """An account that nobody used before."""
        self._accounts_used += 1
        return signing_account(keccak(b"one-time account %d" % self._accounts_used))

    @staticmethod
    def sign(account: SigningAccount, **fields: Any) -> PublicTransaction:
        """Sign a public transaction, by default a marker without a price."""
        defaults: dict[str, Any] = {"account_nonce": 0, "gas_price": 0, "gas_limit": 100_000, "to": PRIVACY_PRECOMPILE}
        return sign_public_transaction(account, **defaults | {"chain_id": 1337} | fields)

    def burn(self, account: SigningAccount, **fields: Any) -> PublicTransaction:
        """Sign what takes a marker's place: a transfer of nothing to the account itself."""
        return self.sign(account, to=account.address, gas_limit=21_000, **fields)

    def marker(
        self, payload: bytes, account: SigningAccount | None = None, account_nonce: int = 0
    ) -> PublicTransaction:
        """Sign a marker, by default with the key of an account that nobody else has."""
        return self.sign(account or self.one_time(), account_nonce=account_nonce, payload=payload)

    def pair_of_one_account(self) -> list[PublicTransaction]:
        """Two public transactions of one account: a block that holds them can't be replayed."""
        account = self.one_time()
        return [self.burn(account, account_nonce=account_nonce) for account_nonce in (0, 1)]
