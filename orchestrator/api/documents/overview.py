"""The JSON documents that tell at a glance: what needs a person, and how the nodes are."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from orchestrator.api.documents.shared import Document


class NeedDocument(Document):
    """One thing that may need a person."""

    slug: str = Field(description="Stable name of the kind.")
    urgency: Literal["broken", "stuck", "waiting", "told"] = Field(
        description="broken: wrong until somebody acts; stuck: somebody has to decide; waiting: goes on by itself when "
        "something outside comes back; told: to be known."
    )
    what: str = Field(description="What happened.")
    remedy: str = Field(description="What to do; empty where nothing can be done.")
    since: datetime | None = Field(description="Since when; null where that isn't known.")
    change_id: str | None = Field(description="The change that it is about, if any.")
    privacy_group_id: str | None = Field(description="The group that it is about, if any.")
    node: str | None = Field(description="The node that it is about, if any.")
    commands: list[str] = Field(description="What to type, in this order.")


class AttentionDocument(Document):
    """What needs a person, the most urgent first."""

    at: datetime = Field(description="When that was looked at.")
    needs: list[NeedDocument]
    total: int = Field(description="How many there are; the list is bounded.")


class NodeDocument(Document):
    """How a configured node is now."""

    name: str
    enclave_keys: list[str] = Field(description="The keys that it hosts.")
    answers: bool = Field(description="Whether it answered just now.")
    trouble: str = Field(description="Why it did not, or why it isn't asked; empty when it did.")
    head: int | None = Field(description="Its newest block, as far as it was ever seen.")
    behind: int | None = Field(
        description="By how many blocks it is behind the newest head that two nodes confirm; negative: ahead."
    )
    subscribed: bool = Field(description="Whether its heads come by WebSocket.")
    milliseconds: float | None = Field(description="How long it took to tell its head.")
    besu_version: str = Field(description="Its version; empty while that isn't known.")
    validator: bool | None = Field(description="Whether it makes blocks; null when it can't be told.")
    notes: list[str] = Field(description="What is to be known of that version.")


class NodesDocument(Document):
    """The configured nodes."""

    nodes: list[NodeDocument]
