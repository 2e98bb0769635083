"""Which blocks can be replayed."""

from dataclasses import replace

import pytest

from orchestrator.devnet.chain.public_signatures import sign_public_transaction, signing_account
from orchestrator.devnet.chain.public_state import PublicAccount
from orchestrator.devnet.chain.public_transaction import PublicTransaction
from orchestrator.devnet.chain.replayability import find_invalid

FIRST = sign_public_transaction(
    signing_account(b"\1" * 32), account_nonce=7, gas_price=0, gas_limit=21_000, to="0x" + "b2" * 20
)
NEXT = replace(FIRST, account_nonce=8)
OTHER = replace(FIRST, sender="0x" + "c3" * 20, account_nonce=0)
AT_PARENT = {FIRST.sender: PublicAccount(account_nonce=7), OTHER.sender: PublicAccount()}


@pytest.mark.parametrize(
    ("transactions", "why"),
    [
        ((), None),
        ((FIRST,), None),
        ((FIRST, OTHER), None),
        ((FIRST, NEXT), "transaction nonce 8 does not match sender account nonce 7"),
        ((FIRST, OTHER, NEXT), "transaction nonce 8 does not match sender account nonce 7"),
    ],
)
def test_no_account_may_be_there_twice(transactions: tuple[PublicTransaction, ...], why: str | None) -> None:
    """An account's second transaction has a nonce that the parent's state doesn't know yet."""
    invalid = find_invalid(transactions, AT_PARENT.__getitem__)

    assert (invalid.why if invalid is not None else None) == why
    assert invalid is None or invalid.transaction is NEXT


@pytest.mark.parametrize(("balance_wei", "valid"), [(0, False), (120_999, False), (121_000, True)])
def test_each_account_must_be_able_to_pay_at_the_parent(balance_wei: int, valid: bool) -> None:
    """What it was given in the same block doesn't count: value and gas limit times gas price come from before."""
    paid = replace(FIRST, gas_price=1, value=100_000)
    accounts = AT_PARENT | {paid.sender: PublicAccount(7, balance_wei)}
    invalid = find_invalid((OTHER, paid), accounts.__getitem__)

    assert (invalid is None) is valid
    assert invalid is None or "exceeds transaction sender account balance" in invalid.why
