"""The section that says who may use the HTTP interface."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from orchestrator.access.callers import Role
from orchestrator.access.tokens import SIGNING_ALGORITHMS
from orchestrator.config import values
from orchestrator.config.kinds import File, Name, Section
from orchestrator.membership.model import Kind

Groups = tuple[Annotated[str, Field(min_length=1, max_length=64)], ...]
Accounts = tuple[Annotated[str, AfterValidator(values.check_address)], ...]


class JwtConfig(Section):
    """``[access.jwt]``: JSON Web Tokens of one issuer."""

    issuer: Annotated[str, Field(min_length=1, max_length=1024)] = Field(description="What `iss` must be.")
    audience: Annotated[str, Field(min_length=1, max_length=1024)] = Field(description="What `aud` must name.")
    jwks_file: File | None = Field(default=None, description="File with the issuer's keys (JWKS); read again.")
    jwks_url: Annotated[str, AfterValidator(values.check_http_url)] | None = Field(
        default=None, description="Address of the issuer's keys: https, or http on loopback; read again."
    )
    ca_file: File | None = Field(default=None, description="PEM of the authority behind `jwks_url`.")
    algorithms: tuple[Annotated[str, AfterValidator(values.check_algorithm)], ...] = Field(
        default=SIGNING_ALGORITHMS, min_length=1, max_length=16, description="Which may sign; asymmetric ones only."
    )
    role_claim: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        default="role", description="The claim with the role, or with several; dots lead into objects."
    )
    roles: dict[Annotated[str, Field(max_length=256)], Role] = Field(
        default={}, max_length=64, description="What the issuer calls the roles: its word = ours."
    )
    groups_claim: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None, description="The claim with the groups (ids or names); without it all groups."
    )


class UserConfig(Section):
    """``[[access.users]]``: a user of this machine, at the Unix socket."""

    uid: int = Field(ge=0, le=2**32 - 2, description="Number of the user; unique.")
    name: Name = Field(description="How it is called in the audit log.")
    role: Role = Field(description="viewer, operator or admin.")
    groups: Groups | None = Field(default=None, max_length=1000, description="Only these groups.")
    accounts: Accounts | None = Field(default=None, max_length=1000, description="Only as these accounts.")
    kinds: tuple[Kind, ...] | None = Field(default=None, max_length=16, description="Only these kinds of changes.")


class LimitConfig(Section):
    """``[[access.limits]]``: what a caller is limited to, whatever its token says."""

    caller: Annotated[str, Field(pattern=r"^(token|jwt|user):.{1,128}$")] = Field(
        description="`token:NAME`, `jwt:SUBJECT` or `user:NAME`; unique."
    )
    groups: Groups | None = Field(default=None, max_length=1000, description="Only these groups.")
    accounts: Accounts | None = Field(default=None, max_length=1000, description="Only as these accounts.")
    kinds: tuple[Kind, ...] | None = Field(default=None, max_length=16, description="Only these kinds of changes.")


class AccessConfig(Section):
    """``[access]``: who may use the HTTP interface."""

    required: bool | None = Field(
        default=None,
        description="Whether callers prove who they are; without it: when `api.listen` is more than loopback, or "
        "anything else of this section is given.",
    )
    jwt: JwtConfig | None = None
    users: tuple[UserConfig, ...] = Field(default=(), max_length=1024)
    limits: tuple[LimitConfig, ...] = Field(default=(), max_length=1024)

    def is_required(self, listen: str) -> bool:
        """Return whether callers have to prove who they are, where the interface listens there."""
        if self.required is not None:
            return self.required
        given = self.jwt is not None or bool(self.users) or bool(self.limits)
        return given or not values.is_loopback_listen(listen)


def socket_path(path: Path) -> Path:
    """A Unix socket's path; the kernel takes so long ones."""
    if len(str(path)) > values.MOST_SOCKET_PATH:
        raise ValueError(f"has more than {values.MOST_SOCKET_PATH} characters")
    return path
