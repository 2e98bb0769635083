"""From what was gathered of a group, its members' nodes and the newcomers to the forecast of an addition."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator.membership.forecast.agreement import disagreement
from orchestrator.membership.forecast.blocks import Examination, flaws_in_words
from orchestrator.membership.forecast.histories import GroupHistory
from orchestrator.membership.forecast.newcomers import (
    Attested,
    Departure,
    NewcomerFacts,
    Unattested,
    departure,
    lacks_from,
)
from orchestrator.membership.forecast.senders import SenderFacts, SenderStanding, ranked, standing
from orchestrator.membership.forecast.verdict import Danger, Forecast, Risk, Scope, Unseen
from orchestrator.membership.model import ExpectedReplay, Vouched
from orchestrator.membership.reasons.judgements import Judgement
from orchestrator.membership.reasons.table import Reason, rule_of

MOST_NAMED: Final = 20
"""How many blocks are named of those that are alike: the first already decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastFacts:
    """What was seen of a group and of everybody who has to do with an addition.

    Attributes:
        history: The group's blocks, as a healthy member has them.
        complete: Whether they were read through `history.through` and examined; False while more are to be read.
        examinations: By block number, of the group's blocks.
        compared_at: The block at which the members' roots were read.
        member_roots: By enclave key the roots of the members that stay, as far as their nodes were seen; empty text
            for one that has no state.
        senders: The members' nodes that could send, in the order of preference.
        newcomers: The members to add.
        unseen: What could not be looked at, beside what the others say.
    """

    history: GroupHistory
    complete: bool
    examinations: Mapping[int, Examination]
    compared_at: int
    member_roots: Mapping[str, str]
    senders: tuple[SenderFacts, ...]
    newcomers: tuple[NewcomerFacts, ...]
    unseen: tuple[Unseen, ...] = ()


def forecast(facts: ForecastFacts) -> Forecast:
    """Return what is to be expected of an addition.

    Source: docs/besu.md#what-a-replay-needs, #torn-bundles and #former-members.

    Args:
        facts: What was seen.
    """
    standings = tuple(standing(facts.history, sender) for sender in facts.senders)
    # One node that may send is enough: the torn bundles of the others are no danger then.
    usable = ranked(standings)
    departures = {newcomer.enclave_key: departure(facts.history, newcomer) for newcomer in facts.newcomers}
    pending = facts.history.privacy_group_id
    dangers = (
        *_unread(facts, pending),
        *_disagreement(facts),
        *(() if usable else _no_sender(standings)),
        *(danger for n in facts.newcomers for danger in _newcomer(facts, n, departures[n.enclave_key])),
    )
    # A former member replays only what it lacks, so that an old bad block does not concern it
    # (docs/besu.md#what-a-replay-needs, 8).
    lacking = {n.enclave_key: lacks_from(n, departures[n.enclave_key]) for n in facts.newcomers}
    return Forecast(
        privacy_group_id=facts.history.privacy_group_id,
        block_number=facts.history.through,
        block_hash=facts.history.through_hash,
        last_block=facts.history.blocks[-1].number if facts.history.blocks else 0,
        sender=usable[0] if usable else None,
        dangers=dangers,
        risks=_risks(facts, min(lacking.values(), default=facts.history.through)),
        unseen=(*facts.unseen, *_unseen(facts)),
        replays=tuple(
            ExpectedReplay(
                enclave_key=newcomer.enclave_key,
                node=newcomer.node,
                blocks=0 if newcomer.shared else len(facts.history.after(lacking[newcomer.enclave_key])),
                former=bool(newcomer.holds) and not newcomer.shared,
                transactions=0 if newcomer.shared else _transactions(facts, lacking[newcomer.enclave_key]),
            )
            for newcomer in facts.newcomers
        ),
        vouched=tuple(
            Vouched(enclave_key=n.enclave_key, account=n.word.account, block_number=n.word.block_number)
            for n in facts.newcomers
            if isinstance(n.word, Attested) and n.word.reason is None
        ),
    )


def _unread(facts: ForecastFacts, group: str) -> tuple[Danger, ...]:
    # A part is never judged as the whole: the block that halts the node may be in what was not read.
    if facts.complete:
        return ()
    detail = f"of group {group} what lies up to block {facts.history.through} was read"
    return (Danger(scope=Scope.MOMENT, reason=Reason(slug="history_not_read", detail=detail)),)


def _disagreement(facts: ForecastFacts) -> tuple[Danger, ...]:
    found = disagreement(facts.compared_at, facts.member_roots)
    if found is None:
        return ()
    names = ", ".join(found.odd)
    # Between two states nobody is called odd: the remedy would destroy the healthy one.
    if found.decided:
        detail = f"at block {found.block_number} another state than most members' is on the node of {names}"
        reason = Reason(slug="members_differ", detail=detail, members=found.odd)
    else:
        detail = f"at block {found.block_number} {names} show different states, and no state is that of most members"
        reason = Reason(slug="members_undecided", detail=detail, members=found.odd)
    return (Danger(scope=Scope.GROUP, reason=reason, block_number=found.block_number),)


def _no_sender(standings: tuple[SenderStanding, ...]) -> tuple[Danger, ...]:
    if not standings:
        # Nothing is known against anybody: a node that does not answer now, or is behind, will be looked at again.
        reason = Reason(slug="node_unreachable", detail="no member's node that may send could be looked at")
        return (Danger(scope=Scope.MOMENT, reason=reason),)
    return tuple(
        Danger(
            scope=Scope.SENDER,
            reason=Reason(slug="bundle_may_be_torn", detail=found.detail, members=(found.enclave_key,)),
            block_number=found.block_number,
        )
        for found in standings
    )


def _newcomer(facts: ForecastFacts, newcomer: NewcomerFacts, found: Departure) -> tuple[Danger, ...]:
    dangers: list[Danger] = []
    key = (newcomer.enclave_key,)
    if found.trouble is not None:
        slug = "not_at_this_block" if found.passing else "former_member_unsafe"
        # A danger that the next block takes away makes the change wait; one that stays is parked.
        scope = Scope.MOMENT if found.passing else Scope.MEMBER
        reason = Reason(slug=slug, detail=found.trouble, members=key)
        dangers.append(Danger(scope=scope, reason=reason, block_number=found.block_number))
    if newcomer.node is not None and newcomer.holds is None:
        # A node of ours that does not answer now will: what it holds is looked at before anything is locked.
        reason = Reason(slug="node_unreachable", detail=newcomer.unseen or f"node {newcomer.node}", members=key)
        dangers.append(Danger(scope=Scope.MOMENT, reason=reason))
    if newcomer.word is not None:
        dangers += _said(newcomer.word, key)
    # A second key of a member's node replays nothing: the node has the group.
    if not newcomer.shared:
        lacked = (block.number for block in facts.history.after(lacks_from(newcomer, found)))
        bad = [facts.examinations[number] for number in lacked if not _replayable(facts, number)]
        dangers += [_unreplayable(examination, key) for examination in bad[:MOST_NAMED]]
    return tuple(dangers)


def _said(word: Attested | Unattested, key: tuple[str, ...]) -> list[Danger]:
    """What the side that can see the node says, or that it says nothing where its word is required."""
    if isinstance(word, Unattested):
        missing = Reason(slug="attestation_missing", detail=word.detail, members=key)
        # Silence is no danger by itself: who does not ask for attestations adds members whose nodes nobody can see.
        return [Danger(scope=Scope.MEMBER, reason=missing)] if word.required else []
    if word.reason is None:
        return []
    detail = f"{word.account} says of its node at block {word.block_number}: {word.reason.detail}"
    reason = Reason(slug=word.reason.slug, detail=detail, members=key)
    passes = rule_of(reason).judgement is Judgement.RETRY
    return [Danger(scope=Scope.MOMENT if passes else Scope.MEMBER, reason=reason, block_number=word.block_number)]


def _transactions(facts: ForecastFacts, after: int) -> int:
    """How many transactions a replay executes at the most; 0 where they were not counted."""
    counted = [facts.examinations.get(block.number) for block in facts.history.after(after)]
    markers = [None if seen is None else seen.markers for seen in counted]
    # Better no figure than one that leaves out blocks: the time that it says would be too short.
    return 0 if None in markers else sum(number or 0 for number in markers)


def _replayable(facts: ForecastFacts, number: int) -> bool:
    # One that was not examined yet makes the forecast incomplete, which is a danger of its own.
    examination = facts.examinations.get(number)
    return examination is None or examination.replayable


def _unreplayable(examination: Examination, members: tuple[str, ...]) -> Danger:
    return Danger(
        scope=Scope.MEMBER,
        reason=Reason(slug="block_not_replayable", detail=flaws_in_words(examination), members=members),
        block_number=examination.number,
        transactions=tuple(name for flaw in examination.flaws for name in flaw.transactions),
    )


def _risks(facts: ForecastFacts, last: int) -> tuple[Risk, ...]:
    named = (facts.examinations.get(block.number) for block in reversed(facts.history.after(last)))
    risks = [Risk(block_number=e.number, transactions=e.unsettling) for e in named if e is not None and e.unsettling]
    return tuple(risks[:MOST_NAMED])


def _unseen(facts: ForecastFacts) -> tuple[Unseen, ...]:
    senders = tuple(
        Unseen(enclave_key=sender.enclave_key, node=sender.node, detail=sender.unseen)
        for sender in facts.senders
        if sender.unseen is not None
    )
    newcomers = tuple(
        Unseen(enclave_key=newcomer.enclave_key, node=newcomer.node, detail=newcomer.unseen)
        for newcomer in facts.newcomers
        if newcomer.unseen is not None
    )
    return (*senders, *newcomers)
