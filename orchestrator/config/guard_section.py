"""The section of the guard, which runs as a process of its own."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from orchestrator.config import values
from orchestrator.config.kinds import File, Folder, Name, Seconds, SecretFile, Section


class GuardConfig(Section):
    """``[guard]``: what `orchestrator guard` does between a node and its enclave."""

    node: Name | None = Field(default=None, description="Which of `nodes` is guarded; none: the first.")
    listen: Annotated[str, AfterValidator(values.check_guard_listen)] = Field(
        default="127.0.0.1:8889", description="Where the node finds its enclave: host:port on loopback, or unix:/path."
    )
    shared_port: bool = Field(
        default=False,
        description="Whether a second guard of the same node has the same `listen`; never one of another.",
    )
    status: Annotated[str, AfterValidator(values.check_listen)] | None = Field(
        default=None, description="host:port on loopback for `/metrics`, `/decisions` and `/healthz`; none: not served."
    )
    accept: Literal["all-safe", "known-owners", "asked"] = Field(
        default="all-safe",
        description="Which additions the node may take, of those that do it no harm: all, those of `known_owners`, or "
        "those that were approved here.",
    )
    known_owners: tuple[Annotated[str, AfterValidator(values.check_address)], ...] = Field(
        default=(), max_length=4096, description="Accounts whose groups are welcome."
    )
    approvals_file: Folder = Field(
        default=Path("orchestrator-approvals.json"), description="What `orchestrator guard approve` writes."
    )
    decisions_file: Folder = Field(
        default=Path("orchestrator-decisions.jsonl"), description="Each decision, so that it is given again."
    )
    use_store: bool = Field(
        default=False,
        description="Whether the daemon's database is used: its own changes count as approved, and decisions become "
        "status events.",
    )
    most_transactions: int = Field(
        default=20_000, ge=1, le=1_000_000, description="The longest replay, in transactions."
    )
    most_replay_seconds: Seconds = Field(default=60.0, description="The longest replay, in time.")
    transactions_per_second: Annotated[float, Field(gt=0, le=100_000)] = Field(
        default=250.0, description="How many transactions the node replays in a second."
    )
    largest_bundle_mb: int = Field(default=64, ge=1, le=1_024, description="Larger bundles are refused unread.")
    risks: Literal["refuse", "pass"] = Field(
        default="refuse",
        description="With all-safe: what becomes of a history with a block in which a public transaction may have "
        "changed what private code reads.",
    )
    unconfirmed: Literal["refuse", "known", "pass"] = Field(
        default="known",
        description="What becomes of a history that no other of `nodes`, as a member's, shows with every root and "
        "transaction, so that nobody knows whether its replay reaches its roots: refused, passed where the owner is "
        "one of `known_owners` or the addition was approved here, or passed.",
    )
    nonces_always_increment: bool = Field(
        default=False,
        description="Whether members' nodes run with `--privacy-nonce-always-increments`: gaps then show nothing.",
    )
    judged_within_seconds: Seconds = Field(
        default=20.0, description="A bundle that is not judged by then is dealt with as `undecided` says."
    )
    undecided: Literal["refuse", "pass"] = Field(
        default="refuse", description="What a bundle becomes that could not be judged in time."
    )
    certificate_file: File | None = Field(default=None, description="PEM of the certificate to speak TLS with.")
    key_file: SecretFile | None = Field(default=None, description="PEM of its key.")
    client_ca_file: File | None = Field(
        default=None, description="PEM of the authority that signed the node's client certificate; none: not asked for."
    )
    enclave_ca_file: File | None = Field(
        default=None, description="PEM of the authority that signed the enclave's certificate; none: the system's."
    )
    enclave_certificate_file: File | None = Field(
        default=None, description="PEM of the client certificate that the enclave asks for."
    )
    enclave_key_file: SecretFile | None = Field(default=None, description="PEM of its key.")
    enclave_token_file: SecretFile | None = Field(
        default=None, description="File with a token that is sent to the enclave; read again when it changes."
    )
