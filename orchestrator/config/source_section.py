"""The section of who may ask for changes by the message queue."""

from typing import Annotated

from pydantic import Field

from orchestrator.config.access_section import Accounts, Groups
from orchestrator.config.kinds import File, Name, Section, Subject
from orchestrator.membership.model import Kind


class SourceConfig(Section):
    """``[[broker.sources]]``: who asks by which subject, queue or topic; with one, nobody asks by any other."""

    name: Name = Field(description="How it is called in the audit log and in what is shared out; unique.")
    subject: Subject = Field(
        description="The subject, queue or topic that only it may publish to; "
        "unique, unless each who shares it has `keys_file`."
    )
    groups: Groups | None = Field(default=None, max_length=1000, description="Only about these groups.")
    accounts: Accounts | None = Field(default=None, max_length=1000, description="Only as these accounts.")
    kinds: tuple[Kind, ...] | None = Field(default=None, max_length=16, description="Only these kinds of changes.")
    keys_file: File | None = Field(
        default=None,
        description="Its public keys (JWKS, or one in PEM): each of its messages must be signed by one of them; read "
        "again when it changes.",
    )
    signed_hours: Annotated[float, Field(ge=0.01, le=8784)] = Field(
        default=168.0, description="How old a signature may be; not longer than what ended stays recognised."
    )
    share: int = Field(
        default=1, ge=1, le=100, description="How many turns at work it gets for each one of a source with share 1."
    )
    unfinished: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Its unfinished changes; without it `admission.per_source`."
    )
