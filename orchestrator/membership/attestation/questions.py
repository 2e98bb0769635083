"""Asking the side that can see a new member's node whether it may be added, and what that side answers. Pure.

Only its own operator's daemon sees what a node replayed and which groups it left; the rules are the same there
(`orchestrator.membership.forecast.newcomers`). An answer is its signer's word, bound to the chain, the group, the
member and the head that it was looked at, and it expires: what is true at a head need not be true long after.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from orchestrator.membership.attestation.verdicts import CLOCK_SKEW
from orchestrator.membership.besu_lines import LOSES_ADDED_GROUPS
from orchestrator.membership.forecast.histories import GroupBlock, GroupHistory
from orchestrator.membership.forecast.newcomers import Departure, NewcomerFacts
from orchestrator.membership.heads import BEHIND_BLOCKS
from orchestrator.membership.reasons.table import Reason

VALID_FOR: Final = timedelta(minutes=1)
"""How long an answer holds: a lock and the blocks between it and the addition fit in."""

ANSWERED_WITHIN: Final = timedelta(minutes=2)
"""What is older is not answered: nobody waits for it any more."""

MOST_BLOCKS: Final = 1_000
"""Blocks of a group that a question names: the newest ones, since a former member left off somewhere in them."""

TROUBLES: Final = (
    "enclave_unreachable",
    "former_member_unsafe",
    "history_not_read",
    "member_would_not_receive",
    "newcomer_busy",
    "node_behind",
    "node_unreachable",
    "not_at_this_block",
    "refused_by_guard",
)
"""Reasons that an answer may give."""

MOST_CHARACTERS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """A question: may this member be added to this group now?

    Attributes:
        privacy_group_id: The group.
        enclave_key: The member.
        chain_id: The chain.
        blocks: The group's newest blocks and the roots after them, oldest first.
        whole: Whether these are all.
        through: The newest block that was looked at.
        through_hash: Its hash.
        issued_at: When it was signed, by the signer's clock.
    """

    privacy_group_id: str
    enclave_key: str
    chain_id: int
    blocks: tuple[tuple[int, str], ...]
    whole: bool
    through: int
    through_hash: str
    issued_at: datetime

    @property
    def history(self) -> GroupHistory:
        """The group's history as far as the question tells it."""
        blocks = tuple(GroupBlock(number=number, block_hash="", state_root=root) for number, root in self.blocks)
        return GroupHistory(
            privacy_group_id=self.privacy_group_id,
            blocks=blocks,
            through=self.through,
            through_hash=self.through_hash,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """An answer.

    Attributes:
        privacy_group_id: The group.
        enclave_key: The member.
        chain_id: The chain.
        block_number: The node's head at which it was looked.
        block_hash: Its hash.
        last: The newest block of the group that the node has as the others have it; 0 when it lacks all.
        trouble: Slug of the reason why the member must not be added, one of `TROUBLES`; empty when it may be.
        detail: What was seen, for a person.
        issued_at: When it was signed, by the signer's clock.
        expires_at: Until when it holds, by the same clock.
    """

    privacy_group_id: str
    enclave_key: str
    chain_id: int
    block_number: int
    block_hash: str
    last: int
    trouble: str
    detail: str
    issued_at: datetime
    expires_at: datetime

    @property
    def reason(self) -> Reason | None:
        """Why the member must not be added; None when it may be."""
        if not self.trouble:
            return None
        return Reason(slug=self.trouble, detail=self.detail, members=(self.enclave_key,))


Word = Inquiry | Attestation


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A question or an answer with its signature, as it comes in: nothing of it is believed yet.

    Attributes:
        word: What is said.
        account: Who says so, "0x…" in lower case.
        signature: Over `statement_of`.
    """

    word: Word
    account: str
    signature: bytes


def statement_of(word: Word) -> bytes:
    """Return the bytes that are signed: they can't be mistaken for anything else that an account signs."""
    name = "inquiry" if isinstance(word, Inquiry) else "attestation"
    document = json.dumps(word_data(word), sort_keys=True, separators=(",", ":"))
    return f"besu-membership-orchestrator {name} 1\n{document}".encode()


def word_data(word: Word) -> dict[str, object]:
    """Return a question or an answer as a JSON object."""
    shared: dict[str, object] = {
        "privacy_group_id": word.privacy_group_id,
        "member": word.enclave_key,
        "chain_id": word.chain_id,
        "issued_at": word.issued_at.isoformat(),
    }
    if isinstance(word, Inquiry):
        return shared | {
            "blocks": [{"block_number": number, "state_root": root} for number, root in word.blocks],
            "whole": word.whole,
            "through": word.through,
            "through_hash": word.through_hash,
        }
    return shared | {
        "block_number": word.block_number,
        "block_hash": word.block_hash,
        "last": word.last,
        "trouble": word.trouble,
        "detail": word.detail,
        "expires_at": word.expires_at.isoformat(),
    }


def inquiry_of(history: GroupHistory, enclave_key: str, chain_id: int, now: datetime) -> Inquiry:
    """Return the question about a member that is to be added to a group.

    Args:
        history: The group's blocks.
        enclave_key: The member.
        chain_id: The chain.
        now: The present time.
    """
    newest = history.blocks[-MOST_BLOCKS:]
    return Inquiry(
        privacy_group_id=history.privacy_group_id,
        enclave_key=enclave_key,
        chain_id=chain_id,
        blocks=tuple((block.number, block.state_root) for block in newest),
        whole=len(newest) == len(history.blocks),
        through=history.through,
        through_hash=history.through_hash,
        issued_at=now,
    )


def inquiry_refusal(signed: Signed, askers: Collection[str], signer: str | None, now: datetime) -> str | None:
    """Return why a question is not answered; None when it is.

    Args:
        signed: What came in.
        askers: The accounts, in lower case, that may ask.
        signer: The account that the signature is of; None when it is no signature of the statement.
        now: The present time.
    """
    # Before the signature: only of a peer is it worth recovering one.
    if signed.account not in askers:
        return f"{signed.account} is none of the configured peers"
    if signer != signed.account:
        return "the signature is not the account's over this question"
    if not -CLOCK_SKEW <= now - signed.word.issued_at <= ANSWERED_WITHIN:
        return "it is too old, or a clock is wrong"
    return None


def attestation_refusal(signed: Signed, peers: Mapping[str, str], signer: str | None, now: datetime) -> str | None:
    """Return why an answer is not believed; None when it is.

    Args:
        signed: What came in.
        peers: By enclave key the account, in lower case, that may speak for it.
        signer: The account that the signature is of; None when it is no signature of the statement.
        now: The present time.
    """
    word = signed.word
    if not isinstance(word, Attestation):
        return "it is no answer"
    expected = peers.get(word.enclave_key)
    if expected is None or signed.account != expected:
        return f"{signed.account} does not speak for this member"
    if signer != expected:
        return "the signature is not the account's over this answer"
    if not holds(word, now):
        return "it is too old, or a clock is wrong"
    return None


def holds(word: Attestation, now: datetime) -> bool:
    """Return whether an answer has not expired; none holds for longer than `VALID_FOR`, whatever it says."""
    # Whoever signs may write any end: a node that was well an hour ago says nothing of now.
    ends = min(word.expires_at, word.issued_at + VALID_FOR)
    return word.issued_at - now <= CLOCK_SKEW and now <= ends + CLOCK_SKEW


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnNode:
    """What the answering side sees of its node, beside what `NewcomerFacts` hold.

    Attributes:
        head: Its head.
        besu_version: (major, minor, patch).
        validator: Whether it proposes blocks; None when unknown.
        enclave_trouble: Whether its enclave is not up; False also when it can't be asked.
        same_branch: Whether it has the question's newest block; None when it has no such block yet.
    """

    head: int
    besu_version: tuple[int, int, int]
    validator: bool | None
    enclave_trouble: bool
    same_branch: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Promised:
    """An answer that has not expired: the addition may be under way.

    Attributes:
        privacy_group_id: The group.
        node: Name of the member's node.
        former: Whether the node had part of the group before.
        until: When it expires.
    """

    privacy_group_id: str
    node: str
    former: bool
    until: datetime


def trouble_of(
    inquiry: Inquiry, own: OwnNode, seen: NewcomerFacts | None, found: Departure | None, promised: Iterable[Promised]
) -> tuple[str, str]:
    """Return why a member of ours must not be added now: slug and detail, both empty when it may be.

    Source: docs/besu.md#former-members and #versions.

    Args:
        inquiry: The question.
        own: What is seen of the node.
        seen: What else the rules need; None while more is to be read.
        found: Where the node's own state of the group ends; None with `seen`.
        promised: Answers for other groups of the same node that hold.
    """
    # The history that was sent is of another branch: nothing of it can be compared with the node's.
    if own.same_branch is False:
        return "node_behind", f"the node has another block {inquiry.through} than the one that was asked about"
    if inquiry.through - own.head > BEHIND_BLOCKS:
        return "node_behind", f"the node is at block {own.head}, the question is about {inquiry.through}"
    if own.besu_version == LOSES_ADDED_GROUPS and own.validator is not True:
        return "member_would_not_receive", "the node runs Besu 25.5.0 and is no validator"
    # What others get to read names neither addresses nor other groups.
    if own.enclave_trouble:
        return "enclave_unreachable", "the node's enclave does not answer as it should"
    # Not known is not safe: the node would halt for good (docs/besu.md#former-members, 1).
    if seen is None or found is None or seen.unseen is not None:
        return "history_not_read", "what the node replayed could not all be read so far"
    if found.trouble is not None:
        detail = f"the node has the group up to block {found.last}, and a replay could not begin there"
        if found.last == 0:
            beyond = "" if inquiry.whole else f", or was within its newest {MOST_BLOCKS} blocks"
            detail = f"the node has state for the group that the group never had{beyond}"
        return ("not_at_this_block" if found.passing else "former_member_unsafe"), detail
    # Nothing else may be added to the node of a former member meanwhile (docs/besu.md#former-members, 2c).
    former = bool(seen.holds) and not seen.shared
    if any(former or other.former for other in promised):
        return "newcomer_busy", "another group may be added to the node at the same time"
    return "", ""
