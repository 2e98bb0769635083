"""What a reason means for a change: retried, failed or parked, and how. Pure."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Judgement(StrEnum):
    """What a reason means for the change."""

    RETRY = "retry"
    """It may work later: back to the queue, after a back-off."""
    TERMINAL = "terminal"
    """It can't work: the change fails."""
    PARK = "park"
    """A person has to look or act: the change waits for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a reason means and what to do about it.

    Attributes:
        judgement: See `Judgement`.
        remedy: What a person can do.
        member_specific: Other members of the same batch are not touched by it: split the batch.
        patience: For `Judgement.RETRY`: how many times in a row it is tried again before it is parked; None for the
            deadline only.
        in_line: For `Judgement.RETRY`: it waits for another change of ours, which ends within some blocks: the pause
            stays short.
        pause: For `Judgement.RETRY`: the shortest pause; an addition's next try takes another lock.
    """

    judgement: Judgement
    remedy: str
    member_specific: bool = False
    patience: int | None = None
    in_line: bool = False
    pause: timedelta = timedelta(0)
