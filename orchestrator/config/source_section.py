"""The section of who may ask for changes by the message queue."""

from pydantic import Field

from orchestrator.config.access_section import Accounts, Groups
from orchestrator.config.kinds import Name, Section, Subject
from orchestrator.membership.model import Kind


class SourceConfig(Section):
    """``[[broker.sources]]``: who asks by which subject, queue or topic; with one, nobody asks by any other."""

    name: Name = Field(description="How it is called in the audit log and in what is shared out; unique.")
    subject: Subject = Field(description="The subject, queue or topic that only it may publish to; unique.")
    groups: Groups | None = Field(default=None, max_length=1000, description="Only about these groups.")
    accounts: Accounts | None = Field(default=None, max_length=1000, description="Only as these accounts.")
    kinds: tuple[Kind, ...] | None = Field(default=None, max_length=16, description="Only these kinds of changes.")
    unfinished: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Its unfinished changes; without it `admission.per_source`."
    )
