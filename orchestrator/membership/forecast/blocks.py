"""Can a block be replayed? From its public transactions to what makes a replay of it fail, or go astray.

A replay executes each public transaction of a block on the state of the block's parent, with nothing carried from one
to the next (docs/besu.md#what-a-replay-needs). A block on the chain was valid with everything carried over, so that of
the rules of validity only those can fail that an earlier transaction of the same block helped to fulfil.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

TRANSFER_GAS: Final = 21_000
"""What a bare transfer takes; with no more gas than this no contract runs."""

PRIVACY_PRECOMPILE: Final = "0x000000000000000000000000000000000000007d"
"""Where marker transactions go: it changes no public state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicTransaction:
    """A transaction of the public chain, a marker or any other.

    Attributes:
        transaction_hash: Its hash.
        sender: The account that signed it, "0x…" in lower case.
        to: The address called, in lower case; None when it creates a contract.
        value: In wei.
        gas_limit: In gas.
        gas_price: The most wei that it pays for a gas.
        data_bytes: Length of its input; of a marker 32, or 64 when it adds to a group that had existed before.
        addition: Of a marker of 64 bytes these in hexadecimal; empty text elsewhere.
        payload_key: Of a marker the key of the private transaction, in hexadecimal; empty text elsewhere.
    """

    transaction_hash: str
    sender: str
    to: str | None
    value: int
    gas_limit: int
    gas_price: int
    data_bytes: int
    addition: str = ""
    payload_key: str = ""

    @property
    def marker(self) -> bool:
        """Whether it carries a private transaction."""
        return self.to == PRIVACY_PRECOMPILE

    @property
    def cost(self) -> int:
        """What its account must have before it, in wei."""
        return self.value + self.gas_limit * self.gas_price

    @property
    def changes_contracts(self) -> bool:
        """Whether it can change the state of a public contract."""
        return not self.marker and (self.to is None or self.data_bytes > 0 or self.gas_limit > TRANSFER_GAS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainBlock:
    """A block with its public transactions, in order.

    Attributes:
        number: Its number.
        block_hash: Its hash.
        gas_limit: The block's, in gas.
        transactions: All of them.
    """

    number: int
    block_hash: str
    gas_limit: int
    transactions: tuple[PublicTransaction, ...]


ADDITION_BYTES: Final = 64
"""Length of the input of a marker that brings a group's history: payload key and history key."""


class Flaw(StrEnum):
    """Why a block can't be replayed."""

    ACCOUNT_TWICE = "account_twice"
    """An account has two transactions in it: the second one's nonce is not the account's count at the parent."""
    BALANCE = "balance"
    """An account could pay only with what it was sent in this block."""
    GAS = "gas"
    """A transaction has more gas than the block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlawedTransactions:
    """Public transactions that stop every replay of their block.

    Attributes:
        flaw: Why.
        account: Whose they are.
        transactions: Their hashes, in order.
    """

    flaw: Flaw
    account: str
    transactions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What a block is to a replay; it never changes, as long as the block is on the chain.

    Attributes:
        number: The block.
        block_hash: Its hash.
        flaws: What makes it unreplayable for every group that has an executed transaction in it.
        unsettling: Public transactions that can change what a private contract behind them in the block reads. The
            replay then computes another root, and halts; nothing shows what private code reads.
        markers: How many private transactions are in it, of all groups; None where that was not counted.
        told_by: Name of the only node that said so; empty once a second one has said the same.
    """

    number: int
    block_hash: str
    flaws: tuple[FlawedTransactions, ...] = ()
    unsettling: tuple[str, ...] = ()
    markers: int | None = None
    told_by: str = field(default="", compare=False)

    @property
    def replayable(self) -> bool:
        """Whether a node can replay it, as far as public transactions decide."""
        return not self.flaws


_FLAWS: Final = {
    Flaw.ACCOUNT_TWICE: "account {account} has {count} transactions in it",
    Flaw.BALANCE: "account {account} pays with what it was sent in the same block",
    Flaw.GAS: "account {account} sent a transaction with more gas than the block has",
}


def flaws_in_words(examination: Examination) -> str:
    """Return for a person why a block can't be replayed."""
    said = (_FLAWS[flaw.flaw].format(account=flaw.account, count=len(flaw.transactions)) for flaw in examination.flaws)
    return f"block {examination.number}: {'; '.join(said)}"


def accounts_to_ask(block: ChainBlock) -> tuple[str, ...]:
    """Return the accounts whose balance at the parent decides: those that pay, and may have got it in the block.

    Args:
        block: The block.
    """
    paid_before = False
    asked: dict[str, None] = {}
    for transaction in block.transactions:
        # What no earlier transaction of the block can have paid in was there at the parent, as the chain has proven;
        # each balance that is asked for is a call.
        if transaction.cost > 0 and paid_before:
            asked[transaction.sender] = None
        # A contract may pay anybody, and its block does not show whom.
        paid_before = paid_before or transaction.value > 0 or transaction.changes_contracts
    return tuple(asked)


def examine(block: ChainBlock, balances: Mapping[str, int]) -> Examination:
    """Return what a block is to a replay.

    Args:
        block: The block.
        balances: In wei at the parent, of the accounts that `accounts_to_ask` names.
    """
    by_account: dict[str, list[PublicTransaction]] = {}
    for transaction in block.transactions:
        by_account.setdefault(transaction.sender, []).append(transaction)
    flaws: list[FlawedTransactions] = []
    for account, sent in by_account.items():
        # A block on the chain is valid one after the other: the first of an account has the count at the parent.
        if len(sent) > 1:
            flaws.append(_flawed(Flaw.ACCOUNT_TWICE, account, sent))
        # Each for itself against the balance at the parent: a replay carries nothing over
        # (docs/besu.md#what-a-replay-needs, 1).
        poor = [t for t in sent if account in balances and t.cost > balances[account]]
        if poor:
            flaws.append(_flawed(Flaw.BALANCE, account, poor))
        large = [t for t in sent if t.gas_limit > block.gas_limit]
        if large:
            flaws.append(_flawed(Flaw.GAS, account, large))
    # Of whichever group it is: a marker does not show that. What comes behind the last one is read by no private code
    # of this block (docs/besu.md#what-a-replay-needs, 7).
    last_marker = max((place for place, t in enumerate(block.transactions) if t.marker), default=0)
    unsettling = (t.transaction_hash for t in block.transactions[:last_marker] if t.changes_contracts)
    return Examination(
        number=block.number,
        block_hash=block.block_hash,
        flaws=tuple(flaws),
        unsettling=tuple(unsettling),
        markers=sum(t.marker for t in block.transactions),
    )


def _flawed(flaw: Flaw, account: str, transactions: list[PublicTransaction]) -> FlawedTransactions:
    hashes = tuple(transaction.transaction_hash for transaction in transactions)
    return FlawedTransactions(flaw=flaw, account=account, transactions=hashes)
