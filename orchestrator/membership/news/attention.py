"""What needs a person, the most urgent first: from changes, groups, nodes and the daemon's own state. Pure.

A list of everything that is going on hides the one thing that will not get better by itself. So each thing that may
have to be acted on is one entry here, with what to do, and what the daemon does by itself comes last or not at all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final

from orchestrator.membership.model import ENDED, Change, MemberProgress, State, Verdict
from orchestrator.membership.news.group_news import GroupNews
from orchestrator.membership.news.status import Json
from orchestrator.membership.reasons.judgements import Judgement
from orchestrator.membership.reasons.remedies import commands_for
from orchestrator.membership.reasons.table import Reason, rule_of

WAITING_TOO_LONG: Final = timedelta(minutes=2)
"""A wait that began longer ago is worth a look: what comes back by itself mostly has by then."""

LOCKED_TOO_LONG: Final = timedelta(minutes=2)
"""A group is locked for about two blocks and the bundling of its history."""


class Urgency(IntEnum):
    """How much something needs a person; the lowest first."""

    BROKEN = 1
    """Something is wrong now and stays so until somebody acts: members differ, a group stays locked, nothing works."""
    STUCK = 2
    """Somebody has to decide before it goes on; nothing gets worse meanwhile."""
    WAITING = 3
    """It goes on by itself when something outside comes back; worth a look when that takes long."""
    TOLD = 4
    """To be known; nothing waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One thing that may need a person.

    Attributes:
        slug: Stable name of the kind.
        urgency: How much.
        what: What happened, in one sentence.
        remedy: What to do; empty where nothing can be done.
        since: Since when; None where that isn't known.
        change_id: The change that it is about, if any.
        privacy_group_id: The group that it is about, if any.
        node: The node that it is about, if any.
        commands: What to type, in this order.
    """

    slug: str
    urgency: Urgency
    what: str
    remedy: str = ""
    since: datetime | None = None
    change_id: str = ""
    privacy_group_id: str = ""
    node: str = ""
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLook:
    """A node as it was seen last.

    Attributes:
        name: Its name.
        head: Its newest block; None before the first.
        behind: By how many blocks it is behind the newest head that two nodes confirm; negative when it is ahead.
        answers: Whether it answered when it was asked last.
        barred: Why it isn't asked at all; empty while it is.
        replaying: How far it is with a history that it replays for a change of ours; None while it replays none.
        change_id: That change.
    """

    name: str
    head: int | None
    behind: int
    answers: bool
    barred: str = ""
    replaying: MemberProgress | None = None
    change_id: str = ""


FAR_BEHIND: Final = 10
"""A node that replays, or whose connection hiccups, is some blocks behind now and then."""


def ranked(needs: Iterable[Need]) -> tuple[Need, ...]:
    """Return the needs, the most urgent first and of these the oldest; what has no beginning comes before what has."""
    return tuple(sorted(needs, key=lambda n: (n.urgency, n.since.timestamp() if n.since else 0.0, n.slug)))


def waits_under_lock(change: Change) -> bool:
    """Return whether a change does not get on while its group is locked for it."""
    return change.leads and change.lock_block is not None and change.waits_for is not None


def needs_of_change(change: Change, now: datetime, locked_since: datetime | None = None) -> tuple[Need, ...]:
    """Return what a change needs of a person: it is parked, holds a lock for long, waits for long, or lost members.

    Args:
        change: The change.
        now: The present time.
        locked_since: When the lock was seen that it holds; without it the lock is taken for as old as the change.
    """
    if change.state in ENDED:
        return ()
    if change.state is State.PARKED:
        return (_parked(change),)
    found = []
    if waits_under_lock(change) and change.waits_for is not None:
        since = locked_since or change.created_at
        if now - since > LOCKED_TOO_LONG:
            what = f"the group is locked for this change since block {change.lock_block}, and {_said(change.waits_for)}"
            need = _about(change, change.waits_for, slug="locked_long", urgency=Urgency.BROKEN, what=what)
            found.append(replace(need, since=since, remedy=need.remedy + _UNDER_LOCK.get(change.waits_for.slug, "")))
    stalled = [entry for entry in change.progress if entry.verdict is Verdict.STALLED]
    for entry in stalled:
        what = (
            f"the replay on {entry.enclave_key} does not move: {entry.blocks_replayed} of {entry.blocks_total} blocks "
            "since then"
        )
        found.append(
            Need(
                slug="replay_stalled",
                urgency=Urgency.STUCK,
                what=what,
                remedy="Look at the member's node and its enclave: it has to answer, and to import blocks.",
                since=entry.moved_at,
                change_id=change.change_id,
                privacy_group_id=change.privacy_group_id,
            )
        )
    reason = change.waits_for or (change.reason if change.state is State.QUEUED else None)
    if reason is not None and not found and not waits_under_lock(change):
        since = change.waiting_since or change.created_at
        if now - since > WAITING_TOO_LONG:
            found.append(_about(change, reason, slug=reason.slug, urgency=Urgency.WAITING, what=_said(reason)))
    return tuple(found)


_ONLY_OWNER: Final = (
    " Until the account signs the group stays locked: no other account can unlock it. The key in another signer, and a "
    "restart, will do as well."
)
_UNDER_LOCK: Final = {"signer_away": _ONLY_OWNER, "signer_refused": _ONLY_OWNER}
"""What a reason to wait means for a group that is locked meanwhile (docs/besu.md#words, 3)."""


def _parked(change: Change) -> Need:
    reason = change.reason or Reason(slug="parked_by_operator")
    locked = change.lock_block is not None
    what = _said(reason)
    if locked:
        what = f"{what}; the group is locked for it since block {change.lock_block}"
    lost = reason.slug in _BROKEN or locked
    return _about(change, reason, slug=reason.slug, urgency=Urgency.BROKEN if lost else Urgency.STUCK, what=what)


_BROKEN: Final = frozenset(
    {
        "member_missing",
        "member_forgotten",
        "member_diverged",
        "members_differ",
        "members_undecided",
        "group_split",
        "other_group_rolled_back",
        "marker_not_burnt",
    }
)
"""Reasons to park that mean that members of a group are apart, or may get so, until somebody acts."""


def _said(reason: Reason) -> str:
    what = reason.slug.replace("_", " ")
    return f"{what}: {reason.detail.rstrip('.')}" if reason.detail else what


def _about(change: Change, reason: Reason, *, slug: str, urgency: Urgency, what: str) -> Need:
    commands = commands_for(reason, change_id=change.change_id, privacy_group_id=change.privacy_group_id)
    return Need(
        slug=slug,
        urgency=urgency,
        what=what,
        remedy=rule_of(reason).remedy,
        since=change.waiting_since or change.created_at,
        change_id=change.change_id,
        privacy_group_id=change.privacy_group_id,
        commands=commands if rule_of(reason).judgement is not Judgement.RETRY or change.state is State.PARKED else (),
    )


def needs_of_group(privacy_group_id: str, news: GroupNews) -> tuple[Need, ...]:
    """Return what a group needs of a person, by what was told of it."""
    found = []
    # What an addition parted is told with its cure; that members differ since then is the same once more.
    told = news.diverged is not None and news.repeated is not None and news.diverged.at > news.repeated.at
    if news.diverged is not None and not told:
        data = news.diverged.data
        reason = Reason(slug="members_undecided" if data.get("undecided") else "members_differ")
        found.append(
            Need(
                slug="members_differ",
                urgency=Urgency.BROKEN,
                what=f"members show different states{_from_block(data, 'first_block')}: {_differing(data)}",
                remedy=rule_of(reason).remedy,
                since=news.diverged.at,
                privacy_group_id=privacy_group_id,
                commands=("orchestrator audit --deep",),
            )
        )
    if news.repeated is not None:
        transaction = news.repeated.data.get("transaction")
        found.append(
            Need(
                slug="addition_repeated",
                urgency=Urgency.BROKEN,
                what=_parted(news.repeated.data),
                remedy="Have those that fell back removed and added again in one call, through a node that did not.",
                since=news.repeated.at,
                privacy_group_id=privacy_group_id,
                commands=_cure(privacy_group_id, news.repeated.data.get("cure"), transaction),
            )
        )
    if news.unextendable is not None:
        reason = Reason(slug="block_not_replayable")
        block = _from_block(news.unextendable.data, "block_number")
        found.append(
            Need(
                slug="unextendable",
                urgency=Urgency.TOLD,
                what=f"no member can be added any more{block}: a node that replays that block stops for good",
                remedy=rule_of(reason).remedy,
                since=news.unextendable.at,
                privacy_group_id=privacy_group_id,
            )
        )
    return tuple(found)


def _cure(privacy_group_id: str, members: Json, transaction: Json) -> tuple[str, ...]:
    named = " ".join(str(key) for key in members) if isinstance(members, list) else ""
    if not named:
        return ()  # nobody shows what is right
    return (f"orchestrator cure {privacy_group_id} {named} --transaction {transaction} --reason TEXT",)


def _parted(data: Mapping[str, Json]) -> str:
    number = data.get("block_number")
    where = f" in block {number}" if isinstance(number, int) else ""
    if "first_block" in data:
        return f"an old addition was mined again{where}, and nodes fell back to what the group was then"
    return f"an addition was mined{where} that some nodes executed and others refused: they show different states"


def _from_block(data: Mapping[str, Json], field: str) -> str:
    number = data.get(field)
    return f" since block {number}" if isinstance(number, int) else ""


def _differing(data: Mapping[str, Json]) -> str:
    differing = data.get("differing")
    if not isinstance(differing, list):
        return "see the event"
    names = [str(one.get("node") or one.get("member")) for one in differing if isinstance(one, dict)]
    return ", ".join(names) or "see the event"


def need_of_node(look: NodeLook) -> Need | None:
    """Return what a node needs of a person, if anything."""
    if look.barred:
        reason = Reason(slug="node_on_other_chain", detail=look.barred)
        return _of_node(look, "node_on_other_chain", Urgency.BROKEN, look.barred, rule_of(reason).remedy)
    if not look.answers:
        remedy = rule_of(Reason(slug="node_unreachable")).remedy
        return _of_node(look, "node_unreachable", Urgency.WAITING, f"node {look.name} does not answer", remedy)
    if look.behind > FAR_BEHIND:
        what = f"node {look.name} is {look.behind} blocks behind the others, at block {look.head}"
        if look.replaying is not None:
            # Who is told to look why it stands may restart or rescue it in the middle of what it has to do.
            what += f": it replays a group's history, {_replayed(look.replaying)}"
            remedy = "Nothing: it catches up by itself. A restart would begin the replay anew; no rescue is needed."
            told = _of_node(look, "node_replays", Urgency.TOLD, what, remedy)
            return replace(told, change_id=look.change_id)
        remedy = "`orchestrator doctor` looks why; a node that stands before an addition needs `orchestrator rescue`."
        return _of_node(look, "node_behind", Urgency.WAITING, what, remedy)
    if -look.behind > FAR_BEHIND:
        what = f"node {look.name} claims to be {-look.behind} blocks ahead of every other, at block {look.head}"
        remedy = "Nothing is decided by what only this node shows: look whether it, or all the others, stand still."
        return _of_node(look, "node_ahead", Urgency.WAITING, what, remedy)
    return None


def _replayed(entry: MemberProgress) -> str:
    weighted = entry.transactions_total > 0
    done, total = (
        (entry.transactions_replayed, entry.transactions_total)
        if weighted
        else (
            entry.blocks_replayed,
            entry.blocks_total,
        )
    )
    said = f"{done} of {total} {'transactions' if weighted else 'blocks'}"
    seconds = entry.remaining_seconds
    if seconds is None:
        return said
    more = f"{seconds:.0f} s" if seconds < _MINUTES_FROM else f"{seconds / 60:.0f} min"
    return f"{said}, and needs about {more} more"


_MINUTES_FROM: Final = 100.0


def _of_node(look: NodeLook, slug: str, urgency: Urgency, what: str, remedy: str) -> Need:
    return Need(slug=slug, urgency=urgency, what=what, remedy=remedy, node=look.name)


def need_of_check(name: str, detail: str) -> Need:
    """Return what it needs that the store, the queue or all nodes don't work."""
    return Need(
        slug=f"{name}_away",
        urgency=Urgency.BROKEN,
        what=f"{name}: {detail}",
        remedy="Nothing is taken or changed until it works again; `orchestrator doctor` looks closer.",
        commands=("orchestrator doctor",),
    )
