"""What subscribers were last told of each group that somebody may have to act on. Pure.

Nothing of it is remembered besides the events themselves: whoever reads them from the first on knows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from orchestrator.membership.news.status import EventType, Json, StatusEvent

NEWS_TYPES: Final = (
    EventType.GROUP_DIVERGED,
    EventType.GROUP_CONVERGED,
    EventType.GROUP_UNEXTENDABLE,
    EventType.GROUP_ADDITION_REPEATED,
    EventType.GROUP_ADDITION_UNEXPECTED,
)
MOST_GROUPS: Final = 10_000
"""Groups that are remembered; those that were told of longest ago go first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """One thing that was told.

    Attributes:
        at: When.
        data: What the event said.
    """

    at: datetime
    data: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupNews:
    """What is known of one group.

    Attributes:
        diverged: Its members differ; `Announcement.at` is when that was told first.
        unextendable: No member can be added any more.
        repeated: An addition's marker was mined again, and members fell back.
    """

    diverged: Announcement | None = None
    unextendable: Announcement | None = None
    repeated: Announcement | None = None


def after_event(known: Mapping[str, GroupNews], event: StatusEvent, at: datetime) -> dict[str, GroupNews]:
    """Return what is known after one more event.

    Args:
        known: By group, what was known before.
        event: The event; others than of `NEWS_TYPES` change nothing.
        at: When it was committed.
    """
    group = event.privacy_group_id
    before = known.get(group, GroupNews())
    new = Announcement(at=at, data=event.data)
    match event.type:
        case EventType.GROUP_DIVERGED:
            # A divergence that lasts is told again now and then; what matters is since when.
            since = at if before.diverged is None else before.diverged.at
            news = replace(before, diverged=replace(new, at=since))
        case EventType.GROUP_CONVERGED:
            # Members that agree again have nothing left of what a repeated addition did to them.
            news = replace(before, diverged=None, repeated=None)
        case EventType.GROUP_UNEXTENDABLE:
            news = replace(before, unextendable=before.unextendable or new)
        case EventType.GROUP_ADDITION_REPEATED if _fell_back(event.data):
            news = replace(before, repeated=new)
        case EventType.GROUP_ADDITION_UNEXPECTED if event.data.get("affected"):
            news = replace(before, repeated=new)
        case _:
            return dict(known)
    found = {other: what for other, what in known.items() if other != group}
    if news != GroupNews():
        found[group] = news
    while len(found) > MOST_GROUPS:
        del found[next(iter(found))]
    return found


def _fell_back(data: Mapping[str, Json]) -> bool:
    affected = data.get("affected")
    return isinstance(affected, list) and any(isinstance(one, dict) and one.get("fell_back") for one in affected)
