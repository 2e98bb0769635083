"""The documents of a forecast: what is to be expected of adding members to a group."""

from pydantic import Field

from orchestrator.api.documents.shared import Document
from orchestrator.api.ports.forecasts import Foreseen, RemovalForeseen
from orchestrator.membership.forecast.senders import Bundle
from orchestrator.membership.forecast.verdict import Outlook, Scope
from orchestrator.membership.news.forecast_document import (
    danger_data,
    forecast_data,
    removal_verdict,
    returns_data,
    unseen_data,
)
from orchestrator.membership.news.status import reason_data


class ForecastMemberDocument(Document):
    """What is to be expected of adding one member."""

    enclave_key: str
    outlook: Outlook = Field(description="safe; unsafe; unknown: nothing seen speaks against it, not all was seen.")
    node: str | None = Field(description="Its node's name; null when we have no access to it.")
    blocks_to_replay: int = Field(description="Blocks of the group that its node has to replay.")
    transactions_to_replay: int = Field(
        default=0, description="Private transactions in them, those of other groups included; 0 where not counted."
    )
    former: bool = Field(description="Whether its node has part of the group already.")
    attested_by: str | None = Field(description="The account whose signed word it rests on; null for none.")


class ForecastSenderDocument(Document):
    """The member's node that would send the addition."""

    enclave_key: str
    node: str
    bundle: Bundle = Field(
        description="first_hand: it never replayed anything; whole: its roots show it; unknown; torn: it must not send."
    )
    detail: str


class ForecastReasonDocument(Document):
    """Why an addition must not be made."""

    slug: str = Field(description="Stable name.")
    detail: str = Field(description="What was seen.")
    message: str = Field(description="What happened and what to do, for a person.")
    remedy: str = Field(description="What a person can do.")
    members: list[str] = Field(description="Enclave keys that it is about, when it is about members.")


class DangerDocument(Document):
    """Something that would go wrong."""

    scope: Scope = Field(
        description="What has to be another for it to go right: the sender, the member, the moment, or the group."
    )
    block_number: int | None = Field(description="The block that shows it; null when it is no block's doing.")
    transactions: list[str] = Field(description="Public transactions that it comes from.")
    reason: ForecastReasonDocument


class RiskDocument(Document):
    """Something that may go wrong and that nothing can settle: it refuses nothing."""

    block_number: int
    transactions: list[str] = Field(
        description="Public transactions that can change what a private contract behind them in the block reads."
    )


class UnseenDocument(Document):
    """Something that could not be looked at."""

    enclave_key: str | None = Field(description="The member that it is about; null when it is about none alone.")
    node: str | None = Field(description="Its node's name; null when we have no access to it.")
    detail: str


class ReturnDocument(Document):
    """A group that a new member's node has left, and to which it can't return after the addition."""

    enclave_key: str = Field(description="The new member.")
    node: str
    privacy_group_id: str = Field(description="The group that its node has left.")
    left_block: int = Field(description="The block in which it left.")
    certain: bool = Field(description="Whether that is certain; else it depends on what could not be seen.")
    detail: str = Field(description="Why, for a person.")


class ExpectedDocument(Document):
    """How long something will take, in seconds."""

    low_seconds: float
    likely_seconds: float
    high_seconds: float
    measured: int = Field(description="Additions measured on this node and line that it rests on.")
    rough: bool = Field(description="Fewer than three were measured: it rests on other networks' figures.")


class ReplayTimeDocument(Document):
    """How long a new member's node will replay."""

    enclave_key: str
    time: ExpectedDocument
    blocks_behind: int = Field(description="By how many blocks its node falls behind the head, at the most.")


class DurationsDocument(Document):
    """How long the addition will take."""

    transactions: int = Field(
        description="Private transactions in the group's blocks, those of other groups in them included."
    )
    bundle_bytes: int = Field(description="What the history takes in the enclave if its transactions are small.")
    fits: bool = Field(description="Whether that is within 1 MiB, the smallest limit of an enclave that was met.")
    bundling: ExpectedDocument = Field(description="How long the sender's node collects the history.")
    lock: ExpectedDocument = Field(description="How long the group is locked.")
    replays: list[ReplayTimeDocument]


class ForecastDocument(Document):
    """What is to be expected of adding members to a group; looked at, and nothing changed."""

    privacy_group_id: str
    block_number: int = Field(description="The block through which the group's history was looked at.")
    block_hash: str = Field(description="Its hash: on another branch of the chain nothing of this holds.")
    outlook: Outlook = Field(description="safe; unsafe; unknown: nothing seen speaks against it, not all was seen.")
    verdict: str = Field(description="The same for a person, with the block that decides and what to do.")
    members: list[ForecastMemberDocument]
    sender: ForecastSenderDocument | None = Field(description="Who would send; null when nobody may.")
    dangers: list[DangerDocument]
    risks: list[RiskDocument]
    unseen: list[UnseenDocument]
    returns: list[ReturnDocument] = Field(
        default=[], description="Groups that new members' nodes can't return to after it. They refuse nothing."
    )
    preflight: ForecastReasonDocument | None = Field(
        default=None, description="Why the daemon would not begin it now; null when it would."
    )
    durations: DurationsDocument | None = Field(
        default=None, description="How long it would take; null when that can't be told."
    )


def forecast_document(found: Foreseen) -> ForecastDocument:
    """Return what would come of an addition as the API shows it."""
    preflight = None if found.preflight is None else reason_data(found.preflight)
    data = forecast_data(found.forecast)
    more = {
        "preflight": preflight,
        "durations": found.durations,
        "returns": returns_data(found.returns),
        "unseen": unseen_data((*found.forecast.unseen, *found.returns.unseen)),
    }
    return ForecastDocument.model_validate(data | more)


class RemovalForecastDocument(Document):
    """Whether members could be added again after a removal, as things stand; looked at, and nothing changed."""

    privacy_group_id: str
    block_number: int = Field(description="The block through which the group's history was looked at.")
    members: list[str] = Field(description="Enclave keys of those who would be removed.")
    outlook: Outlook = Field(description="safe; unsafe; unknown: nothing seen speaks against it, not all was seen.")
    verdict: str = Field(description="The same for a person: why not and what to do, or what keeps it so.")
    dangers: list[DangerDocument] = Field(description="What would go wrong when they are added again.")
    unseen: list[UnseenDocument]
    closed_block: int | None = Field(
        description="The first block of the group that no node can replay: only a node that has the group's history "
        "can take it. Null when there is none."
    )
    preflight: ForecastReasonDocument | None = Field(
        description="Why the daemon would not begin the removal now; null when it would."
    )


def removal_document(found: RemovalForeseen) -> RemovalForecastDocument:
    """Return whether members could be added again as the API shows it."""
    addition = found.addition
    outlook, verdict = removal_verdict(addition, found.refused)
    return RemovalForecastDocument.model_validate(
        {
            "privacy_group_id": addition.privacy_group_id,
            "block_number": addition.block_number,
            "members": [replay.enclave_key for replay in addition.replays],
            "outlook": outlook,
            "verdict": verdict,
            "dangers": [danger_data(danger) for danger in addition.dangers],
            "unseen": unseen_data(addition.unseen),
            "closed_block": None if found.closed_block is None else found.closed_block.number,
            "preflight": None if found.preflight is None else reason_data(found.preflight),
        }
    )
