"""``[traces]`` of the configuration."""

from typing import Annotated

from pydantic import AfterValidator, Field

from orchestrator.config import values
from orchestrator.config.kinds import File, SecretFile, Section


class TracesConfig(Section):
    """``[traces]``: OpenTelemetry; on with `endpoint`, or the standard variable OTEL_EXPORTER_OTLP_ENDPOINT."""

    endpoint: Annotated[str, AfterValidator(values.check_http_url)] | None = Field(
        default=None,
        description="Whole address that takes OTLP over HTTP, such as `http://collector:4318/v1/traces`. Needs the "
        "extra `traces`; the `OTEL_EXPORTER_OTLP_…` variables say what is not said here.",
    )
    headers_file: SecretFile | None = Field(
        default=None, description="File with headers for it, such as a token: one `Name: value` a line."
    )
    ca_file: File | None = Field(default=None, description="PEM of the authority that signed its certificate.")
    ratio: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0, description="Which part is kept of traces that begin here; a request's own trace keeps its choice."
    )
