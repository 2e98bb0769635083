"""What all sections of the configuration share: what a table is, and the kinds of values."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from orchestrator.config import values

Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
GroupName = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Subject = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")]
Folder = Annotated[Path, AfterValidator(values.in_folder)]
File = Annotated[Path, AfterValidator(values.check_file)]
SecretFile = Annotated[Path, AfterValidator(values.check_secret_file)]


class Section(BaseModel):
    """A table of the file: unknown keys are mistakes, values do not change."""

    # Defaults are validated like given values, so that a default path starts at the configuration's folder too.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        # A value that is wrong may be a secret in the wrong place, and messages end in logs.
        hide_input_in_errors=True,
        validate_default=True,
        revalidate_instances="always",
    )
