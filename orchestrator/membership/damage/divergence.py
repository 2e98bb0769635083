"""Do a group's members still agree? From what their nodes show at one block to who differs, and what to tell.

Nothing in Besu reports a member that drifted (docs/besu.md#how-members-silently-diverge), so that state roots are
compared. The reference is the state that more than half of those with any state have. Where no state has so many, as
between two members that differ, the roots can't tell who is right: the healthy one may be the one that stands alone.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from orchestrator.membership.model import GroupView, Verdict
from orchestrator.membership.news.status import EventType, Json, StatusEvent

PARTING: Final = frozenset({EventType.GROUP_ADDITION_REPEATED, EventType.GROUP_ADDITION_UNEXPECTED})
"""What is told of additions that part members."""
ANNOUNCING: Final = PARTING | {EventType.GROUP_DIVERGED, EventType.GROUP_CONVERGED}
"""By what subscribers know of divergences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One member's group at the block that is compared.

    Attributes:
        enclave_key: The member.
        node: Name of its node.
        view: The group there; only `exists` and `state_root` have to be filled in.
    """

    enclave_key: str
    node: str
    view: GroupView


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One group's members at one block.

    Attributes:
        privacy_group_id: The group.
        block_number: The block.
        participants: The members at that block, or as they were listed when nothing differs.
        reference: The member whose state the others are held against; empty when no member has any, or `undecided`.
        state_root: Its state root.
        compared: Members whose nodes were read.
        differing: Those of them that have another state (`Verdict.DIVERGED`) or none (`Verdict.MISSING`); when
            `undecided`, all.
        undecided: Whether members differ and the roots can't tell which of them is right.
        first_block: The first block at which the first of them differs; None while it was not looked for.
        lacking: By member, the marker transactions of that block that its node has no private receipt of while
            another member's has one.
        namesakes: Members of groups that have this id, too, and share no member with this one.
    """

    privacy_group_id: str
    block_number: int
    participants: tuple[str, ...]
    reference: str
    state_root: str
    compared: tuple[str, ...]
    differing: tuple[tuple[Standing, Verdict], ...] = ()
    undecided: bool = False
    first_block: int | None = None
    lacking: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    namesakes: tuple[tuple[str, ...], ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether nothing is to be said of the group."""
        return not self.differing and not self.namesakes


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """A divergence that subscribers were told of.

    Attributes:
        at: When they were told last.
        members: The members that differed then.
        parted: Those that an addition parted from the others, by its event.
        compared: Whether an audit saw it; else only an addition's event told of it.
    """

    at: datetime
    members: frozenset[str]
    parted: frozenset[str] = frozenset()
    compared: bool = True


def agreed_members(listings: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return a group's members from what its members' nodes list.

    A removed member's node still lists the group as it was, so a list counts as often as nodes that are on it show it;
    between equals the shorter list wins, since a removal makes it so.

    Args:
        listings: By enclave key of the node that was asked, the members that it lists.
    """
    support = Counter(
        members for key, members in ((k, tuple(sorted(m))) for k, m in listings.items()) if key in members
    )
    best = min(support, key=lambda members: (-support[members], len(members), members), default=())
    # The contract's order, as one of its nodes gave it.
    return next((members for members in listings.values() if tuple(sorted(members)) == best), ())


def namesakes(listings: Mapping[str, tuple[str, ...]], members: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Return the members of other groups of the same id: whoever creates a group chooses its id, and may choose again.

    Only a list counts that the listing node is on and that shares nobody with the group: a removed member's node, and
    one that is behind, list some of the same members.

    Args:
        listings: As of `agreed_members`.
        members: What `agreed_members` returned.
    """
    others = (listed for key, listed in listings.items() if key in listed and set(listed).isdisjoint(members))
    return tuple(dict.fromkeys(tuple(sorted(listed)) for listed in others))


def compare(
    privacy_group_id: str,
    block_number: int,
    standings: Sequence[Standing],
    participants: tuple[str, ...],
    parted: Collection[str] = (),
) -> Comparison:
    """Compare what members' nodes show of a group at one block.

    Args:
        privacy_group_id: The group.
        block_number: The block.
        standings: One for each node that was read; those of non-members are passed over.
        participants: The members.
        parted: Members that are known to have executed what the others refused: they may be more than the others, and
            confirm each other, so that their number counts for nothing (docs/besu.md#stale-bundles).
    """
    order = {key: place for place, key in enumerate(participants)}
    members = sorted((s for s in standings if s.enclave_key in order), key=lambda s: order[s.enclave_key])
    having = [standing for standing in members if standing.view.exists]
    # If all that are seen were parted, their states are compared with each other after all.
    voting = [standing for standing in having if standing.enclave_key not in parted] or having
    support = Counter(standing.view.state_root for standing in voting)
    most = max(voting, key=lambda s: support[s.view.state_root], default=None)
    # More than half, not just most: of three different states each may be the right one, and a wrong verdict gets the
    # right member removed.
    undecided = most is not None and 2 * support[most.view.state_root] <= support.total()
    reference = None if undecided else most
    differing = []
    if most is not None:
        for standing in members:
            # No vote, and a finding of its own: a member without the group has nothing that could be compared.
            if not standing.view.exists:
                differing.append((standing, Verdict.MISSING))
            elif reference is None or standing.view.state_root != reference.view.state_root:
                differing.append((standing, Verdict.DIVERGED))
    return Comparison(
        privacy_group_id=privacy_group_id,
        block_number=block_number,
        participants=participants,
        reference=reference.enclave_key if reference is not None else "",
        state_root=reference.view.state_root if reference is not None else "",
        compared=tuple(standing.enclave_key for standing in members),
        differing=tuple(differing),
        undecided=undecided,
    )


def participants_at(standings: Iterable[Standing]) -> tuple[str, ...]:
    """Return a group's members at a block from whole views of it: those that most of their own nodes show."""
    return agreed_members({s.enclave_key: s.view.participants for s in standings if s.view.exists})


def tell(
    comparisons: Iterable[Comparison], announced: Mapping[str, Announced], now: datetime, remind_after: timedelta
) -> tuple[StatusEvent, ...]:
    """Return the status events that an audit gives rise to.

    A divergence is told when it is new, when other members differ than were told, and again after a while. It has
    converged when each member that differed was compared and agrees, or is a member no more.

    Args:
        comparisons: What was compared.
        announced: By group, what subscribers were told and has not converged since.
        now: The present time.
        remind_after: After how long a divergence is told again.
    """
    events = []
    for comparison in comparisons:
        before = announced.get(comparison.privacy_group_id)
        if not comparison.agrees:
            # By members, not by roots: those move with each block while the divergence is the same.
            keys = frozenset(s.enclave_key for s, _ in comparison.differing).union(*comparison.namesakes)
            new = before is None or not before.compared or before.members != keys
            if new or (before is not None and now - before.at >= remind_after):
                events.append(_event(EventType.GROUP_DIVERGED, comparison, divergence_data(comparison)))
        elif before is not None and comparison.reference:
            # A member that was not read this time has not converged.
            settled = frozenset(comparison.compared) | (before.members - frozenset(comparison.participants))
            if before.members <= settled:
                data: dict[str, Json] = {
                    "block_number": comparison.block_number,
                    "state_root": comparison.state_root,
                    "members": list(comparison.compared),
                }
                events.append(_event(EventType.GROUP_CONVERGED, comparison, data))
    return tuple(events)


def after_event(announced: Mapping[str, Announced], event: StatusEvent, at: datetime) -> dict[str, Announced]:
    """Return what subscribers know of divergences after one more event.

    Args:
        announced: What they knew.
        event: One of `ANNOUNCING`; others change nothing.
        at: When it was told.
    """
    known = dict(announced)
    if event.type is EventType.GROUP_CONVERGED:
        # With what an addition parted: the cure ends both.
        known.pop(event.privacy_group_id, None)
    elif event.type in PARTING:
        # Cured before an audit saw it, it would never be told as over.
        parted = frozenset(str(one.get("member")) for one in _listed(event, "affected") if isinstance(one, dict))
        before = known.get(event.privacy_group_id, Announced(at=at, members=frozenset(), compared=False))
        if before.compared and event.type is not EventType.GROUP_ADDITION_REPEATED:
            return known  # who differed before may refuse an honest addition: that tells nothing of the others
        if parted:
            both = replace(before, members=before.members | parted, parted=before.parted | parted)
            known[event.privacy_group_id] = both
    elif event.type is EventType.GROUP_DIVERGED:
        keys = {str(entry.get("member")) for entry in _listed(event, "differing") if isinstance(entry, dict)}
        keys |= {str(key) for group in _listed(event, "other_groups") if isinstance(group, list) for key in group}
        earlier = known.get(event.privacy_group_id)
        apart = frozenset[str]() if earlier is None else earlier.parted
        known[event.privacy_group_id] = Announced(at=at, members=frozenset(keys), parted=apart)
    return known


def _listed(event: StatusEvent, name: str) -> list[Json]:
    listed = event.data.get(name)
    return listed if isinstance(listed, list) else []


def divergence_data(comparison: Comparison) -> dict[str, Json]:
    """Return a divergence as others see it."""
    return {
        "block_number": comparison.block_number,
        "first_block": comparison.first_block,
        "undecided": comparison.undecided,
        "reference": comparison.reference,
        "state_root": comparison.state_root,
        "members": list(comparison.participants),
        "differing": [
            {
                "member": standing.enclave_key,
                "node": standing.node,
                "verdict": verdict.value,
                "state_root": standing.view.state_root or None,
                "lacks": list(comparison.lacking.get(standing.enclave_key, ())),
            }
            for standing, verdict in comparison.differing
        ],
        "other_groups": [list(members) for members in comparison.namesakes],
    }


def _event(kind: EventType, comparison: Comparison, data: Mapping[str, Json]) -> StatusEvent:
    return StatusEvent(type=kind, privacy_group_id=comparison.privacy_group_id, data=data)
