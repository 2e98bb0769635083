"""Asking another organisation's daemon about its member, and answering, on the fake network and a wire between them."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.besu.client.signers import LocalSigner, signer_from_key
from orchestrator.besu.codec.statements import signer_of
from orchestrator.engine.attestation import inquiries
from orchestrator.engine.attestation.attestation_messages import (
    ATTESTATION_TYPE,
    INQUIRY_TYPE,
    decode_attestation,
    decode_inquiry,
    encode_word,
)
from orchestrator.engine.attestation.inquiries import AttestationBook, Inquirer, Policy
from orchestrator.engine.attestation.verdict_messages import MAX_BODY_BYTES, InvalidVerdictError
from orchestrator.engine.attestation.vouchers import Voucher
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Block, NodeError
from orchestrator.engine.ports.queues import BrokerError
from orchestrator.membership.attestation.questions import (
    VALID_FOR,
    Attestation,
    Inquiry,
    Signed,
    inquiry_of,
    statement_of,
)
from orchestrator.membership.forecast.histories import GroupBlock, GroupHistory
from orchestrator.membership.forecast.newcomers import Attested, NewcomerFacts, Unattested
from orchestrator.membership.reasons.table import Reason
from tests.fakes.clock import START, JumpingClock
from tests.fakes.network import FakeNetwork, FakeNode
from tests.fakes.signatures import signed_statement

GROUP = "DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w="
OLD = "old"
MEMBER = "k2zXEin4Ip/qBGlRkJejnGWdP9cjkK+DAvKNW31L2C8="
# Well-known public development keys.
JOINER = signer_from_key("c87509a1c067bbde78beb793e6fa76530b6382a4c0241e5e4a9ec0a0f44dc0d3")
ADDER = signer_from_key("8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63")
FOREIGN = signer_from_key("ae6ae8e5ccbfb04590405997ee2d52d2b330726137b875053c36d94e974d162f")
ROOT = "0x" + "ab" * 32


class Accounts:
    """The accounts of one organisation."""

    def __init__(self, signer: LocalSigner) -> None:
        self._signer = signer

    async def sign_statement(self, account: str, text: bytes) -> bytes:
        assert account == self._signer.address
        return signed_statement(text, self._signer)


class Organisations:
    """The adder's inquirer and the joiner's voucher; what one publishes is kept until it is delivered."""

    def __init__(self, policy: Policy = Policy.PREFER, *, askers: tuple[str, ...] = (ADDER.address,)) -> None:
        self.network = FakeNetwork()
        FakeNode(self.network, "m1", OLD)
        FakeNode(self.network, "m3", MEMBER)
        self.network.mine(9)
        self.clock = JumpingClock()
        ours, theirs = (ChainWatcher(node, self.clock) for node in self.network.nodes)
        self.joining = theirs
        self.questions: list[bytes] = []
        self.answers: list[bytes] = []
        self.facts: NewcomerFacts | None = NewcomerFacts(
            enclave_key=MEMBER, node="m3", head=9, holds=False, roots={9: ""}, replays=()
        )
        self.book = AttestationBook({MEMBER: JOINER.address}, signer_of)
        self.inquirer = Inquirer(Fleet([ours]), self.book, {"m1": ADDER.address}, Accounts(ADDER), self.clock, policy)
        self.inquirer.ask_by(self.ask)
        self.guarded: str | None = None
        self.voucher = Voucher(
            Fleet([theirs]),
            self,
            {"m3": JOINER.address},
            askers,
            Accounts(JOINER),
            signer_of,
            self.say,
            self.clock,
            self.why,
        )
        self.delivers = True
        self.asked = asyncio.Event()

    async def newcomer(self, history: GroupHistory, enclave_key: str) -> NewcomerFacts | None:
        assert (history.privacy_group_id, enclave_key) == (GROUP, MEMBER)
        return self.facts

    async def why(self, node: str, privacy_group_id: str) -> str | None:
        assert (node, privacy_group_id) == ("m3", GROUP)
        return self.guarded

    async def ask(self, body: bytes) -> None:
        self.questions.append(body)
        self.asked.set()
        if self.delivers and self.voucher.take(body, self.clock.now()):
            await self.voucher.answer()

    async def say(self, body: bytes) -> None:
        self.answers.append(body)
        self.book.take(body, self.clock.now())

    def history(self) -> GroupHistory:
        head = self.network.head
        block = GroupBlock(number=3, block_hash="", state_root=ROOT)
        return GroupHistory(privacy_group_id=GROUP, blocks=(block,), through=head.number, through_hash=head.block_hash)

    async def about(self) -> Attested | Unattested:
        return await self.inquirer.about(self.history(), MEMBER, [OLD])


async def test_a_member_is_vouched_for_by_its_own_side() -> None:
    """One question, one answer, which names the account and the head that it was looked at."""
    both = Organisations()
    assert await both.about() == Attested(account=JOINER.address, block_number=9, last=0, reason=None)
    assert (len(both.questions), len(both.answers)) == (1, 1)


async def test_an_answer_is_used_while_it_holds_and_no_longer() -> None:
    """The look after the lock asks nobody; a minute later the side that sees is asked anew."""
    both = Organisations()
    await both.about()
    await both.about()
    assert len(both.questions) == 1
    await both.clock.sleep((VALID_FOR + timedelta(minutes=2)).total_seconds())
    await both.about()
    assert len(both.questions) == 2


async def test_what_speaks_against_it_comes_back() -> None:
    """A state that is not the group's: the adder hears why, in its own words of reasons."""
    both = Organisations()
    assert both.facts is not None
    both.facts = replace(both.facts, holds=True, roots={9: "odd"})
    found = await both.about()
    assert isinstance(found, Attested)
    assert found.reason is not None
    assert (found.reason.slug, found.reason.members) == ("former_member_unsafe", (MEMBER,))
    assert "m3" not in found.reason.detail, "what others read names no node of ours"


async def test_a_guard_that_would_refuse_the_history_is_told_before_anything_is_locked() -> None:
    """The adder reads that the member's guard refuses, and why, instead of finding its addition lost."""
    both = Organisations()
    both.guarded = "nobody there has agreed to this addition"
    found = await both.about()
    assert isinstance(found, Attested)
    assert found.reason is not None
    assert (found.reason.slug, found.reason.detail) == ("refused_by_guard", both.guarded)


@pytest.mark.parametrize("policy", [Policy.PREFER, Policy.REQUIRE])
async def test_who_does_not_answer_is_waited_for_once(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the wait nothing is known of the member; looked at again a moment later nobody waits again."""
    monkeypatch.setattr(inquiries, "WAIT_SECONDS", 0.01)
    both = Organisations(policy)
    both.delivers = False
    waits: list[float] = []
    usual = both.clock.wait_for

    async def counted(awaitable, seconds):  # type: ignore[no-untyped-def] # the protocol has the types
        waits.append(seconds)
        return await usual(awaitable, seconds)

    both.clock.wait_for = counted  # type: ignore[method-assign] # counts, and waits as before
    for _ in range(2):
        found = await both.about()
        assert isinstance(found, Unattested)
        assert found.required is (policy is Policy.REQUIRE)
        assert "did not answer" in found.detail
    assert (len(both.questions), len(waits)) == (2, 1)


async def test_a_late_answer_ends_the_wait() -> None:
    """It comes by the queue while the question waits."""
    both = Organisations()
    both.delivers = False
    asking = asyncio.create_task(both.about())
    await both.asked.wait()
    assert both.voucher.take(both.questions[0], both.clock.now())
    await both.voucher.answer()
    assert isinstance(await asking, Attested)


async def test_nobody_is_asked_in_vain() -> None:
    """Not where it is off, not about whom nobody speaks for, not without a queue or a speaker."""
    both = Organisations(Policy.IGNORE)
    assert isinstance(await both.about(), Unattested)
    both = Organisations(Policy.REQUIRE)
    unknown = await both.inquirer.about(both.history(), "somebody", [OLD])
    assert isinstance(unknown, Unattested)
    assert unknown.required
    for speakers, queue in (({}, both.ask), ({"m1": ADDER.address}, None)):
        inquirer = Inquirer(both.inquirer._fleet, both.book, speakers, Accounts(ADDER), both.clock, Policy.PREFER)
        if queue is not None:
            inquirer.ask_by(queue)
        assert isinstance(await inquirer.about(both.history(), MEMBER, [OLD]), Unattested)
    assert both.questions == []


async def test_an_answer_from_another_branch_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was looked at on a block that our chain does not have says nothing of ours."""
    monkeypatch.setattr(inquiries, "WAIT_SECONDS", 0.01)
    both = Organisations()
    await both.about()
    word = decode_attestation(both.answers[0]).word
    assert isinstance(word, Attestation)
    odd = replace(word, block_hash="0x" + "00" * 32, issued_at=word.issued_at + timedelta(seconds=1))
    assert both.book.take(encode_word(signed(odd, JOINER)), both.clock.now())
    both.delivers = False
    assert isinstance(await both.about(), Unattested)


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "on a branch of its own"])
async def test_a_node_of_another_group_has_no_word_refused(monkeypatch: pytest.MonkeyPatch, *, silent: bool) -> None:
    """Which chain is ours tell the nodes of the members that stay, not whichever node is first."""
    monkeypatch.setattr(inquiries, "WAIT_SECONDS", 0.01)
    both = Organisations(Policy.REQUIRE)
    odd = ChainWatcher(FakeNode(both.network, "m0", "stranger"), both.clock)
    monkeypatch.setattr(both.inquirer, "_fleet", Fleet([odd, *both.inquirer._fleet.watchers]))

    async def block(number: int) -> Block:
        if silent:
            raise NodeError(Reason(slug="node_unreachable", detail="it does not answer"))
        return replace(both.network.head, number=number, block_hash="0x" + "00" * 32)

    await odd.current()
    monkeypatch.setattr(odd, "block", block)
    assert isinstance(await both.about(), Attested)


async def test_only_configured_accounts_are_answered() -> None:
    """A question of anybody else, a tampered one, an old one, one about a member that is not ours: silence."""
    both = Organisations(askers=(FOREIGN.address,))
    both.inquirer.ask_by(both.ask)
    question = signed(inquiry_of(both.history(), MEMBER, 1337, START), ADDER)
    assert not both.voucher.take(encode_word(question), START)
    both = Organisations()
    assert both.voucher.take(encode_word(question), START)
    assert not both.voucher.take(encode_word(replace(question, signature=b"\x1b" * 65)), START)
    assert not both.voucher.take(encode_word(question), START + timedelta(hours=1))
    word = question.word
    assert isinstance(word, Inquiry)
    assert not both.voucher.take(encode_word(signed(replace(word, enclave_key=GROUP), ADDER)), START)


async def test_a_chain_that_is_not_ours_is_not_answered_about() -> None:
    """The question is taken, and nothing is said."""
    both = Organisations()
    assert both.voucher.take(encode_word(signed(inquiry_of(both.history(), MEMBER, 1, START), ADDER)), START)
    await both.voucher.answer()
    assert both.answers == []


async def test_a_node_that_does_not_answer_keeps_nobody_else_waiting() -> None:
    """The question is dropped; the next one is answered when the node is back."""
    both = Organisations()
    node = both.network.nodes[1]
    node.down = True
    question = encode_word(signed(inquiry_of(both.history(), MEMBER, 1337, START), ADDER))
    assert both.voucher.take(question, START)
    await both.voucher.answer()
    assert both.answers == []
    node.down = False
    assert both.voucher.take(question, START)
    await both.voucher.answer()
    assert len(both.answers) == 1


async def test_a_queue_that_is_away_is_no_answer() -> None:
    """The addition is not held up by it for ever."""
    both = Organisations()

    async def away(body: bytes) -> None:
        raise BrokerError("the queue is away")

    both.inquirer.ask_by(away)
    found = await both.about()
    assert isinstance(found, Unattested)
    assert "the queue is away" in found.detail


# --- the wire -------------------------------------------------------------------------------------------------------


def signed(word: Inquiry | Attestation, signer: LocalSigner) -> Signed:
    return Signed(word=word, account=signer.address, signature=signed_statement(statement_of(word), signer))


def documents() -> list[tuple[dict[str, object], Callable[[bytes], Signed]]]:
    history = GroupHistory(
        privacy_group_id=GROUP,
        blocks=(GroupBlock(number=3, block_hash="", state_root=ROOT),),
        through=9,
        through_hash=ROOT,
    )
    said = Attestation(
        privacy_group_id=GROUP,
        enclave_key=MEMBER,
        chain_id=1337,
        block_number=9,
        block_hash=ROOT,
        last=3,
        trouble="node_behind",
        detail="why",
        issued_at=START,
        expires_at=START + VALID_FOR,
    )
    asked = inquiry_of(history, MEMBER, 1337, START)
    for word, decode in ((asked, decode_inquiry), (said, decode_attestation)):
        assert decode(encode_word(signed(word, ADDER))) == signed(word, ADDER)
    return [
        (json.loads(encode_word(signed(asked, ADDER))), decode_inquiry),
        (json.loads(encode_word(signed(said, JOINER))), decode_attestation),
    ]


def test_questions_and_answers_are_read_as_they_were_written() -> None:
    """Encoding and decoding give the same; the type tells which it is."""
    assert [document["type"] for document, _ in documents()] == [INQUIRY_TYPE, ATTESTATION_TYPE]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(st.data(), JSON)
def test_no_field_does_harm(data: st.DataObject, value: object) -> None:
    """Whatever stands in one field, the message is read or refused; altered, its signature is not the sender's."""
    document, decode = data.draw(st.sampled_from(documents()))
    said = document["data"]
    assert isinstance(said, dict)
    name = data.draw(st.sampled_from(sorted(said)))
    before = said[name]
    said[name] = value
    try:
        found = decode(json.dumps(document).encode())
    except InvalidVerdictError:
        return
    believed = signer_of(statement_of(found.word), found.signature) == found.account
    assert not believed or value == before


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b" " * (MAX_BODY_BYTES + 1)])
def test_what_is_no_message_is_refused(body: bytes) -> None:
    """Nor is anything above the bound parsed."""
    for decode in (decode_inquiry, decode_attestation):
        with pytest.raises(InvalidVerdictError):
            decode(body)


def test_blocks_out_of_order_are_refused() -> None:
    """The rules search them by number."""
    (document, decode), _ = documents()
    said = document["data"]
    assert isinstance(said, dict)
    said["blocks"] = said["blocks"] * 2
    with pytest.raises(InvalidVerdictError, match="in order"):
        decode(json.dumps(document).encode())
