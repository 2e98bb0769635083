"""The JSON documents that the API answers with; the models are also what ``/openapi.json`` is made from."""

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.api.ports import BuriedMessage, Check, GroupStanding


class Document(BaseModel):
    """A JSON object with exactly its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class MemberStandingDocument(Document):
    """One participant as its node shows the group now."""

    enclave_key: str
    node: str | None = Field(description="Name of the configured node; null without access to it.")
    head: int | None
    exists: bool | None
    participants: tuple[str, ...]
    version: str
    state_root: str


class GroupDocument(Document):
    """One group as the configured nodes show it."""

    privacy_group_id: str
    path_id: str = Field(description="The id as base64url, for paths.")
    block_number: int | None
    participants: list[str]
    locked: bool | None
    version: str
    members: list[MemberStandingDocument]
    in_sync: bool | None
    unfinished: list[str] = Field(description="Ids of changes that have not ended.")


class GroupPage(Document):
    """The known groups."""

    groups: list[GroupDocument]


class DesiredMembers(Document):
    """The members that a group shall have; otherwise as in a change that is asked for."""

    members: list[str] = Field(description="All enclave keys that shall be members, each once.", min_length=1)
    account: str | None = Field(
        default=None, description="The owner's account; may be left out when one is configured."
    )
    deadline_seconds: int | None = Field(default=None, ge=1, description="When to give up, in seconds.")


class DeadLetterDocument(Document):
    """A message that could not be accepted."""

    letter_id: str
    reason: str
    body: str = Field(description="The message as text; bytes that are none are shown as U+FFFD.")


class DeadLetterPage(Document):
    """The oldest dead letters."""

    dead_letters: list[DeadLetterDocument]


class CheckDocument(Document):
    """One thing that has to work."""

    name: str
    ok: bool
    required: bool
    detail: str


class ReadinessDocument(Document):
    """Whether the daemon can do its work."""

    ready: bool
    checks: list[CheckDocument]


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str = Field(description="Stable name of the problem, a URI.")
    title: str
    status: int
    detail: str = Field(description="What happened, why, and what to do.")
    field: str | None = Field(default=None, description="The field that is wrong.")


def group_document(group: GroupStanding, path_id: str) -> GroupDocument:
    """Return a group as the API shows it."""
    return GroupDocument(
        privacy_group_id=group.privacy_group_id,
        path_id=path_id,
        block_number=group.block_number,
        participants=list(group.participants),
        locked=group.locked,
        version=group.version,
        members=[MemberStandingDocument.model_validate(member) for member in group.members],
        in_sync=group.in_sync,
        unfinished=list(group.unfinished),
    )


def dead_letter_document(letter: BuriedMessage) -> DeadLetterDocument:
    """Return a dead letter as the API shows it."""
    return DeadLetterDocument(
        letter_id=letter.letter_id, reason=letter.reason, body=letter.body.decode("utf-8", "replace")
    )


def readiness_document(checks: tuple[Check, ...]) -> ReadinessDocument:
    """Return what ``/readyz`` answers."""
    return ReadinessDocument(
        ready=all(check.ok for check in checks if check.required),
        checks=[CheckDocument.model_validate(check) for check in checks],
    )
