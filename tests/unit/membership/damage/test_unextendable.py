"""Blocks that close groups, additions that are sent again, and what is announced of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.events.documents.schema import DOCUMENTS
from orchestrator.membership.damage.unextendable import (
    SeenAddition,
    Unextendable,
    WatchTally,
    additions_in,
    changed_in,
    closes_groups,
    repetitions,
    unextendable_event,
)
from orchestrator.membership.forecast.blocks import (
    PRIVACY_PRECOMPILE,
    ChainBlock,
    Examination,
    Flaw,
    FlawedTransactions,
    PublicTransaction,
    examine,
)
from orchestrator.membership.model import GroupView
from orchestrator.membership.news.status import EventType
from tests.fakes.block_contents import a_transaction

TWICE = Examination(
    number=8,
    block_hash="0x8",
    flaws=(FlawedTransactions(flaw=Flaw.ACCOUNT_TWICE, account="0xp", transactions=("0x1", "0x2")),),
)


def sent(name: str, account: str, *, to: str = "0x1", addition: str = "") -> PublicTransaction:
    return a_transaction(name, account, to=to, data_bytes=len(addition) // 2, addition=addition)


def block(*transactions: PublicTransaction) -> ChainBlock:
    return ChainBlock(number=8, block_hash="0x8", gas_limit=10**9, transactions=transactions)


def view(root: str) -> GroupView:
    return GroupView(block_number=1, exists=bool(root), state_root=root)


@pytest.mark.parametrize(
    ("transactions", "closes"),
    [
        ([sent("0x1", "0xp"), sent("0x2", "0xp"), sent("0x3", "0xm", to=PRIVACY_PRECOMPILE)], True),
        ([sent("0x1", "0xm", to=PRIVACY_PRECOMPILE), sent("0x2", "0xm", to=PRIVACY_PRECOMPILE)], True),
        ([sent("0x1", "0xp"), sent("0x2", "0xp")], False),
        ([sent("0x1", "0xp"), sent("0x2", "0xq"), sent("0x3", "0xm", to=PRIVACY_PRECOMPILE)], False),
    ],
)
def test_a_block_closes_groups_by_a_pair_beside_a_marker(transactions: list[PublicTransaction], closes: bool) -> None:
    """It takes an account twice, be it in two markers, and a private transaction in the block."""
    content = block(*transactions)
    assert closes_groups(content, examine(content, {})) is closes


@pytest.mark.parametrize(
    ("pairs", "changed"),
    [
        ([("a", "b")], True),
        ([("a", "a")], False),
        ([("", "a")], True),
        ([("a", ""), ("", "")], None),
        ([("a", "b"), ("a", "b"), ("x", "x")], True),
        ([("a", "a"), ("a", "a"), ("x", "y")], False),
        ([("a", "a"), ("x", "y")], True),
    ],
)
def test_most_nodes_decide_whether_a_group_is_in_a_block(pairs: list[tuple[str, str]], changed: bool | None) -> None:
    """A damaged node does not outvote the others; of two that disagree the danger is taken for real."""
    assert changed_in([(view(before), view(after)) for before, after in pairs]) is changed


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), max_size=12))
def test_a_repetition_comes_in_a_later_block_only(seen: list[tuple[int, int]]) -> None:
    """What is called repeated has the bytes of an addition in a block strictly before, and no such one is missed."""
    additions = [
        SeenAddition(addition=str(kind), transaction_hash=f"t{place}", sender="0xs", block_number=number)
        for place, (kind, number) in enumerate(sorted(seen, key=lambda one: one[1]))
    ]
    found = {repetition.transaction_hash for repetition in repetitions(additions, {})}
    expected = {
        one.transaction_hash
        for one in additions
        if any(other.addition == one.addition and other.block_number < one.block_number for other in additions)
    }
    assert found == expected


def test_additions_are_told_from_other_markers() -> None:
    """Only what carries a group's history counts."""
    content = block(sent("0x1", "0xa", to=PRIVACY_PRECOMPILE, addition="ab" * 64), sent("0x2", "0xb"))
    assert [addition.transaction_hash for addition in additions_in(content)] == ["0x1"]


def test_the_tally_keeps_the_newest_pair() -> None:
    """All blocks count, those with an account twice also apart, and other flaws are none of them."""
    gas = Examination(
        number=9, block_hash="0x9", flaws=(FlawedTransactions(flaw=Flaw.GAS, account="0xg", transactions=("0x3",)),)
    )
    tally = WatchTally().with_block(TWICE).with_block(gas)
    assert (tally.blocks, tally.account_twice, tally.newest_twice, tally.account) == (2, 1, 8, "0xp")


def test_the_event_says_what_to_do() -> None:
    """It fits its schema, and has the block, the account and the remedy."""
    event = unextendable_event(Unextendable(privacy_group_id="g", examination=TWICE))
    data = {"privacy_group_id": "g", "change_id": None, "request_id": None, "sequence": 1} | dict(event.data)
    DOCUMENTS[EventType.GROUP_UNEXTENDABLE].model_fields["data"].annotation.model_validate(data)  # type: ignore[union-attr] # the field is always a model
    assert event.data["block_number"] == 8
    assert "Make a new group" in str(event.data["reason"])
