from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.besu.codec import answers
from orchestrator.besu.codec.results import ClientVersion, Syncing
from orchestrator.besu.errors import ProtocolError

HASH = "0x" + "ab" * 32
READERS = [
    answers.read_quantity,
    answers.read_number,
    answers.read_timestamp,
    answers.read_data,
    answers.read_hash,
    answers.read_address,
    answers.read_flag,
    answers.read_head,
    answers.read_block,
    answers.read_public_transaction,
    answers.read_public_receipt,
    answers.read_log,
    answers.read_private_receipt,
    answers.read_private_transaction,
    answers.read_found_group,
    answers.read_client_version,
    answers.read_syncing,
]
FIELDS = [
    "number", "hash", "parentHash", "timestamp", "transactions", "from", "to", "nonce", "input", "topics", "data",
    "address", "blockNumber", "blockHash", "transactionHash", "logIndex", "status", "output", "logs", "members",
    "privacyGroupId", "privateFrom", "v", "r", "s", "gas", "gasPrice", "value", "restriction", "currentBlock",
]  # fmt: skip # names to draw from: one a line says no more
values = st.none() | st.booleans() | st.integers() | st.sampled_from(["0x1", HASH, "0x", "0x" + "11" * 20]) | st.text()
documents = st.recursive(values, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(FIELDS), inner))


@pytest.mark.parametrize("field", ["number", "timestamp"])
@pytest.mark.parametrize("value", [2**62, 2**63, 2**64, 2**255])
def test_a_block_that_no_store_could_keep_is_none(field: str, value: int) -> None:
    """A head beyond 62 bits, or a time beyond the year 9999, is no answer: it would not fit where it is kept."""
    head = {"number": "0x1", "hash": HASH, "parentHash": HASH, "timestamp": "0x1"}
    assert answers.read_head({**head, "number": hex(2**62 - 1)}).number == 2**62 - 1
    with pytest.raises(ProtocolError, match="bits"):
        answers.read_head({**head, field: hex(value)})


@given(documents, st.sampled_from(READERS))
def test_hostile_answers_are_refused_or_read(document: Any, read: Any) -> None:
    """No JSON makes a reader raise anything else than the one error for a wrong answer."""
    try:
        read(document)
    except ProtocolError:
        return


@pytest.mark.parametrize(("text", "number"), [("0x0", 0), ("0x1b", 27), ("0x" + "f" * 64, 2**256 - 1)])
def test_quantities_are_integers(text: str, number: int) -> None:
    """A quantity is hexadecimal of up to 256 bits."""
    assert answers.read_quantity(text) == number


@pytest.mark.parametrize("value", [None, 5, "", "0x", "27", "0xg", "0x" + "f" * 65, "0x-1", "0x1_0", True])
def test_other_quantities_are_refused(value: object) -> None:
    """Numbers of JSON, decimal text and spellings that only Python takes are no quantities."""
    with pytest.raises(ProtocolError):
        answers.read_quantity(value)


@pytest.mark.parametrize(
    ("text", "product", "version"),
    [
        ("besu/v23.10.3/linux-x86_64/openjdk-java-17", "besu", (23, 10, 3)),
        ("besu/v21.1.7/linux-x86_64/openjdk-java-11", "besu", (21, 1, 7)),
        ("besu/v25.4-develop-abc1234/linux", "besu", (25, 4, 0)),
        ("Geth/v1.13.0-stable/linux", "geth", (1, 13, 0)),
        ("besu/10.0.0.5/v23.10.3/linux-x86_64/openjdk-java-17", "besu", (23, 10, 3)),
        ("besu/v1.2.3/v23.10.3/linux-x86_64/openjdk-java-17", "besu", (23, 10, 3)),
        ("besu/a/b/10.0/v23.10.3/linux-x86_64/openjdk-java-17", "besu", (23, 10, 3)),
        ("besu/vnull/linux-x86_64/openjdk-java-17", "besu", None),
        ("besu/10.0.0.5/vnull/linux-x86_64/openjdk-java-17", "besu", None),
        ("besu/10.0.0.5", "besu", None),
        ("besu/unknown", "besu", None),
        ("besu", "besu", None),
        ("", "", None),
    ],
)
def test_client_versions_are_read(text: str, product: str, version: tuple[int, int, int] | None) -> None:
    """The version is the part before those of the system, whatever an operator put before it; it may be unsaid."""
    assert answers.read_client_version(text) == ClientVersion(product, version, text)


@pytest.mark.parametrize("text", [5, None, "x" * 5000])
def test_a_client_without_a_name_is_refused(text: object) -> None:
    """What is no short text is no client's name."""
    with pytest.raises(ProtocolError):
        answers.read_client_version(text)


def test_syncing_is_false_or_a_distance() -> None:
    """A node in sync answers false, another says how far it is."""
    assert answers.read_syncing(False) is None
    assert answers.read_syncing({"startingBlock": "0x0", "currentBlock": "0x5", "highestBlock": "0x9"}) == Syncing(5, 9)


def test_transactions_of_a_head_may_be_hashes_or_whole() -> None:
    """Both forms give the hashes; a node that leaves them out says nothing about them."""
    head = {"number": "0x1", "hash": HASH, "parentHash": HASH, "timestamp": "0x2"}
    assert answers.read_head(head).transaction_hashes is None
    assert answers.read_head({**head, "transactions": [HASH]}).transaction_hashes == (HASH,)
    assert answers.read_head({**head, "transactions": [{"hash": HASH}]}).transaction_hashes == (HASH,)


def test_a_list_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """More items than anyone needs are refused."""
    monkeypatch.setattr(answers, "MAX_ITEMS", 2)
    with pytest.raises(ProtocolError, match="at most 2"):
        answers.read_list(answers.read_flag, [True] * 3)
