"""What another organisation says of its own node, signed, and how far that is believed. Pure.

A node that we have no access to can't be looked at. Its operator's daemon can, and signs what it saw: the group's state
root at some blocks. A root can't be guessed by whoever has not executed the group's history, but it can be copied from
another member: a verdict is its signer's word, which is why it is believed only of the account that is configured for
the member, only where nothing was seen at first hand, and why the result names it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from orchestrator.membership.facts import Sighting
from orchestrator.membership.model import GroupView

RECENT: Final = timedelta(hours=1)
"""What is older is not believed: nobody waits for it any more."""

CLOCK_SKEW: Final = timedelta(minutes=1)
"""How far ahead another organisation's clock may be."""

MOST_ROOTS: Final = 1_100
"""The blocks that may be the addition's, and the most further blocks that a proof can ask for."""

_DOMAIN: Final = "besu-membership-orchestrator verdict 1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class RootAt:
    """A group's state on one node at one block.

    Attributes:
        block_number: The block.
        block_hash: Its hash, 0x-prefixed.
        state_root: 0x-prefixed; empty when the node has no state for the group there.
    """

    block_number: int
    block_hash: str
    state_root: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberVerdict:
    """What a member's own daemon saw of its node.

    Attributes:
        privacy_group_id: The group.
        enclave_key: The member.
        chain_id: The public chain.
        roots: The state at some blocks, oldest first.
        head: The node's head.
        issued_at: When it was looked at.
        refused: By which rule the guard before the node refused the history of the addition in the first of these
            blocks; empty when it did not.
    """

    privacy_group_id: str
    enclave_key: str
    chain_id: int
    roots: tuple[RootAt, ...]
    head: int
    issued_at: datetime
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedVerdict:
    """A verdict with its signature, as it comes in: nothing of it is believed yet.

    Attributes:
        verdict: What is said.
        account: Who says so, "0x…" in lower case.
        signature: Over `statement`.
    """

    verdict: MemberVerdict
    account: str
    signature: bytes


def statement(verdict: MemberVerdict) -> bytes:
    """Return the bytes that are signed: they can't be mistaken for anything else that an account signs."""
    document = json.dumps(verdict_data(verdict), sort_keys=True, separators=(",", ":"))
    return (_DOMAIN + document).encode()


def verdict_data(verdict: MemberVerdict) -> dict[str, object]:
    """Return a verdict as a JSON object."""
    said: dict[str, object] = {"refused_by_guard": verdict.refused} if verdict.refused else {}
    return said | {
        "privacy_group_id": verdict.privacy_group_id,
        "member": verdict.enclave_key,
        "chain_id": verdict.chain_id,
        "roots": [
            {"block_number": root.block_number, "block_hash": root.block_hash, "state_root": root.state_root}
            for root in verdict.roots
        ],
        "head": verdict.head,
        "issued_at": verdict.issued_at.isoformat(),
    }


def refusal(signed: SignedVerdict, peers: Mapping[str, str], signer: str | None, now: datetime) -> str | None:
    """Return why a verdict is not believed; None when it is.

    Args:
        signed: What came in.
        peers: By enclave key the account, in lower case, that may speak for it.
        signer: The account, in lower case, that the signature is of; None when it is no signature of the statement.
        now: The present time.
    """
    expected = peers.get(signed.verdict.enclave_key)
    if expected is None:
        return "nobody is configured to speak for this member"
    if signed.account != expected:
        return f"{signed.account} does not speak for this member"
    if signer != expected:
        return "the signature is not the account's over this verdict"
    if now - signed.verdict.issued_at > RECENT:
        return "it is too old"
    if signed.verdict.issued_at - now > CLOCK_SKEW:
        return "it was signed in the future: a clock is wrong"
    return None


def sighting_of(
    signed: SignedVerdict | None, *, chain_id: int, hashes: Mapping[int, str], first: int, last: int, partial: bool
) -> Sighting | None:
    """Return what a believed verdict shows of a member at a proof's blocks; None when it shows nothing of them.

    Roots at blocks of another branch of the chain are passed over.

    Args:
        signed: The newest verdict about the member in the group; None for none.
        chain_id: The chain of the proof.
        hashes: Hashes of the proof's blocks on that chain.
        first: The effect's block, which a verdict has to cover.
        last: The last block of the proof.
        partial: Whether a verdict that does not reach the last block yet counts.
    """
    if signed is None or signed.verdict.chain_id != chain_id:
        return None
    said = signed.verdict
    roots = {r.block_number: r for r in said.roots if hashes.get(r.block_number) == r.block_hash}
    views: list[GroupView] = []
    for number in range(first, last + 1):  # a gap ends what is shown: behind it anything may have happened
        if number not in roots:
            break
        root = roots[number].state_root
        views.append(GroupView(block_number=number, exists=bool(root), state_root=root))
    if not views or (not partial and views[-1].block_number < last):
        return None
    # A refusal is of one block's addition: what is said of another block's says nothing of this one.
    refused = said.refused if said.roots[0].block_number == first else ""
    return Sighting(
        enclave_key=said.enclave_key,
        node=None,
        head=said.head,
        views=tuple(views),
        attested_by=signed.account,
        refused=refused,
    )
