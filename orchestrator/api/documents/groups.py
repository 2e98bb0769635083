"""The JSON documents that the API answers with about groups."""

from pydantic import ConfigDict, Field

from orchestrator.api.documents.shared import Document
from orchestrator.api.ports.changes import GroupStanding
from orchestrator.outside_text import LONGEST_TEXT


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
    managed: bool = Field(
        default=True, description="Whether a change was ever asked for; false for a group that only the nodes know."
    )


class GroupPage(Document):
    """Known groups: those with the newest changes first, then those that only the nodes know."""

    groups: list[GroupDocument]
    next: str | None = Field(
        default=None, description="Give it as `after` to get the next page; null when this was the last."
    )
    total: int | None = Field(default=None, description="How many groups there are on all pages.")


class DesiredMembers(Document):
    """The members that a group shall have; otherwise as in a change that is asked for."""

    model_config = ConfigDict(extra="forbid")

    members: list[str] = Field(description="All enclave keys that shall be members, each once.", min_length=1)
    account: str | None = Field(
        default=None, description="The owner's account; may be left out when one is configured."
    )
    deadline_seconds: int | None = Field(default=None, ge=1, description="When to give up, in seconds.")
    reason: str | None = Field(default=None, max_length=LONGEST_TEXT, description="Why, for the audit log.")


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
        managed=group.managed,
    )
