"""The JSON documents about changes that the API answers with: what was asked for, how far it is, and why."""

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from orchestrator.api.documents.shared import Document
from orchestrator.engine.ports.records import AdditionTime, HistoryEntry
from orchestrator.membership.attempt import Action, Attempt, AttemptStatus
from orchestrator.membership.forecast.durations import Quantity
from orchestrator.membership.model import ENDED, Change, Kind, Plan, State, Verdict
from orchestrator.membership.proof.comparison import is_independent
from orchestrator.membership.reasons.judgements import Judgement
from orchestrator.membership.reasons.remedies import commands_for
from orchestrator.membership.reasons.table import Reason, describe, rule_of


class ReasonDocument(Document):
    """Why a change waits, failed or needs a person."""

    slug: str = Field(description="Stable name.")
    message: str = Field(description="What happened and what to do, for a person.")
    detail: str = Field(description="What was seen.")
    remedy: str = Field(description="What a person can do.")
    judgement: Judgement = Field(description="retry: it is tried again; terminal: it failed; park: a person must act.")
    members: list[str] = Field(description="Enclave keys that it is about, when it is about members.")
    commands: list[str] = Field(default=[], description="What to type for the remedy, in this order.")


class TimeLeftDocument(Document):
    """What a replay will still take. Neither end rises, unless there is more to replay or it has become much slower."""

    low_seconds: float
    likely_seconds: float
    high_seconds: float
    slower: bool = Field(description="It was told anew, since the replay has become slower.")


class ProgressDocument(Document):
    """One member's way to being in sync."""

    enclave_key: str
    verdict: Verdict
    blocks_replayed: int = Field(description="Blocks of the group's history that the member's node has replayed.")
    blocks_total: int = Field(description="Blocks of the group's history; 0 while unknown.")
    transactions_replayed: int = Field(default=0, description="Transactions in those blocks.")
    transactions_total: int = Field(
        default=0, description="Transactions in all of the span's blocks; 0 while unknown. They tell what is left."
    )
    head: int | None = Field(description="The node's head; null while it does not answer.")
    moved_at: datetime = Field(description="When it last moved.")
    in_sync_through: int | None = Field(description="The newest block at which it was seen equal to the others.")
    attested_by: str | None = Field(
        description="The account whose signed word the verdict rests on; null when the node itself was looked at."
    )
    blocks_per_second: float | None = Field(description="How fast the replay goes; null while that can't be told.")
    remaining_seconds: float | None = Field(
        description="What the replay will likely still take; null while that can't be told."
    )
    left: TimeLeftDocument | None = Field(default=None, description="The same as a range; null while it can't be told.")


class EffectDocument(Document):
    """Where the group's state first showed what was asked for."""

    block_number: int
    block_hash: str
    participants: list[str]
    version: str
    state_root: str


class RepairDocument(Document):
    """What is done about a lost addition: removed and added again, once; removed, when a guard refused it."""

    members: list[str] = Field(description="Their enclave keys.")
    since_block: int = Field(description="Block of the addition that got lost; 0 for a cure.")
    removed_block: int | None = Field(description="Block in which they were removed; null while they were not.")
    refused: str = Field(description="Why their guard refused; then they are not added again. Empty for a repair.")
    stale_pmt: str = Field(description="For a cure, the marker whose stale bundle made them fall back; else empty.")


class ChangeDocument(Document):
    """One change of a group's membership, and how far it is."""

    change_id: str
    request_id: str
    kind: Kind
    privacy_group_id: str
    members: list[str]
    account: str
    created_at: datetime
    deadline: datetime | None
    state: State
    ended: bool = Field(description="Whether nothing more will happen to it.")
    lead_id: str | None = Field(description="The change whose transactions carry this one.")
    tries: int = Field(description="How often it has been queued again.")
    not_before: datetime | None = Field(description="It is not tried again before this.")
    waiting_since: datetime | None = Field(description="Since when it waits for the same reason.")
    lock_block: int | None = Field(description="Block of the lock that is held for it; null when none is.")
    reason: ReasonDocument | None
    waits_for: ReasonDocument | None = Field(description="What the present step waits for; null while it gets on.")
    progress: list[ProgressDocument]
    effect: EffectDocument | None
    repair: RepairDocument | None = Field(description="What became of an addition that got lost; null when none did.")
    independent: bool | None = Field(
        description="Whether the effect was seen on an old member's node that did not send it: sender and new member "
        "agree with each other also where a group is split. Null before the effect was seen."
    )


class HistoryDocument(Document):
    """One step of a change."""

    revision: int
    at: datetime
    fact: str = Field(description="What was observed.")
    from_state: State
    to_state: State
    detail: str


class AttemptDocument(Document):
    """One private transaction of a change, without its signed bytes."""

    attempt_id: str
    action: Action
    members: list[str]
    node: str = Field(description="Name of the node that it goes through.")
    private_nonce: int
    since_block: int = Field(description="The node's head when it was signed.")
    sent_block: int | None = Field(description="The node's head at the newest send.")
    seen_block: int | None = Field(description="The newest block that was searched without finding it.")
    pmt_hashes: list[str]
    status: AttemptStatus


class VouchedDocument(Document):
    """A new member whose node can't be seen from here, and who says that it may be added."""

    enclave_key: str
    account: str = Field(description="The account that signed it.")
    block_number: int = Field(description="The node's head that it was looked at.")


class PlanDocument(Document):
    """What was found to be done before anything was sent."""

    node: str = Field(description="Name of the node that transactions go through.")
    to_add: list[str] = Field(description="Enclave keys that are no members yet.")
    to_remove: list[str] = Field(description="Enclave keys that are members and shall not be.")
    first_block: int = Field(description="The node's head when it was looked at.")
    bundling_seconds: float | None = Field(
        description="What bundling the history took at the last addition to the group, while it was locked; null when "
        "nothing is to be added or it is not known."
    )
    vouched: list[VouchedDocument] = Field(description="New members that their own operators' daemons vouch for.")
    unforeseen: list[str] = Field(
        description="New members whose node nobody could look at: what it makes of the group's history is not known."
    )


class AdditionTimeDocument(Document):
    """What was forecast of one part of an addition, and what it took."""

    quantity: Quantity = Field(description="What: bundling the history, the lock, or a new member's replay.")
    enclave_key: str = Field(description="The new member that replays; empty for what the sender does.")
    node: str
    besu_version: str
    transactions: int
    expected_seconds: float | None = Field(description="What was forecast; null when it was not.")
    taken_seconds: float | None = Field(description="What it took; null before it is over, or when nobody saw it.")


class ChangeDetailDocument(ChangeDocument):
    """One change with everything that tells why it is where it is."""

    plan: PlanDocument | None = Field(description="What is to be done; null before the group was looked at.")
    history: list[HistoryDocument]
    attempts: list[AttemptDocument]
    times: list[AdditionTimeDocument] = Field(
        default_factory=list,
        description="For an addition: what was forecast of its lock and replays, and what they took.",
    )


class CancelDocument(Document):
    """Why a change is cancelled."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", description="Why, for whoever reads the change later.")


class ChangeBatch(Document):
    """The changes that a batch of events asked for, in its order."""

    changes: list[ChangeDocument]


class ChangePage(Document):
    """Changes, newest first."""

    changes: list[ChangeDocument]
    next: str | None = Field(description="Give it as `before` to get the next page; null when this was the last.")
    total: int | None = Field(
        default=None, description="How many changes there are on all pages; null unless `count=true` asks for it."
    )


def reason_document(reason: Reason, change: Change) -> ReasonDocument:
    """Return a reason of a change as the API shows it."""
    rule = rule_of(reason)
    return ReasonDocument(
        slug=reason.slug,
        message=describe(reason),
        detail=reason.detail,
        remedy=rule.remedy,
        judgement=rule.judgement,
        members=list(reason.members),
        commands=list(commands_for(reason, change_id=change.change_id, privacy_group_id=change.privacy_group_id)),
    )


def change_fields(change: Change) -> dict[str, Any]:
    """Return the fields of a `ChangeDocument`."""
    effect = change.effect
    return {
        **{name: getattr(change, name) for name in _SAME_IN_CHANGE},
        "ended": change.state in ENDED,
        "members": list(change.members),
        "reason": None if change.reason is None else reason_document(change.reason, change),
        "waits_for": None if change.waits_for is None else reason_document(change.waits_for, change),
        "progress": [ProgressDocument.model_validate(entry) for entry in change.progress],
        "effect": None
        if effect is None
        else EffectDocument(
            block_number=effect.block_number,
            block_hash=effect.block_hash,
            participants=list(effect.view.participants),
            version=effect.view.version,
            state_root=effect.view.state_root,
        ),
        "repair": None
        if change.repair is None
        else RepairDocument(
            members=list(change.repair.members),
            since_block=change.repair.since_block,
            removed_block=change.repair.removed_block,
            refused=change.repair.refused,
            stale_pmt=change.repair.stale_pmt,
        ),
        "independent": None if effect is None else is_independent(change),
    }


_MADE = {"ended", "members", "reason", "waits_for", "progress", "effect", "repair", "independent"}
_SAME_IN_CHANGE = frozenset(ChangeDocument.model_fields) - _MADE


def change_document(change: Change) -> ChangeDocument:
    """Return a change as the API shows it."""
    return ChangeDocument(**change_fields(change))


def _plan_document(plan: Plan) -> PlanDocument:
    return PlanDocument(
        node=plan.node,
        to_add=list(plan.to_add),
        to_remove=list(plan.to_remove),
        first_block=plan.first_block,
        bundling_seconds=plan.bundling_seconds,
        vouched=[VouchedDocument.model_validate(entry) for entry in plan.vouched],
        unforeseen=list(plan.unforeseen),
    )


def detail_document(
    change: Change, history: tuple[HistoryEntry, ...], attempts: tuple[Attempt, ...], times: tuple[AdditionTime, ...]
) -> ChangeDetailDocument:
    """Return a change with its history, its attempts and what it took."""
    return ChangeDetailDocument(
        **change_fields(change),
        plan=None if change.plan is None else _plan_document(change.plan),
        history=[HistoryDocument.model_validate(entry) for entry in history],
        attempts=[
            AttemptDocument(
                **{name: getattr(attempt, name) for name in AttemptDocument.model_fields if name not in _LISTS},
                members=list(attempt.members),
                pmt_hashes=list(attempt.pmt_hashes),
            )
            for attempt in attempts
        ],
        times=[AdditionTimeDocument.model_validate(time) for time in times],
    )


_LISTS = frozenset({"members", "pmt_hashes"})
