"""The JSON documents about webhooks."""

from datetime import datetime
from typing import Final

from pydantic import ConfigDict, Field

from orchestrator.api.documents.shared import Document

# Beyond it JavaScript's numbers are not exact.
MOST_POSITION: Final = 2**53


class WebhookDocument(Document):
    """How far one webhook is."""

    name: str = Field(description="Its name in the configuration.")
    address: str = Field(description="Scheme and host that it posts to.")
    types: list[str] = Field(description="Types of events that it wants; empty for all.")
    position: int | None = Field(description="The last event that it took or did not want; null before the first look.")
    behind: int = Field(description="Events, of all types, behind that one.")
    failures: int = Field(description="Failures in a row.")
    paused_since: datetime | None = Field(description="Since when it is tried only now and then: it failed too often.")
    stopped_since: datetime | None = Field(description="Since when an operator has it stopped.")
    detail: str = Field(description="What its last failure was.")


class WebhooksDocument(Document):
    """The configured webhooks."""

    webhooks: list[WebhookDocument]


class SendAgainDocument(Document):
    """From where on events are posted again."""

    model_config = ConfigDict(extra="forbid")

    after: int = Field(
        description="Post everything behind this event: the number in its `sequence`; 0 for all that is kept.",
        ge=0,
        le=MOST_POSITION,
    )


class TriedDocument(Document):
    """What became of a test event."""

    taken: bool = Field(description="Whether the receiver took it.")
    detail: str = Field(description="What was seen.")
