"""Which blocks can be replayed."""

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.membership.forecast.blocks import (
    PRIVACY_PRECOMPILE,
    TRANSFER_GAS,
    ChainBlock,
    Flaw,
    PublicTransaction,
    accounts_to_ask,
    examine,
)
from tests.fakes.block_contents import a_transaction

BLOCK_GAS = 100_000
ACCOUNTS = ("0xa", "0xb", "0xc")


def sent(sender: str, place: int = 0, **fields: int | str | None) -> PublicTransaction:
    return a_transaction(f"0x{place}", sender, **{"to": "0xd", "gas_limit": TRANSFER_GAS} | fields)


def block(*transactions: PublicTransaction) -> ChainBlock:
    return ChainBlock(number=7, block_hash="0x7", gas_limit=BLOCK_GAS, transactions=transactions)


@st.composite
def valid_blocks(draw: st.DrawFn) -> tuple[ChainBlock, list[int], dict[str, int], dict[str, int]]:
    """A block that is valid one after the other, with its transactions' nonces; counts and balances at its parent."""
    counts = {account: draw(st.integers(0, 3)) for account in ACCOUNTS}
    balances = {account: draw(st.integers(0, 3)) * TRANSFER_GAS for account in ACCOUNTS}
    nonces, funds = dict(counts), dict(balances)
    transactions: list[PublicTransaction] = []
    used: list[int] = []
    for place in range(draw(st.integers(0, 5))):
        sender, to = draw(st.sampled_from(ACCOUNTS)), draw(st.sampled_from((*ACCOUNTS, PRIVACY_PRECOMPILE)))
        price = draw(st.sampled_from((0, 1)))
        value = draw(st.integers(0, 2)) * TRANSFER_GAS
        transaction = sent(sender, place, to=to, value=value, gas_price=price)
        if transaction.cost > funds[sender]:
            continue
        used.append(nonces[sender])
        nonces[sender] += 1
        funds[sender] -= transaction.cost
        if to in funds:
            funds[to] += value
        transactions.append(transaction)
    return block(*transactions), used, counts, balances


def replays(block: ChainBlock, used: Sequence[int], counts: Mapping[str, int], balances: Mapping[str, int]) -> bool:
    """Execute each transaction on the parent's state alone, as a replay does."""
    return all(
        nonce == counts[transaction.sender]
        and transaction.cost <= balances[transaction.sender]
        and transaction.gas_limit <= block.gas_limit
        for nonce, transaction in zip(used, block.transactions, strict=True)
    )


@given(valid_blocks())
def test_a_block_is_replayable_when_each_transaction_is_valid_on_the_parent(
    made: tuple[ChainBlock, list[int], dict[str, int], dict[str, int]],
) -> None:
    """Counts need not be asked, and balances only of those who may have been paid in the block."""
    content, used, counts, balances = made
    asked = {account: balances[account] for account in accounts_to_ask(content)}
    assert examine(content, asked).replayable is replays(content, used, counts, balances)


def test_markers_count_as_any_transaction() -> None:
    """Two markers of a fixed key in one block make it unreplayable, with both of them named."""
    pair = [sent("0xa", place, to=PRIVACY_PRECOMPILE, data_bytes=32) for place in (1, 2)]
    (flaw,) = examine(block(*pair), {}).flaws
    assert (flaw.flaw, flaw.account, flaw.transactions) == (Flaw.ACCOUNT_TWICE, "0xa", ("0x1", "0x2"))


def test_more_gas_than_the_block_has_is_a_flaw() -> None:
    """Such a transaction is invalid wherever it is executed."""
    (flaw,) = examine(block(sent("0xa", gas_limit=BLOCK_GAS + 1)), {}).flaws
    assert flaw.flaw is Flaw.GAS


def test_free_transactions_need_no_balance() -> None:
    """On a network without a gas price nobody is asked for."""
    assert accounts_to_ask(block(sent("0xa"), sent("0xb"))) == ()


def test_who_can_have_been_paid_in_the_block_is_asked_for() -> None:
    """A contract may pay anybody, so what was called before counts as well as what was sent."""
    paying = sent("0xb", 1, gas_price=1)
    assert accounts_to_ask(block(paying, sent("0xa", value=1))) == ()
    assert accounts_to_ask(block(sent("0xa", value=1), paying)) == ("0xb",)
    assert accounts_to_ask(block(sent("0xa", data_bytes=4), paying)) == ("0xb",)


def test_what_changes_contracts_before_a_marker_is_a_risk_and_no_flaw() -> None:
    """A private contract that reads what was changed before it in the block computes another root in a replay."""
    marker = sent("0xm", 9, to=PRIVACY_PRECOMPILE, data_bytes=32, gas_limit=3_000_000 % BLOCK_GAS)
    call, made, transfer = sent("0xa", 1, data_bytes=4), sent("0xb", 2, to=None), sent("0xc", 3)
    found = examine(block(call, made, transfer, marker), {})
    assert (found.unsettling, found.replayable) == (("0x1", "0x2"), True)
    assert examine(block(marker, call, made), {}).unsettling == ()
    assert examine(block(marker, marker), {}).unsettling == ()
