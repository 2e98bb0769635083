"""The section ``[store]``: the database. Units are in the names."""

from typing import Annotated

from pydantic import AfterValidator, Field

from orchestrator.config import values
from orchestrator.config.kinds import File, SecretFile, Section


class StoreConfig(Section):
    """``[store]``: the database."""

    url: Annotated[str, AfterValidator(values.check_store_url)] = Field(
        default="sqlite:///orchestrator.db",
        description="sqlite:///file.db, or postgresql://user@host/database for several replicas.",
    )
    password_file: SecretFile | None = Field(default=None, description="File with PostgreSQL's password.")
    ca_file: File | None = Field(
        default=None, description="PEM of the authority that PostgreSQL's certificate must come from, for its host."
    )
    certificate_file: File | None = Field(default=None, description="PEM of our certificate at PostgreSQL.")
    key_file: SecretFile | None = Field(default=None, description="PEM of our certificate's key.")
    migration_wait_seconds: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=0.0, description="How long a start waits for another process that migrates the store."
    )
