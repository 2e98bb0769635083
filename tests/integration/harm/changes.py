"""The changes that are asked for: additions, removals, additions of former members, and whole memberships set."""

from dataclasses import dataclass
from random import Random

from orchestrator.membership.model import Kind
from tests.integration.harm.load import Load

STAYING = 1
"""The node that all changes are sent through and that is never removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One change that is asked for.

    Attributes:
        request_id: Its id.
        round_number: Which of its group's changes, from 0.
        group: Its group, base64.
        kind: Additions, removals, or the whole membership.
        nodes: Numbers of the members' nodes (from 1) that it names.
        before: The members before it, by node, when all changes before it succeed.
    """

    request_id: str
    round_number: int
    group: str
    kind: Kind
    nodes: tuple[int, ...]
    before: frozenset[int]

    @property
    def joining(self) -> tuple[int, ...]:
        """Who is to be added, by node, when all changes before it succeed."""
        return tuple(sorted(self.after(self.before) - self.before))

    @property
    def leaving(self) -> tuple[int, ...]:
        """Who is to be removed, likewise."""
        return tuple(sorted(self.before - self.after(self.before)))

    def after(self, members: frozenset[int]) -> frozenset[int]:
        """The members after it, by node, when it succeeds."""
        named = frozenset(self.nodes)
        if self.kind is Kind.SET_MEMBERS:
            return named
        return members | named if self.kind is Kind.ADD_MEMBERS else members - named


FOUNDERS = frozenset({1, 2})


def draw_changes(load: Load) -> list[Asked]:
    """Return the changes of all groups, round by round, as the seed says."""
    chance = Random(load.seed)  # noqa: S311 - repeatable, not secret
    members = dict.fromkeys(load.group_ids, FOUNDERS)
    found = []
    for round_number in range(load.rounds):
        for index, group in enumerate(load.group_ids):
            kind, nodes = _draw(members[group], load.nodes, chance)
            asked = Asked(
                request_id=f"harm-{index}-{round_number}",
                round_number=round_number,
                group=group,
                kind=kind,
                nodes=nodes,
                before=members[group],
            )
            members[group] = asked.after(members[group])
            found.append(asked)
    return found


def _draw(members: frozenset[int], nodes: int, chance: Random) -> tuple[Kind, tuple[int, ...]]:
    others = range(STAYING + 1, nodes + 1)
    outside = [node for node in others if node not in members]
    inside = [node for node in others if node in members]
    kind = chance.choice((Kind.ADD_MEMBERS, Kind.ADD_MEMBERS, Kind.REMOVE_MEMBERS, Kind.SET_MEMBERS))
    if kind is Kind.ADD_MEMBERS and outside:
        return kind, tuple(chance.sample(outside, chance.randint(1, min(2, len(outside)))))
    if kind is Kind.SET_MEMBERS or not inside:
        return Kind.SET_MEMBERS, (STAYING, *chance.sample(others, chance.randint(1, len(others))))
    return Kind.REMOVE_MEMBERS, (chance.choice(inside),)
