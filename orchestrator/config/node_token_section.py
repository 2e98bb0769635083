"""The section of a node's token that something issues."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from orchestrator.config import values
from orchestrator.config.kinds import File, Seconds, SecretFile, Section


def _command(arguments: tuple[str, ...]) -> tuple[str, ...]:
    if not Path(arguments[0]).is_absolute():
        raise ValueError("must begin with the program's absolute path: no shell looks for it")
    return arguments


Argument = Annotated[str, Field(max_length=4096, pattern=r"^[^\x00]*$")]
Word = Annotated[str, Field(max_length=1024)]


class NodeTokenConfig(Section):
    """``[nodes.token]``: a node's token that is issued, by a program or an address, and issued anew before it ends."""

    command: Annotated[tuple[Argument, ...], Field(min_length=1, max_length=64), AfterValidator(_command)] | None = (
        Field(
            default=None,
            description="A program, by its absolute path, and its arguments: it prints the token and nothing else.",
        )
    )
    url: Annotated[str, AfterValidator(values.check_http_url)] | None = Field(
        default=None,
        description="Or an address that issues tokens for client credentials (OAuth 2.0): https, or http on loopback.",
    )
    client_id: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None, description="Who we are at `url`."
    )
    client_secret_file: SecretFile | None = Field(
        default=None, description="File with our secret at `url`; read again when it changes."
    )
    client_authentication: Literal["basic", "post"] = Field(
        default="basic", description="Whether id and secret go as a header, or among the fields."
    )
    scope: Word = Field(default="", description="The scope that is asked for, where the issuer wants one.")
    audience: Word = Field(default="", description="For whom the token is to be, where the issuer wants it.")
    ca_file: File | None = Field(default=None, description="PEM of the authority behind `url`.")
    lifetime_seconds: Annotated[float, Field(ge=1, le=31_622_400)] | None = Field(
        default=None,
        description="How long a token is good for that does not say so itself (`expires_in`, or `exp` in a JSON Web "
        "Token); without it until it is refused.",
    )
    timeout_seconds: Seconds = Field(default=10.0, description="How long issuing may take.")
