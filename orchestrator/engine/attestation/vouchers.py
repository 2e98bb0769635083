"""Answering other organisations' daemons: may a member that one of our nodes hosts be added to their group now?

Only configured peers are answered, each question once, a bounded number at a time; an answer says what the rules make
of what only we can see, and nothing of other groups' names or members.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import datetime
from typing import Final, Protocol

import structlog

from orchestrator.bounded_dicts import BoundedDict
from orchestrator.engine.attestation.attestation_messages import decode_inquiry, encode_word
from orchestrator.engine.attestation.verdict_messages import InvalidVerdictError
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.engine.ports.queues import BrokerError
from orchestrator.engine.ports.signers import StatementSigner
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.runtime.isolation import contained
from orchestrator.membership.attestation.questions import (
    MOST_CHARACTERS,
    VALID_FOR,
    Attestation,
    Inquiry,
    OwnNode,
    Promised,
    Signed,
    inquiry_refusal,
    statement_of,
    trouble_of,
)
from orchestrator.membership.forecast.histories import GroupHistory
from orchestrator.membership.forecast.newcomers import NewcomerFacts, departure

MOST_WAITING: Final = 256
ANSWER_SECONDS: Final = 8.0
"""What looking at a node may take: whoever asks does not wait much longer."""

log = structlog.get_logger()


async def _nobody(_node: str, _group: str) -> str | None:
    """No guard stands before any node."""
    return None


class Newcomers(Protocol):
    """What of `orchestrator.engine.history.forecaster.Forecaster` answers use."""

    async def newcomer(self, history: GroupHistory, enclave_key: str) -> NewcomerFacts | None:
        """Return what the rules need of a member of ours; None while more is to be read.

        Raises:
            NodeError: Its node does not answer.
            StoreError: What is kept can't be read or written.
        """


class Voucher:
    """Answers questions about our members.

    Args:
        fleet: The nodes.
        newcomers: Reads what the rules need of them.
        speakers: By a node's name the account, in the configuration's writing, that signs for it.
        askers: Accounts that may ask.
        signer: The accounts.
        signer_of: Tells the account that signed a statement; None when it is no signature.
        publish: Gives an answer's bytes to the message queue; may raise `BrokerError`.
        clock: Time.
        guarded: Tells why a guard before a node, by its name, would refuse a group's history; None: it would not.
    """

    def __init__(
        self,
        fleet: Fleet,
        newcomers: Newcomers,
        speakers: Mapping[str, str],
        askers: Collection[str],
        signer: StatementSigner,
        signer_of: Callable[[bytes, bytes], str | None],
        publish: Callable[[bytes], Awaitable[None]],
        clock: Clock,
        guarded: Callable[[str, str], Awaitable[str | None]] = _nobody,
    ) -> None:
        self._guarded = guarded
        self._fleet = fleet
        self._newcomers = newcomers
        self._speakers = dict(speakers)
        self._askers = frozenset(account.lower() for account in askers)
        self._signer = signer
        self._signer_of = signer_of
        self._publish = publish
        self._clock = clock
        self._waiting: OrderedDict[tuple[str, str], Inquiry] = OrderedDict()
        self._answered: BoundedDict[tuple[str, str], datetime] = BoundedDict(MOST_WAITING)
        self._promised: dict[tuple[str, str], Promised] = {}
        self._asked = asyncio.Event()

    def take(self, body: bytes, now: datetime) -> bool:
        """Remember a question that came in, if it is to be answered; tells whether it was."""
        try:
            signed = decode_inquiry(body)
        except InvalidVerdictError as error:
            log.warning("inquiry ignored", reason=str(error))
            return False
        word = signed.word
        if not isinstance(word, Inquiry) or self._speaker(word) is None:
            return False  # about somebody else's member
        known = signed.account in self._askers
        # Recovered for those only who may ask: it costs processor time, and anybody may publish here.
        signer = self._signer_of(statement_of(word), signed.signature) if known else None
        refusal = inquiry_refusal(signed, self._askers, signer, now)
        pair = (word.privacy_group_id, word.enclave_key)
        if refusal is not None:
            log.warning("inquiry ignored", reason=refusal, group=pair[0], member=pair[1], by=signed.account)
            return False
        # Older than what was answered: the queue gives it again.
        if self._answered.get(pair, word.issued_at) > word.issued_at or len(self._waiting) >= MOST_WAITING:
            return False
        self._waiting[pair] = word
        self._asked.set()
        return True

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            with contained("vouching"):
                await self.answer()

    async def answer(self) -> None:
        """Answer all that waits, one after the other: what was promised for one counts for the next."""
        while self._waiting:
            pair, inquiry = self._waiting.popitem(last=False)
            with contained("inquiry", group=pair[0], member=pair[1]):
                try:
                    await self._clock.wait_for(self._answer(pair, inquiry), ANSWER_SECONDS)
                except (NodeError, BrokerError, StoreError, TimeoutError) as error:
                    # Whoever asked says that nothing was answered, and asks again with the next try.
                    log.warning("inquiry not answered", group=pair[0], member=pair[1], reason=str(error) or "too slow")

    def _speaker(self, inquiry: Inquiry) -> tuple[ChainWatcher, str] | None:
        watcher = self._fleet.hosting(inquiry.enclave_key)
        account = self._speakers.get(watcher.node.name) if watcher is not None else None
        return (watcher, account) if watcher is not None and account is not None else None

    async def _answer(self, pair: tuple[str, str], inquiry: Inquiry) -> None:
        spoken = self._speaker(inquiry)
        if spoken is None:
            return
        watcher, account = spoken
        traits = await watcher.node.traits()
        if traits.chain_id != inquiry.chain_id:
            log.warning("inquiry ignored", reason="it is about another chain", group=pair[0], member=pair[1])
            return
        head = await watcher.current()
        # Unknown while the node is behind the asker's head, which is no other branch.
        same = None
        if head.number >= inquiry.through:
            same = (await watcher.block(inquiry.through)).block_hash == inquiry.through_hash
        own = OwnNode(
            head=head.number,
            besu_version=traits.besu_version,
            validator=traits.validator,
            enclave_trouble=await watcher.node.enclave_trouble() is not None,
            same_branch=same,
        )
        seen = await self._newcomers.newcomer(inquiry.history, inquiry.enclave_key)
        found = departure(inquiry.history, seen) if seen is not None else None
        now = self._clock.now()
        self._promised = {key: kept for key, kept in self._promised.items() if kept.until > now}
        others = [p for key, p in self._promised.items() if key[0] != pair[0] and p.node == watcher.node.name]
        trouble, detail = trouble_of(inquiry, own, seen, found, others)
        # Only where our own rules let it pass: else the guard's view changes nothing.
        if not trouble and (why := await self._guarded(watcher.node.name, pair[0])) is not None:
            trouble, detail = "refused_by_guard", why
        word = Attestation(
            privacy_group_id=pair[0],
            enclave_key=pair[1],
            chain_id=traits.chain_id,
            block_number=head.number,
            block_hash=head.block_hash,
            last=found.last if found is not None else 0,
            trouble=trouble,
            detail=detail[:MOST_CHARACTERS],
            issued_at=now,
            expires_at=now + VALID_FOR,
        )
        if not trouble and seen is not None:
            former = bool(seen.holds) and not seen.shared
            # Before it is told: two groups that got a yes at the same moment would be replayed in one block
            # (docs/besu.md#former-members, 2).
            self._promised[pair] = Promised(
                privacy_group_id=pair[0], node=watcher.node.name, former=former, until=word.expires_at
            )
        signature = await self._signer.sign_statement(account, statement_of(word))
        await self._publish(encode_word(Signed(word=word, account=account.lower(), signature=signature)))
        self._answered[pair] = inquiry.issued_at
        log.info("inquiry answered", group=pair[0], member=pair[1], trouble=trouble or None)
