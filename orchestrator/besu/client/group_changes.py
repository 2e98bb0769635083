"""What changes of groups through the client library come to. Pure."""

from dataclasses import dataclass

from orchestrator.besu.client.outcome import MemberOutcome, Rejection
from orchestrator.besu.codec.results import GroupView


class GroupChangeError(Exception):
    """A change of a group cannot be made, or was mined without effect.

    Attributes:
        rejection: why it had no effect; None when nothing was sent.
    """

    def __init__(self, message: str, *, rejection: Rejection | None = None) -> None:
        super().__init__(message)
        self.rejection = rejection


@dataclass(frozen=True, slots=True)
class ChangeReceipt:
    """A change that executed.

    Attributes:
        pmt_hash: its PMT.
        block_number, block_hash: the block that holds it.
        members: what became of each key of an add or a remove.
        view: the group on the sending node at that block.
    """

    pmt_hash: str
    block_number: int
    block_hash: str
    members: tuple[tuple[str, MemberOutcome], ...]
    view: GroupView


@dataclass(frozen=True, slots=True)
class CreatedGroup:
    """A new group and the receipt of its creation."""

    privacy_group_id: str
    receipt: ChangeReceipt
