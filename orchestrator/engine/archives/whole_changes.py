"""A change with all that is told of it, and how to tell for little whether that is still the same."""

from dataclasses import dataclass

from orchestrator.engine.ports.records import AdditionTime, HistoryEntry
from orchestrator.membership.attempt import Attempt
from orchestrator.membership.model import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeVersion:
    """Which state of a change this is, without the change.

    Attributes:
        privacy_group_id: The change's group.
        mark: Differs from that of every other state of the same change, its history, its attempts (its lead's, for a
            follower) and its times, in one store; it says nothing else.
    """

    privacy_group_id: str
    mark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeChange:
    """One change as it was at one moment.

    Attributes:
        version: Which state this is.
        change: The change.
        history: What happened to it, oldest first.
        attempts: Its attempts (its lead's, for a follower), oldest first.
        times: What was forecast and measured of its addition (its lead's, for a follower).
    """

    version: ChangeVersion
    change: Change
    history: tuple[HistoryEntry, ...]
    attempts: tuple[Attempt, ...]
    times: tuple[AdditionTime, ...]
