"""One audit: the state roots of every known group on all members' nodes, in a bounded number of calls.

First one call for each group and node, in batches; only groups in which roots differ are looked at more closely. The
node's own list of groups and members (one call for each of its keys) tells which nodes to ask about which group.
"""

import asyncio
from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import structlog

from orchestrator.engine.audit.divergence_point import first_difference, lacking, most_lacking_calls
from orchestrator.engine.audit.lone_additions import lone_addition, most_lone_calls
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.ports.nodes import NodeError, NodePort
from orchestrator.membership.damage.divergence import (
    Comparison,
    Standing,
    agreed_members,
    compare,
    namesakes,
    participants_at,
)
from orchestrator.membership.heads import BEHIND_BLOCKS
from orchestrator.membership.heads import newest as newest_block
from orchestrator.membership.model import GroupView, Verdict

MOST_CALLS = 6_000
"""JSON-RPC calls of one audit; groups that are left out come first in the next."""

VIEW_CALLS = 5
CALLS_TO_COMPARE = 2
ASK_SECONDS = 60.0

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What an audit saw.

    Attributes:
        block_number: The block that was compared; None when fewer than two nodes could be.
        comparisons: One for each group of which at least one member's node was read.
        skipped: By node, why it was not compared.
        left_out: Groups that there were no calls left for.
        reached: The last group that was compared when some were left out: the next audit begins behind it.
        calls: JSON-RPC calls that it took.
    """

    block_number: int | None
    comparisons: tuple[Comparison, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    reached: str = ""
    calls: int = 0

    @property
    def differing(self) -> tuple[Comparison, ...]:
        """The groups whose members differ, or whose id another group has, too."""
        return tuple(comparison for comparison in self.comparisons if not comparison.agrees)


@dataclass(slots=True)
class _Budget:
    left: int
    used: int = 0

    def spend(self, calls: int) -> None:
        self.left -= calls
        self.used += calls


async def audit(
    fleet: Fleet,
    known_groups: Iterable[str],
    *,
    suspects: Iterable[str] = (),
    parted: Mapping[str, Collection[str]] | None = None,
    after: str = "",
    confirmations: int = 0,
    most_calls: int = MOST_CALLS,
) -> AuditReport:
    """Compare the members of all groups that the nodes list or that are known otherwise.

    Args:
        fleet: The nodes.
        known_groups: Ids of groups that are known otherwise, such as from the store.
        suspects: Groups that are looked at closely, whether their roots differ or not.
        parted: By group the members that an addition is known to have parted from the others.
        after: Begin behind this group id and go round, so that successive audits reach all.
        confirmations: Compare so many blocks below the head.
        most_calls: See `MOST_CALLS`.
    """
    budget = _Budget(most_calls)
    skipped: dict[str, str] = {}
    nodes, block = await _comparable(fleet, confirmations, skipped, budget)
    if block is None:
        return AuditReport(block_number=None, skipped=skipped, calls=budget.used)
    listings = await _listings(nodes, known_groups, budget)
    members = {group: agreed_members(listed) for group, listed in listings.items()}
    # Round and round by id: an order by what looked worst would leave the others out for ever where calls are short.
    order = sorted(members, key=lambda group: (group <= after, group))
    chosen, left_out = _affordable(order, members, fleet, nodes, budget)
    standings = await _roots(chosen, members, fleet, nodes, block, skipped, budget)
    closely, apart = frozenset(suspects), parted or {}
    comparisons = []
    newest: tuple[dict[str, NodePort], int] | None = None
    for group in chosen:
        comparison: Comparison | None = compare(group, block, standings[group], members[group], apart.get(group, ()))
        if comparison is not None and (comparison.differing or group in closely):
            # Once for all that differ, and only then: the nodes' heads have moved since, and each look at them costs a
            # call a node.
            newest = newest or await _newest(fleet, (nodes, block), budget)
            seen = replace(comparison, block_number=newest[1])
            comparison = await _closer(newest[0], seen, apart.get(group, ()), budget)
        if comparison is None:
            left_out = (*left_out, group)
        # Where no member's node shows the group, nothing is said of it: not seen is not missing.
        elif comparison.compared and (comparison.reference or comparison.undecided):
            others = namesakes(listings[group], comparison.participants)
            comparisons.append(replace(comparison, namesakes=others))
    return AuditReport(
        block_number=block,
        comparisons=tuple(comparisons),
        skipped=skipped,
        left_out=left_out,
        reached=chosen[-1] if left_out and chosen else "",
        calls=budget.used,
    )


async def _comparable(
    fleet: Fleet, confirmations: int, skipped: dict[str, str], budget: _Budget
) -> tuple[dict[str, NodePort], int | None]:
    """Return the nodes that answer, are not far behind and are on the same chain, and the newest block of them all."""
    names = [watcher.node.name for watcher in fleet.watchers]
    # Asked now, not taken from the watchers: a watcher keeps the last head of a node that went away.
    heads = await asyncio.gather(*(_quietly(w.node.head(), w.node.name, skipped) for w in fleet.watchers))
    budget.spend(len(names))
    numbers = {name: head.number for name, head in zip(names, heads, strict=True) if head is not None}
    # One that overstates its head would make all others be behind.
    newest = newest_block(numbers.values())
    for name, number in numbers.items():
        if newest - number > BEHIND_BLOCKS:
            skipped[name] = f"it is at block {number}, the newest is {newest}"
    near = {name: fleet.named(name).node for name in numbers if name not in skipped}
    # One block that all have: roots of different blocks differ by nothing but the group's own life.
    block = min((numbers[name] for name in near), default=0) - confirmations
    if len(near) < 2 or block < 0:
        return near, None
    seen = await asyncio.gather(*(_quietly(node.block(block), name, skipped) for name, node in near.items()))
    budget.spend(len(near))
    hashes = {name: found.block_hash for name, found in zip(near, seen, strict=True) if found is not None}
    # On another branch, or another network behind a mistyped address, every group would seem to have parted.
    agreed = max(hashes.values(), key=list(hashes.values()).count, default="")
    for name in [name for name in near if hashes.get(name) != agreed]:
        skipped.setdefault(name, f"its block {block} is another one than most nodes have")
        del near[name]
    return near, block if len(near) > 1 else None


async def _newest(
    fleet: Fleet, compared: tuple[dict[str, NodePort], int], budget: _Budget
) -> tuple[dict[str, NodePort], int]:
    """Return the nodes and the block that groups which differ are looked at closely with: the newest.

    A replay may have rewritten what a node shows of blocks of the past, without any harm to what it has now
    (docs/besu.md#how-replay-damages-other-groups).
    """
    if budget.left < CALLS_TO_COMPARE * len(fleet.watchers):
        return compared
    nodes, block = await _comparable(fleet, 0, {}, budget)
    return (nodes, block) if block is not None and block > compared[1] else compared


async def _listings(
    nodes: Mapping[str, NodePort], known_groups: Iterable[str], budget: _Budget
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return by group and enclave key the members that the key's node lists.

    A node that lists nothing (a tenant's token may not permit it) is asked about the groups that are known otherwise.
    """
    asked = [(node, key) for node in nodes.values() for key in node.enclave_keys]
    found = await asyncio.gather(*(_quietly(node.groups([key]), node.name, {}) for node, key in asked))
    budget.spend(len(asked))
    listings: dict[str, dict[str, tuple[str, ...]]] = {}
    for (_, key), groups in zip(asked, found, strict=True):
        for group, members in (groups or {}).items():
            listings.setdefault(group, {})[key] = members
    silent = tuple(key for (_, key), groups in zip(asked, found, strict=True) if groups is None)
    # As if each silent key were a member: whether one is, the root that its node shows will tell.
    others = {group: dict.fromkeys(silent, silent) for group in known_groups if silent and group not in listings}
    return listings | others


def _affordable(
    order: Sequence[str],
    members: Mapping[str, tuple[str, ...]],
    fleet: Fleet,
    nodes: Mapping[str, NodePort],
    budget: _Budget,
) -> tuple[list[str], tuple[str, ...]]:
    cost = 0
    for place, group in enumerate(order):
        # Counted before anything is asked: a group is compared as a whole or left to the next audit.
        cost += len(_hosts(members[group], fleet, nodes))
        if cost > budget.left:
            return list(order[:place]), tuple(order[place:])
    return list(order), ()


def _hosts(members: Iterable[str], fleet: Fleet, nodes: Mapping[str, NodePort]) -> dict[str, str]:
    """Return by member the name of its node, where that can be compared."""
    found = {key: fleet.hosting(key) for key in members}
    return {key: w.node.name for key, w in found.items() if w is not None and w.node.name in nodes}


async def _roots(
    groups: Sequence[str],
    members: Mapping[str, tuple[str, ...]],
    fleet: Fleet,
    nodes: Mapping[str, NodePort],
    block: int,
    skipped: dict[str, str],
    budget: _Budget,
) -> dict[str, list[Standing]]:
    """Return by group its root on each member's node; nodes are asked at the same time, each in batches."""
    hosts = {group: _hosts(members[group], fleet, nodes) for group in groups}
    wanted = {name: [group for group in groups if name in hosts[group].values()] for name in nodes}
    asked = [(name, of_node) for name, of_node in wanted.items() if of_node]
    answered = await asyncio.gather(
        *(_quietly(nodes[name].roots_of(of_node, block), name, skipped) for name, of_node in asked)
    )
    budget.spend(sum(len(of_node) for _, of_node in asked))
    views: dict[tuple[str, str], GroupView] = {}
    for (name, of_node), roots in zip(asked, answered, strict=True):
        if roots is not None:
            views.update({(name, group): view for group, view in zip(of_node, roots, strict=True)})
    return {
        group: [
            Standing(enclave_key=key, node=name, view=views[name, group])
            for key, name in hosts[group].items()
            if (name, group) in views
        ]
        for group in groups
    }


async def _closer(
    nodes: Mapping[str, NodePort], seen: Comparison, parted: Collection[str], budget: _Budget
) -> Comparison | None:
    """Look at a group's whole state on every comparable node; None when there are no calls left for that."""
    # Left out rather than told by roots alone: they may be of a past that a replay rewrote (see `_newest`).
    if budget.left < VIEW_CALLS * len(nodes):
        return None
    group, block = seen.privacy_group_id, seen.block_number
    found = await asyncio.gather(*(_quietly(node.view(group, block), name, {}) for name, node in nodes.items()))
    budget.spend(VIEW_CALLS * len(nodes))
    standings = [
        Standing(enclave_key=key, node=name, view=view)
        for (name, node), view in zip(nodes.items(), found, strict=True)
        if view is not None
        for key in node.enclave_keys
    ]
    # By the members at that block: the listing, which was made before it, may be of before a removal.
    comparison = compare(group, block, standings, participants_at(standings), parted)
    members = [standing for standing in standings if standing.enclave_key in comparison.compared]
    pair = _pair(comparison, members)
    # What follows explains and decides nothing: without calls for it the divergence is told all the same.
    if pair is None or budget.left < 2 * block.bit_length():
        return comparison
    odd, other, verdict = pair
    try:
        first = await first_difference(nodes[odd], nodes[other], group, block, verdict)
        budget.spend(2 * block.bit_length())
        comparison = replace(comparison, first_block=first)
        hosts = {standing.enclave_key: nodes[standing.node] for standing in members}
        if budget.left >= most_lacking_calls(len(nodes)):
            comparison = replace(comparison, lacking=await lacking(hosts, first))
            budget.spend(most_lacking_calls(len(nodes)))
        # Sender and new member confirm each other (docs/besu.md#stale-bundles, 8): counted as votes they might
        # outnumber those who are right.
        apart = () if parted else await _parted(hosts, group, block, budget)
        if apart:
            measured = compare(group, block, standings, comparison.participants, apart)
            comparison = replace(measured, first_block=first, lacking=comparison.lacking)
    except NodeError as error:
        log.debug("first differing block not looked into", group=group, reason=str(error))
    return comparison


async def _parted(hosts: Mapping[str, NodePort], group: str, block: int, budget: _Budget) -> tuple[str, ...]:
    """Return the members that executed a copied addition which others refused; nobody without calls left for that."""
    calls = len(hosts) + most_lone_calls(len(hosts))
    if budget.left < calls:
        return ()
    logs = await asyncio.gather(*(node.memberships([group], 0, block) for node in hosts.values()))
    listed = {key: {log.block_number for log in seen if log.added} for key, seen in zip(hosts, logs, strict=True)}
    found = await lone_addition(hosts, listed)
    budget.spend(calls)
    return found.executed if found is not None else ()


def _pair(comparison: Comparison, members: Sequence[Standing]) -> tuple[str, str, Verdict] | None:
    """Return the nodes of two members that differ, and how the first of them does."""
    for odd, verdict in comparison.differing:
        for other in members:
            # Against the member that the others are measured by; two that differ from it would show where they parted
            # from each other.
            is_measure = comparison.undecided or other.enclave_key == comparison.reference
            if is_measure and other.view.exists and other.view.state_root != odd.view.state_root:
                return odd.node, other.node, verdict
    return None


async def _quietly(question: Awaitable[T], name: str, skipped: dict[str, str]) -> T | None:
    """Return the answer; None, with the reason in `skipped`, when there is none in time."""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            return await question
    except NodeError as error:
        skipped.setdefault(name, str(error))
    except TimeoutError:
        skipped.setdefault(name, f"no answer within {ASK_SECONDS:g} s")
    return None
