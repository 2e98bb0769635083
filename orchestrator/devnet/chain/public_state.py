"""Public nonces and balances of all accounts after every block. Pure.

The public chain of the devnet carries transfers, marker transactions and calls of contracts whose code is not run:
what they change here is the nonce and the balance of the sender, the balance of the receiver, and what the proposer
earns.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from orchestrator.devnet.chain.public_transaction import PublicTransaction


@dataclass(frozen=True, slots=True)
class PublicAccount:
    """An account: its public nonce and its balance in wei."""

    account_nonce: int = 0
    balance_wei: int = 0


class PublicState:
    """The accounts after each block of the canonical chain."""

    def __init__(self, balances_wei: Mapping[str, int]) -> None:
        self._blocks: dict[str, list[int]] = {}
        self._accounts: dict[str, list[PublicAccount]] = {}
        self._touched: list[tuple[str, ...]] = [()]
        for address, balance_wei in balances_wei.items():
            self._blocks[address] = [0]
            self._accounts[address] = [PublicAccount(balance_wei=balance_wei)]

    def account(self, address: str, block_number: int | None = None) -> PublicAccount:
        """An account after a block; after the newest one when the number is None."""
        blocks = self._blocks.get(address)
        if not blocks:
            return PublicAccount()
        at = len(blocks) if block_number is None else bisect_right(blocks, block_number)
        return self._accounts[address][at - 1] if at else PublicAccount()

    def append(self, transactions: Iterable[PublicTransaction], miner: str) -> None:
        """Apply the transactions of the next block."""
        changed: dict[str, PublicAccount] = {}

        def now(address: str) -> PublicAccount:
            return changed[address] if address in changed else self.account(address)

        for transaction in transactions:
            sender, fee = now(transaction.sender), transaction.gas_used * transaction.gas_price
            changed[transaction.sender] = PublicAccount(
                transaction.account_nonce + 1, sender.balance_wei - fee - transaction.value
            )
            for address, wei in ((transaction.receiver, transaction.value), (miner, fee)):
                if wei:
                    changed[address] = replace(now(address), balance_wei=now(address).balance_wei + wei)
        number = len(self._touched)
        for address, account in changed.items():
            self._blocks.setdefault(address, []).append(number)
            self._accounts.setdefault(address, []).append(account)
        self._touched.append(tuple(changed))

    def take_off(self) -> None:
        """Forget the newest block."""
        for address in self._touched.pop():
            self._blocks[address].pop()
            self._accounts[address].pop()
