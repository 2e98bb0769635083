"""Asking the daemon of a new member's organisation whether its node can take the group, and remembering the answers.

A question goes out on the subject that verdicts share, signed; the answer comes on the same. Whoever does not answer
within `WAIT_SECONDS` is not waited for: what becomes of the addition then is the deployment's to say.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Final, TypeVar

import structlog

from orchestrator.bounded_dicts import BoundedDict
from orchestrator.engine.attestation.attestation_messages import decode_attestation, encode_word
from orchestrator.engine.attestation.newest_statements import MOST_REMEMBERED, PeerBook
from orchestrator.engine.attestation.verdict_messages import InvalidVerdictError
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.engine.ports.queues import BrokerError
from orchestrator.engine.ports.signers import StatementSigner
from orchestrator.membership.attestation.questions import (
    VALID_FOR,
    Attestation,
    Signed,
    attestation_refusal,
    holds,
    inquiry_of,
    statement_of,
)
from orchestrator.membership.forecast.histories import GroupHistory
from orchestrator.membership.forecast.newcomers import Attested, Unattested
from orchestrator.membership.reasons.table import Reason

WAIT_SECONDS: Final = 10.0

T = TypeVar("T")

log = structlog.get_logger()


class Policy(StrEnum):
    """What is made of the word of others about a node that can't be seen."""

    REQUIRE = "require"
    """Without it nobody is added."""
    PREFER = "prefer"
    """It is asked for and waited for; without it the addition goes on, and says so."""
    IGNORE = "ignore"
    """It is not asked for."""


class AttestationBook(PeerBook[tuple[Attestation, str]]):
    """The newest believed answer about each member of each group; a bounded number of them.

    Args:
        peers: By enclave key the account that may speak for it.
        signer_of: Tells the account that signed a statement; None when it is no signature.
    """

    def __init__(self, peers: Mapping[str, str], signer_of: Callable[[bytes, bytes], str | None]) -> None:
        super().__init__(peers, signer_of)
        self._next_taken = asyncio.Event()

    def newest(self, privacy_group_id: str, enclave_key: str, now: datetime) -> tuple[Attestation, str] | None:
        """Return the newest answer that holds about a member in a group, and the account that signed it."""
        found = self._newest.get(privacy_group_id, enclave_key)
        return found if found is not None and holds(found[0], now) else None

    @property
    def next_taken(self) -> asyncio.Event:
        """Set when the next answer, about whomever, was taken."""
        return self._next_taken

    def take(self, body: bytes, now: datetime) -> bool:
        """Remember an answer that came in, if it is to be believed and new; tells whether it was remembered."""
        try:
            signed = decode_attestation(body)
        except InvalidVerdictError as error:
            log.warning("attestation ignored", reason=str(error))
            return False
        word = signed.word
        if not isinstance(word, Attestation):
            log.warning("attestation ignored", reason=attestation_refusal(signed, self._peers, None, now))
            return False
        signer = self._signer(word.enclave_key, signed.account, statement_of(word), signed.signature)
        refusal = attestation_refusal(signed, self._peers, signer, now)
        kept = (word, signed.account)
        if not self._keep("attestation", word, signed.account, kept, refusal, trouble=word.trouble or None):
            return False
        # A new event for the next one: one that is cleared could be missed by who has not been woken yet.
        taken, self._next_taken = self._next_taken, asyncio.Event()
        taken.set()
        return True


class Inquirer:
    """Asks about new members whose nodes we have no access to.

    Args:
        fleet: The nodes.
        book: Where answers are.
        speakers: By a node's name the account, in the configuration's writing, that signs for it.
        signer: The accounts.
        clock: Time.
        policy: See `Policy`.
    """

    def __init__(
        self,
        fleet: Fleet,
        book: AttestationBook,
        speakers: Mapping[str, str],
        signer: StatementSigner,
        clock: Clock,
        policy: Policy,
    ) -> None:
        self._publish: Callable[[bytes], Awaitable[None]] | None = None
        self._silent: BoundedDict[tuple[str, str], datetime] = BoundedDict(MOST_REMEMBERED)
        self._fleet = fleet
        self._book = book
        self._speakers = dict(speakers)
        self._signer = signer
        self._clock = clock
        self._policy = policy

    def ask_by(self, publish: Callable[[bytes], Awaitable[None]]) -> None:
        """Ask by the message queue from now on.

        Args:
            publish: Gives a question's bytes to it; may raise `BrokerError`.
        """
        self._publish = publish

    async def about(self, history: GroupHistory, enclave_key: str, members: Sequence[str]) -> Attested | Unattested:
        """Return the word of a new member's side; asks for it where none is known that holds.

        Args:
            history: The group's blocks.
            enclave_key: The member, whose node is not ours.
            members: The members that stay, whose nodes tell which chain is ours.
        """
        if self._policy is Policy.IGNORE:
            return Unattested(detail="its node is not one of ours, and others' word is not asked for", required=False)
        required = self._policy is Policy.REQUIRE
        if not self._book.expects(enclave_key):
            detail = "its node is not one of ours, and none of the peers is configured to speak for it"
            return Unattested(detail=detail, required=required)
        try:
            return await self._answer(history, enclave_key, members)
        except (NodeError, BrokerError, TimeoutError) as error:
            why = f"did not answer within {WAIT_SECONDS:.0f} s" if isinstance(error, TimeoutError) else f"({error})"
            detail = f"its node is not one of ours, and its operator's daemon can't be asked: {why}"
            if isinstance(error, TimeoutError):
                detail = f"its node is not one of ours, and its operator's daemon {why}"
            log.warning("no attestation", group=history.privacy_group_id, member=enclave_key, reason=str(error) or why)
            return Unattested(detail=detail, required=required)

    async def _answer(self, history: GroupHistory, enclave_key: str, members: Sequence[str]) -> Attested:
        found = await self._known(history, enclave_key, members)
        if found is not None:
            return found
        if self._publish is None:
            raise BrokerError("there is no message queue to ask by")
        account = self._speaker()
        chain_id = await self._shown(members, _chain_id)
        word = inquiry_of(history, enclave_key, chain_id, self._clock.now())
        signature = await self._signer.sign_statement(account, statement_of(word))
        await self._publish(encode_word(Signed(word=word, account=account.lower(), signature=signature)))
        return await self._wait_for_answer(history, enclave_key, members)

    async def _wait_for_answer(self, history: GroupHistory, enclave_key: str, members: Sequence[str]) -> Attested:
        """Wait, unless nobody answered the same a moment ago: an addition is looked at again and again."""
        pair = (history.privacy_group_id, enclave_key)
        now = self._clock.now()
        silent_at = self._silent.get(pair)
        if silent_at is not None and now - silent_at <= VALID_FOR:
            raise TimeoutError
        self._silent.pop(pair, None)
        try:
            return await self._clock.wait_for(self._until_known(history, enclave_key, members), WAIT_SECONDS)
        except TimeoutError:
            self._silent[pair] = self._clock.now()
            raise

    async def _until_known(self, history: GroupHistory, enclave_key: str, members: Sequence[str]) -> Attested:
        while True:
            taken = self._book.next_taken  # before the look: an answer that comes during it counts
            found = await self._known(history, enclave_key, members)
            if found is not None:
                return found
            await taken.wait()

    async def _known(self, history: GroupHistory, enclave_key: str, members: Sequence[str]) -> Attested | None:
        """An answer that holds, of our chain and of the branch that we see."""
        found = self._book.newest(history.privacy_group_id, enclave_key, self._clock.now())
        if found is None:
            return None
        word, account = found
        if not await self._shown(members, partial(_is_of_its_chain, word)):
            return None
        return Attested(account=account, block_number=word.block_number, last=word.last, reason=word.reason)

    async def _shown(self, members: Sequence[str], look: Callable[[ChainWatcher], Awaitable[T]]) -> T:
        """Return what the first node of a member that answers shows: any other one could have each word refused.

        Raises:
            NodeError: None of them answers.
        """
        hosts = dict.fromkeys(host for key in members if (host := self._fleet.hosting(key)) is not None)
        failure = NodeError(Reason(slug="node_unreachable", detail="no node is configured"))
        for watcher in hosts or [self._fleet.newest()]:
            try:
                return await look(watcher)
            except NodeError as error:
                failure = error
        raise failure

    def _speaker(self) -> str:
        for watcher in self._fleet.watchers:
            account = self._speakers.get(watcher.node.name)
            if account is not None:
                return account
        raise BrokerError("no node has a speaker that could sign the question: set nodes.speaker")


async def _chain_id(watcher: ChainWatcher) -> int:
    return (await watcher.node.traits()).chain_id


async def _is_of_its_chain(word: Attestation, watcher: ChainWatcher) -> bool:
    """Whether an answer is of a node's chain, and of the branch that it has, as far as it has it."""
    if word.chain_id != await _chain_id(watcher):
        return False
    seen_here = (await watcher.current()).number >= word.block_number
    return not seen_here or (await watcher.block(word.block_number)).block_hash == word.block_hash
