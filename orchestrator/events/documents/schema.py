"""What is in a status event, as models: their JSON Schemas are the promise that subscribers can rely on. Pure.

Within ``v1`` fields are only added, and only such as may be missing; whoever reads an event has to ignore fields that
it does not know.
"""

from datetime import datetime
from typing import Any, Final, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, create_model

from orchestrator.events.documents.schema_parts import Affected, Differing, Effect, Part, Progress, Reason, Unreplayable
from orchestrator.membership.damage.standstill import Hold
from orchestrator.membership.model import Kind, State
from orchestrator.membership.news.status import EventType


class EventData(Part):
    """What every status event says."""

    privacy_group_id: str | None = Field(
        description="The group, base64 of 32 bytes; null for a rejected request that names no valid group, and for "
        "what is about a node."
    )
    change_id: str | None = Field(description="The change; null when it is about none.")
    request_id: str | None = Field(description="The id of the request; null when there was none or it had no valid id.")
    sequence: int = Field(ge=1, description="Counts the group's events, from 1 without gaps.")


class ChangeData(EventData):
    """What every event about a change says."""

    kind: Kind = Field(description="What was asked for.")
    members: list[str] = Field(description="Enclave keys that were named.")
    account: str = Field(description="The owner account that is acted as.")
    state: State = Field(description="State of the change now.")
    effect: Effect | None = Field(
        default=None, description="Where the group first showed what was asked for; left out before that."
    )
    progress: list[Progress] | None = Field(
        default=None, description="One entry for each member that is watched; left out while none is."
    )
    reason: Reason | None = Field(default=None, description="Why, when it waits, is undone, failed or is parked.")


class ChangeAcceptedData(ChangeData):
    """A request was valid and is stored: a change will be made, or its failure told."""


class ChangeMovedData(ChangeData):
    """The change went on."""

    previous_state: State = Field(description="State before.")


class ChangeStartedData(ChangeMovedData):
    """The group's lane was free and the change is examined on the nodes."""


class ChangeProgressedData(ChangeMovedData):
    """The change is in another state, or a member's node replayed more."""

    not_before: datetime | None = Field(
        default=None, description="When it was queued again: it is not tried before this time."
    )


class ChangeEndedData(ChangeMovedData):
    """Nothing more will happen to the change."""

    unobserved: list[str] = Field(
        description="Enclave keys of members whose nodes can't be seen from here, so that nothing is proven of them."
    )
    attested: list[str] = Field(
        description="Enclave keys of members whose verdict rests on the signed word of their own operator's daemon."
    )


class ChangeSucceededData(ChangeEndedData):
    """The group's state shows what was asked for, on the node of every member that can be seen."""

    independent: bool = Field(
        description="Whether it was seen on an old member's node that did not send the change: where a group is split, "
        "the sender and the new member agree with each other."
    )


class ChangeFailedData(ChangeEndedData):
    """It can't be done; the group is not left locked by it."""


class ChangeParkedData(ChangeMovedData):
    """A person has to look or act; `reason.remedy` says what."""


class ChangeCancelledData(ChangeEndedData):
    """It was cancelled before its first transaction."""


class RequestRejectedData(EventData):
    """A request could not be accepted; the message is among the dead letters."""

    field: str = Field(description="What is wrong, as a path into the request.")
    message: str = Field(description="What it should be.")


class GroupLockingData(EventData):
    """Quiesce notice: the group is about to be locked. Hold your private transactions back until `unlocked`."""


class GroupLockedData(EventData):
    """The group is locked: every private transaction in it fails until `unlocked`."""

    block_number: int = Field(description="Block that mined the lock.")


class GroupUnlockedData(EventData):
    """The group is not, or no longer, locked by us: private transactions may go on, under this version."""

    locked_since_block: int | None = Field(description="Block that had mined the lock; null when no lock was mined.")
    locked_blocks: int | None = Field(default=None, description="For how many blocks it was locked.")
    version: str | None = Field(default=None, description="The group's version from here on; left out when not known.")
    block_number: int | None = Field(default=None, description="Block at which it was seen unlocked.")
    block_hash: str | None = Field(default=None, description="Hash of that block.")


class GroupMembersChangedData(EventData):
    """The group has other members."""

    participants: list[str] = Field(description="The members now, enclave keys in the contract's order.")
    added: list[str] = Field(description="Those that are new.")
    removed: list[str] = Field(description="Those that are gone.")
    version: str = Field(description="The group's version now.")
    block_number: int = Field(description="Block from which on this holds.")
    block_hash: str = Field(description="Its hash.")


class GroupDivergedData(EventData):
    """Members' nodes show different states of the group at the same block, or are members of groups of the same id."""

    block_number: int = Field(description="Block at which they were compared.")
    first_block: int | None = Field(description="First block at which they differ; null while it is not known.")
    undecided: bool = Field(
        description="Whether no state has more than half of the members on its side: the roots can't tell who is right."
    )
    reference: str = Field(
        description="Enclave key of the member that the others are compared with; empty when undecided."
    )
    state_root: str = Field(description="What the reference's node shows; empty when undecided.")
    members: list[str] = Field(description="The group's members.")
    differing: list[Differing] = Field(description="The members that differ; all of them when undecided.")
    other_groups: list[list[str]] = Field(
        description="Members of groups that have the same id and share no member with this one."
    )


class GroupConvergedData(EventData):
    """The members that differed agree again, or are members no more."""

    block_number: int = Field(description="Block at which they were compared.")
    state_root: str = Field(description="What all of them show.")
    members: list[str] = Field(description="The members that were compared.")


class GroupUnextendableData(EventData):
    """The group can't be given to any node that would have to replay this block: its import of blocks would halt."""

    block_number: int = Field(description="The first block seen that can't be replayed.")
    block_hash: str = Field(description="Its hash.")
    flaws: list[Unreplayable] = Field(description="What makes it so.")
    reason: Reason = Field(description="The same for a person, and what can be done.")


class GroupGuardedData(EventData):
    """A guard before a node's enclave decided about a history that somebody sent to have the node replay it."""

    node: str = Field(description="Name of the guarded node in the configuration.")
    member: str = Field(description="The node's enclave key.")
    outcome: Literal["passed", "refused"] = Field(description="What the node was answered.")
    history_key: str = Field(description="The history's key in the enclave.")
    head: int = Field(description="The node's head: the marker is in the block after it, or is to be.")
    owner: str = Field(description="Who made the group, as the history says.")
    sent_by: str = Field(description="The enclave key that sent it; empty when it was not told.")
    rule: str = Field(description="Which rule decided, in a word.")
    detail: str = Field(description="What was seen.")


class GroupAdditionRepeatedData(EventData):
    """The marker of an addition was mined again: who holds its history may have fallen back to it."""

    block_number: int = Field(description="The block of the repetition.")
    transaction: str = Field(description="The repetition.")
    sender: str = Field(description="The account that signed it.")
    first_block: int = Field(description="The block in which the marker was seen first.")
    first_transaction: str = Field(description="The transaction there.")
    affected: list[Affected] = Field(description="Members that show another state than the others now.")
    cure: list[str] = Field(
        description="Members to remove, and then to add again in one request; none when nobody shows what is right."
    )
    through: str | None = Field(description="Name of a node to do it through: a member's that has no such history.")


class NodeStandingStillData(EventData):
    """A configured node imports no blocks while others do; about a node, so that `privacy_group_id` is null."""

    node: str = Field(description="Name of the node in the configuration.")
    head: int = Field(description="The block at which it stands.")
    newest_head: int = Field(description="The newest block of the others.")
    since: datetime = Field(description="When it was first seen at that block.")
    hold: Hold = Field(
        description="What holds it: its `enclave` does not answer; it has no `peers`; the next block brings an "
        "`addition` whose history it replays, or can't; the next block holds a `payload` that its enclave has to "
        "hand over; `unknown`. Told again when that changes."
    )
    detail: str = Field(description="What was seen, for a person.")
    remedy: str = Field(description="What to do.")


class NodeAheadData(EventData):
    """A node shows a head that is far beyond what any other node shows; nothing is decided by it."""

    node: str = Field(description="Name of the node in the configuration.")
    head: int = Field(description="The block that it shows.")
    newest_head: int = Field(description="The newest block that a second node shows.")
    remedy: str = Field(description="What to do.")


class NodeMovingData(EventData):
    """A node that stood still, or was far ahead of all others, is near the newest block again."""

    node: str = Field(description="Name of the node in the configuration.")
    head: int = Field(description="Its newest block.")


class GroupAdditionUnexpectedData(EventData):
    """An addition was mined that is not the one that its members expected: some nodes refused it, or all did."""

    block_number: int = Field(description="The block of its marker.")
    transaction: str = Field(description="The marker.")
    sender: str = Field(description="The account that signed it.")
    refused_by: list[str] = Field(description="Names of the nodes that refused it.")
    executed_by: list[str] = Field(description="Names of the nodes that executed it, which then have another state.")
    affected: list[Affected] = Field(description="Members that show another state than the others now.")
    cure: list[str] = Field(
        description="Members to remove, and then to add again in one request; none when nobody shows what is right."
    )
    through: str | None = Field(description="Name of a node to do it through: a member's that refused it.")
    names: str | None = Field(
        default=None,
        description="The marker of a private transaction that it names as a history; nodes that have that one stand.",
    )
    standing: list[str] = Field(default=[], description="Names of nodes of ours that don't get past its block then.")


class GroupJoiningData(EventData):
    """Somebody else adds a member that one of our nodes hosts; that node replays the group's history."""

    member: str = Field(description="The new member's enclave key.")
    node: str = Field(description="Name of its node in the configuration.")
    members: list[str] = Field(description="The group's members.")
    reference: str | None = Field(description="Enclave key of the member that it is compared with; null for none.")
    progress: list[Progress] = Field(description="How far it is: one entry.")


class GroupJoinedData(GroupJoiningData):
    """The new member's node has the group; `in_sync` when it was compared with another member over some blocks."""


DATA: Final[dict[EventType, type[EventData]]] = {
    EventType.CHANGE_ACCEPTED: ChangeAcceptedData,
    EventType.CHANGE_STARTED: ChangeStartedData,
    EventType.CHANGE_PROGRESSED: ChangeProgressedData,
    EventType.CHANGE_SUCCEEDED: ChangeSucceededData,
    EventType.CHANGE_FAILED: ChangeFailedData,
    EventType.CHANGE_PARKED: ChangeParkedData,
    EventType.CHANGE_CANCELLED: ChangeCancelledData,
    EventType.REQUEST_REJECTED: RequestRejectedData,
    EventType.GROUP_LOCKING: GroupLockingData,
    EventType.GROUP_LOCKED: GroupLockedData,
    EventType.GROUP_UNLOCKED: GroupUnlockedData,
    EventType.GROUP_MEMBERS_CHANGED: GroupMembersChangedData,
    EventType.GROUP_DIVERGED: GroupDivergedData,
    EventType.GROUP_CONVERGED: GroupConvergedData,
    EventType.GROUP_UNEXTENDABLE: GroupUnextendableData,
    EventType.GROUP_GUARDED: GroupGuardedData,
    EventType.GROUP_ADDITION_REPEATED: GroupAdditionRepeatedData,
    EventType.GROUP_ADDITION_UNEXPECTED: GroupAdditionUnexpectedData,
    EventType.GROUP_JOINING: GroupJoiningData,
    EventType.GROUP_JOINED: GroupJoinedData,
    EventType.NODE_STANDING_STILL: NodeStandingStillData,
    EventType.NODE_MOVING: NodeMovingData,
    EventType.NODE_AHEAD: NodeAheadData,
}
"""What the ``data`` of each type of event holds."""

_D = TypeVar("_D", bound=EventData)


class StatusDocument(BaseModel, Generic[_D]):
    """A status event: a CloudEvents 1.0 JSON document."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=False)

    specversion: Literal["1.0"]
    id: str = Field(description="Unique, also among stores; an event that is delivered again has the same.")
    source: str = Field(
        description="An absolute URI: `events.source` of the configuration, else `urn:uuid:` and the store's own id."
    )
    type: str
    subject: str | None = Field(
        default=None, description="The privacy group id, by which events are ordered; left out when there is none."
    )
    time: datetime = Field(description="When it was committed, UTC.")
    datacontenttype: Literal["application/json"]
    sequence: str = Field(
        description="Place among the events of this source, 20 digits: ordered as text; the group's own count is "
        "`data.sequence`."
    )
    formerid: str | None = Field(
        default=None, description="The id that earlier releases gave this event; goes with the next release."
    )
    traceparent: str | None = Field(
        default=None, description="Where the change is in a trace: W3C Trace Context, to go on from."
    )
    tracestate: str | None = Field(default=None, description="What goes with it, as it came with the request.")
    data: _D


def _document_model(event_type: EventType) -> type[BaseModel]:
    data = DATA[event_type]
    fields: dict[str, Any] = {"type": (Literal[event_type.value], ...), "data": (data, ...)}
    name = data.__name__.removesuffix("Data")
    return create_model(name, __base__=StatusDocument[data], __doc__=data.__doc__, **fields)  # type: ignore[valid-type] # the class is made in the line before


DOCUMENTS: Final[dict[EventType, type[BaseModel]]] = {event_type: _document_model(event_type) for event_type in DATA}
"""The whole document of each type of event."""


def json_schema(event_type: EventType) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the whole document of a type of event."""
    schema = DOCUMENTS[event_type].model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:{event_type.value}", **schema}
