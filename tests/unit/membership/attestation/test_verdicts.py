"""What is believed of another organisation's word, and what it shows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.membership.attestation.verdicts import (
    CLOCK_SKEW,
    RECENT,
    MemberVerdict,
    RootAt,
    SignedVerdict,
    refusal,
    sighting_of,
    statement,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PEER = "0x" + "aa" * 20
PEERS = {"new": PEER}
HASHES = {number: f"hash-{number}" for number in range(10, 14)}


def root(number: int, value: str = "root") -> RootAt:
    return RootAt(block_number=number, block_hash=f"hash-{number}", state_root=value)


def verdict(*roots: RootAt, **fields: Any) -> SignedVerdict:
    said = MemberVerdict(
        privacy_group_id="group", enclave_key="new", chain_id=1337, roots=roots, head=20, issued_at=NOW
    )
    return SignedVerdict(verdict=replace(said, **fields), account=PEER, signature=b"")


def numbers_seen(signed: SignedVerdict | None, *, chain_id: int = 1337, partial: bool = True) -> list[int]:
    seen = sighting_of(signed, chain_id=chain_id, hashes=HASHES, first=10, last=13, partial=partial)
    return [view.block_number for view in seen.views] if seen is not None else []


def test_the_configured_account_is_believed() -> None:
    """A recent verdict that its configured account signed is believed."""
    assert refusal(verdict(root(10)), PEERS, PEER, NOW) is None


@given(
    key=st.sampled_from(["new", "other"]),
    account=st.sampled_from([PEER, "0x" + "bb" * 20]),
    signer=st.sampled_from([PEER, "0x" + "bb" * 20, None]),
    age=st.timedeltas(min_value=timedelta(hours=-3), max_value=timedelta(hours=3)),
)
def test_nothing_else_is_believed(key: str, account: str, signer: str | None, age: timedelta) -> None:
    """A verdict counts only about a configured member, of its account, with that signature, and while recent."""
    signed = replace(verdict(root(10), enclave_key=key, issued_at=NOW - age), account=account)
    good = key == "new" and account == PEER and signer == PEER and -CLOCK_SKEW <= age <= RECENT
    assert (refusal(signed, PEERS, signer, NOW) is None) == good


TAMPERED = st.one_of(
    st.builds(lambda text: {"privacy_group_id": text}, st.text(max_size=5)),
    st.builds(lambda text: {"enclave_key": text}, st.text(max_size=5)),
    st.builds(lambda number: {"chain_id": number}, st.integers(0, 2000)),
    st.builds(lambda number: {"head": number}, st.integers(0, 30)),
    st.builds(lambda number: {"roots": (root(number),)}, st.integers(0, 30)),
    st.builds(lambda text: {"roots": (root(10, text),)}, st.text(max_size=5)),
    st.builds(lambda rule: {"refused": rule}, st.text("abc_", max_size=5)),
    st.builds(lambda delta: {"issued_at": NOW + delta}, st.timedeltas(-RECENT, RECENT)),
)


@given(TAMPERED)
def test_whatever_is_altered_alters_what_was_signed(fields: dict[str, Any]) -> None:
    """Two verdicts that differ in anything have different statements."""
    original = verdict(root(10)).verdict
    altered = replace(original, **fields)
    assert (statement(altered) == statement(original)) == (altered == original)


def test_the_proofs_blocks_are_seen() -> None:
    """Roots at the proof's blocks are seen, others are passed over."""
    assert numbers_seen(verdict(*map(root, range(8, 16)))) == [10, 11, 12, 13]


def test_a_gap_ends_what_is_seen() -> None:
    """What comes behind a missing block does not count, and without the effect's block nothing does."""
    assert numbers_seen(verdict(root(10), root(12), root(13))) == [10]
    assert numbers_seen(verdict(root(11), root(12))) == []


def test_another_chain_and_another_branch_are_not_seen() -> None:
    """Roots of another chain, or at blocks with other hashes, show nothing."""
    assert numbers_seen(verdict(root(10)), chain_id=1) == []
    assert numbers_seen(verdict(replace(root(10), block_hash="other"))) == []


def test_what_is_not_complete_counts_only_for_a_while() -> None:
    """A verdict that stops before the proof's last block counts only while the rest is waited for."""
    assert numbers_seen(verdict(root(10)), partial=False) == []
    assert numbers_seen(verdict(*map(root, range(10, 14))), partial=False) == [10, 11, 12, 13]
    assert numbers_seen(None) == []


def test_a_refusal_is_of_the_addition_in_its_first_block() -> None:
    """What was refused for another block's addition says nothing of this one."""

    def refused(*numbers: int) -> str:
        signed = verdict(*(root(number, "") for number in numbers), refused="not_agreed_to")
        seen = sighting_of(signed, chain_id=1337, hashes=HASHES, first=10, last=13, partial=True)
        assert seen is not None
        return seen.refused

    assert refused(10, 11) == "not_agreed_to"
    assert refused(9, 10, 11) == ""
