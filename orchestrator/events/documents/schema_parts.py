"""What the data of several status events has in common, as models. Pure."""

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.membership.forecast.blocks import Flaw
from orchestrator.membership.model import Verdict


class Part(BaseModel):
    """A part: documents of later releases may hold more."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=False)


class Reason(Part):
    """Why a change waits, is undone, failed or is parked."""

    slug: str = Field(description="Stable name of the reason, for programs.")
    detail: str = Field(description="What was seen, with names and numbers; may be empty.")
    message: str = Field(description="A sentence for a person.")
    remedy: str = Field(description="What a person can do about it.")
    members: list[str] = Field(description="Enclave keys that it is about; empty when it is not about members.")


class Progress(Part):
    """How one member's node stands to the group."""

    member: str = Field(description="Enclave key.")
    verdict: Verdict = Field(
        description="replaying; in_sync; missing (the node has no state for the group); diverged (another state); "
        "stalled (no progress for a while); unobserved (no access to its node)."
    )
    blocks_replayed: int = Field(ge=0, description="Blocks of the group's history that the node has replayed.")
    blocks_total: int = Field(ge=0, description="Blocks of the group's history; 0 while not known.")
    blocks_per_second: float | None = Field(description="How fast it replays; null while that can't be told.")
    remaining_seconds: float | None = Field(description="What the replay will still take; null while not known.")
    head: int | None = Field(description="The node's newest block; null while it does not answer.")
    in_sync_through: int | None = Field(description="Newest block at which its state was seen equal; null before that.")
    attested_by: str | None = Field(
        description="Account whose signed word the verdict rests on; null when the node itself was looked at."
    )


class Effect(Part):
    """Where the group's state first showed what was asked for."""

    block_number: int = Field(description="That block.")
    block_hash: str = Field(description="Its hash.")
    version: str = Field(description="The group's version there, 0x and 64 digits.")
    state_root: str = Field(description="The group's state root there, 0x and 64 digits; empty when none was given.")
    participants: list[str] = Field(description="The members there, enclave keys in the contract's order.")


class Differing(Part):
    """A member whose node shows the group otherwise than the reference."""

    member: str = Field(description="Enclave key.")
    node: str = Field(description="Name of its node in the configuration.")
    verdict: Verdict = Field(description="missing (no state for the group) or diverged (another state root).")
    state_root: str | None = Field(description="What its node shows at that block; null when nothing.")
    lacks: list[str] = Field(
        description="Marker transactions of the first differing block that its node has no private receipt of, and "
        "another member's node has."
    )


class Unreplayable(Part):
    """Public transactions that make a block one that no node can replay."""

    flaw: Flaw = Field(
        description="account_twice (the account has more than one transaction in the block); balance (it pays with "
        "what it was sent in the block); gas (more than the block has)."
    )
    account: str = Field(description="The account that signed them.")
    transactions: list[str] = Field(description="Their hashes, in the order of the block.")


class Affected(Part):
    """A member's node on which an addition was executed again, its marker having been mined again."""

    node: str = Field(description="Name of the node in the configuration.")
    member: str = Field(description="The member's enclave key.")
    state_root: str = Field(description="What it shows after the block.")
    other_root: str = Field(description="What the others show there; empty when none is seen.")
    fell_back: bool = Field(description="Whether it shows, for the block before, the group under its old lock.")
