"""Taking other organisations' words: which are remembered, and that nothing hostile does harm."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.besu.client.signers import LocalSigner, signer_from_key
from orchestrator.besu.codec.statements import signer_of
from orchestrator.engine.attestation import newest_statements
from orchestrator.engine.attestation.peer_statements import VerdictBook, VerdictReader
from orchestrator.engine.attestation.verdict_messages import (
    MAX_BODY_BYTES,
    VERDICT_TYPE,
    InvalidVerdictError,
    decode_verdict,
    encode_verdict,
)
from orchestrator.membership.attestation.verdicts import MemberVerdict, RootAt, SignedVerdict, statement
from tests.fakes.clock import START, JumpingClock
from tests.fakes.signatures import signed_statement

GROUP = "DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w="
MEMBER = "k2zXEin4Ip/qBGlRkJejnGWdP9cjkK+DAvKNW31L2C8="
# Well-known public development keys.
PEER = signer_from_key("c87509a1c067bbde78beb793e6fa76530b6382a4c0241e5e4a9ec0a0f44dc0d3")
FOREIGN = signer_from_key("8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63")
ROOTS = tuple(
    RootAt(block_number=number, block_hash=f"0x{number:064x}", state_root="0x" + "ab" * 32) for number in (10, 11)
)
SAID = MemberVerdict(privacy_group_id=GROUP, enclave_key=MEMBER, chain_id=1337, roots=ROOTS, head=11, issued_at=START)


def signed(verdict: MemberVerdict = SAID, signer: LocalSigner = PEER) -> SignedVerdict:
    signature = signed_statement(statement(verdict), signer)
    return SignedVerdict(verdict=verdict, account=signer.address, signature=signature)


def book() -> VerdictBook:
    return VerdictBook({MEMBER: PEER.address.upper().replace("0X", "0x")}, signer_of)


def test_a_verdict_is_read_as_it_was_written() -> None:
    """Encoding and decoding give the same verdict, which is then believed and found."""
    verdict = signed(replace(SAID, roots=(*ROOTS, replace(ROOTS[0], block_number=12, state_root=""))))
    assert decode_verdict(encode_verdict(verdict)) == verdict
    known = book()
    assert known.take(encode_verdict(verdict), START)
    assert known.newest(GROUP, MEMBER) == verdict
    assert known.expects(MEMBER)


def test_only_newer_words_replace_older_ones() -> None:
    """A verdict that comes again, or an older one, does not replace what is known."""
    known = book()
    newer = signed(replace(SAID, issued_at=START + timedelta(seconds=1)))
    assert known.take(encode_verdict(newer), START)
    assert not known.take(encode_verdict(newer), START)
    assert not known.take(encode_verdict(signed()), START)
    assert known.newest(GROUP, MEMBER) == newer


def test_a_foreign_signature_does_not_count() -> None:
    """Signed by another account, under its own name or the peer's, a verdict is ignored."""
    known = book()
    foreign = signed(signer=FOREIGN)
    assert not known.take(encode_verdict(foreign), START)
    assert not known.take(encode_verdict(replace(foreign, account=PEER.address)), START)
    assert known.newest(GROUP, MEMBER) is None


def test_a_stale_word_does_not_count() -> None:
    """What is older than an hour, or from the future, is ignored."""
    for distance in (timedelta(hours=2), -timedelta(hours=2)):
        assert not book().take(encode_verdict(signed()), START + distance)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "head": st.integers(0, 20),
            "chain_id": st.integers(0, 2000),
            "privacy_group_id": st.sampled_from([GROUP, MEMBER]),
            "issued_at": st.sampled_from([START, START + timedelta(seconds=5)]).map(lambda at: at.isoformat()),
            "roots": st.sampled_from([[], [{"block_number": 10, "block_hash": "0x" + "0" * 64, "state_root": ""}]]),
        },
    )
)
def test_a_tampered_word_does_not_count(altered: dict[str, object]) -> None:
    """A document that was altered in what it says, and not signed anew, is ignored."""
    document = json.loads(encode_verdict(signed()))
    before = dict(document["data"])
    document["data"].update(altered)
    assert book().take(json.dumps(document).encode(), START) == (document["data"] == before)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(st.one_of(st.binary(max_size=200), JSON.map(lambda value: json.dumps(value).encode())))
def test_no_message_does_harm(body: bytes) -> None:
    """Whatever is published, it is either a verdict or ignored."""
    assert not book().take(body, START)


@example("issued_at", "0001-01-01T00:00:00+14:00")
@example("issued_at", "9999-12-31T23:59:59-14:00")
@given(st.sampled_from(["roots", "member", "chain_id", "head", "issued_at", "account", "signature"]), JSON)
def test_no_field_does_harm(name: str, value: object) -> None:
    """Whatever stands in one field, the message is either a verdict or ignored."""
    document = json.loads(encode_verdict(signed()))
    document["data"][name] = value
    assert not book().take(json.dumps(document).encode(), START)


def test_long_messages_are_not_read() -> None:
    """A message above the bound is ignored before it is parsed."""
    with pytest.raises(InvalidVerdictError, match="bytes"):
        decode_verdict(b" " * (MAX_BODY_BYTES + 1))


def test_the_book_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict that was taken longest ago makes room for a new one."""
    monkeypatch.setattr(newest_statements, "MOST_REMEMBERED", 2)
    known = book()
    groups = [MEMBER, GROUP, GROUP.replace("D", "E")]
    for group in groups:
        assert known.take(encode_verdict(signed(replace(SAID, privacy_group_id=group))), START)
    assert [known.newest(group, MEMBER) is not None for group in groups] == [False, True, True]


async def test_what_comes_by_the_queue_goes_into_the_book() -> None:
    """The reader takes what is good and passes over what is not."""

    class Queue:
        async def verdicts(self):  # type: ignore[no-untyped-def] # the protocol has the types
            for body in (b"{", encode_verdict(signed(signer=FOREIGN)), encode_verdict(signed())):
                yield body

    known = book()
    await VerdictReader(Queue(), {VERDICT_TYPE: known.take}, JumpingClock()).run()
    assert known.newest(GROUP, MEMBER) == signed()
