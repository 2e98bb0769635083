"""Looking at the other groups of a new member's node, before its addition and at the end of the proof.

Proofs that end with one block ask for the same: what a node shows of groups at a block is read once for all of them.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from orchestrator.bounded_dicts import BoundedDict
from orchestrator.engine.nodes.fleet import LOOK_SECONDS, Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError, is_silence
from orchestrator.engine.ports.store import StoreError
from orchestrator.membership.damage.divergence import agreed_members
from orchestrator.membership.facts import Bystander, Bystanders
from orchestrator.membership.model import Change, Effect
from orchestrator.shared_reads import ReadingLock

MOST_GROUPS = 500
"""Groups of one node that one proof looks at."""

MOST_WITNESSES = 2
"""Other members' nodes that a group is compared with."""

WITNESS_SECONDS = 10.0
"""How long such a node is waited for: one that takes no batches and its time could else keep the proof for an hour."""

OLDER_BLOCKS = 16
"""How far back a root is looked for that has come back."""

MOST_LOOKED_BACK = 32
"""Groups of one node whose older roots are read; those that differ are few, or everything does."""

MOST_KEPT = 128
"""Nodes and blocks of which roots are remembered."""

MOST_SPANS = 16
"""Nodes and spans of blocks, from an addition to its proof's end, of which it is remembered which groups are well."""


_Look = tuple[str, tuple[str, ...], int]
"""A new member's root of another group, those of the other members, and the block of both."""


@dataclass(slots=True)
class _Shown:
    """What a node shows at one block: root by group, empty for none."""

    roots: dict[str, str] = field(default_factory=dict)
    reading: ReadingLock = field(default_factory=partial(ReadingLock, is_silence))


@dataclass(frozen=True, slots=True)
class _Listing:
    """The groups and their members, as the nodes listed them at some head.

    Attributes:
        head: The newest block when they were asked.
        members: By group.
        silent: Enclave keys of nodes that listed nothing; of groups that are known otherwise they may be members.
        late: Names of nodes that did not answer within a moment.
        own: By node the groups that it listed itself.
        by_node: By node the groups that it is in.
        witnesses: By node and those who are added, the nodes that a group is compared with.
    """

    head: int
    members: dict[str, tuple[str, ...]]
    silent: tuple[str, ...] = ()
    late: set[str] = field(default_factory=set)
    own: dict[str, set[str]] = field(default_factory=dict)
    by_node: dict[str, list[str]] = field(default_factory=dict)
    witnesses: dict[tuple[str, tuple[str, ...]], dict[str, list[str]]] = field(default_factory=dict)

    def of_node(self, watcher: ChainWatcher) -> list[str]:
        """Return the groups of which a key of a node is a member, in an order that is always the same.

        Those that it lists itself come first: others can list any number with its keys in them, and few are compared.
        """
        if watcher.node.name not in self.by_node:
            keys = set(watcher.node.enclave_keys)
            of_node = (group for group, members in self.members.items() if not keys.isdisjoint(members))
            own = self.own.get(watcher.node.name, ())
            self.by_node[watcher.node.name] = sorted(of_node, key=lambda group: (group not in own, group))
        return self.by_node[watcher.node.name]


class BystanderReader:
    """Reads other groups of new members' nodes.

    Args:
        fleet: The nodes.
        known_groups: Returns the ids of groups that changes were made in, for nodes that list none; may raise
            `StoreError`.
    """

    def __init__(self, fleet: Fleet, known_groups: Callable[[], Awaitable[Sequence[str]]]) -> None:
        self._fleet = fleet
        self._known_groups = known_groups
        self._shown: OrderedDict[tuple[str, int, int], _Shown] = OrderedDict()
        self._well: BoundedDict[tuple[object, ...], dict[str, Bystander]] = BoundedDict(MOST_SPANS)
        self._listing: _Listing | None = None
        self._listing_lock = asyncio.Lock()

    async def read(self, change: Change, effect: Effect, last: int) -> Bystanders:
        """Return what the new members' nodes show of their other groups.

        Args:
            change: The change; it has a plan.
            effect: Its addition.
            last: The proof's last block, which the new members' nodes have.

        Raises:
            NodeError: A new member's node does not answer.
        """
        added = change.plan.to_add if change.plan is not None else ()
        hosts = [watcher for key in added if (watcher := self._fleet.hosting(key)) is not None]
        if not hosts or effect.block_number < 1:
            return Bystanders()
        listing = await self._listed(last)
        found: list[Bystander] = []
        left_out = 0
        span = (effect.block_number - 1, last)
        for watcher in dict.fromkeys(hosts):
            if watcher.node.name in listing.late:
                await _complete(listing, watcher)
            groups = [group for group in listing.of_node(watcher) if group != change.privacy_group_id]
            left_out += max(0, len(groups) - MOST_GROUPS)
            found += await self._of_node(watcher, groups[:MOST_GROUPS], listing, tuple(added), span)
        return Bystanders(groups=tuple(found), left_out=left_out)

    async def _of_node(
        self,
        watcher: ChainWatcher,
        groups: Sequence[str],
        listing: _Listing,
        added: tuple[str, ...],
        span: tuple[int, int],
    ) -> list[Bystander]:
        before, last = span
        # A hundred additions in a block end their proofs with one block, and each looks at the other ninety-nine.
        well = self._well.setdefault((watcher.node.name, watcher.reorganisations, added, span), {})
        # What the node was seen not to hold then came to it with this very block: the addition took nothing of it, and
        # the replay since shows it before that block, too. Its own addition's proof compares it.
        groups = [group for group in groups if not self._joined_since(watcher, group, before)]
        at_first, at_last = await asyncio.gather(
            self._roots(watcher, groups, before), self._roots(watcher, groups, last)
        )
        had = [group for group in groups if at_first[group]]
        witnesses = {group: self._witnesses(watcher, listing, group, added) for group in had}
        seen = await self._witnessed(witnesses, before, last)
        pairs = {group: [seen[name, group] for name in witnesses[group] if (name, group) in seen] for group in had}
        shown = {group: (at_last[group], tuple(pair[1] for pair in pairs[group]), last) for group in had}
        # Once more, at the newest block: the past may have been rewritten since by a replay that did no harm.
        parted = [g for g, (root, others, _) in shown.items() if g not in well and _is_odd(root, others, at_first[g])]
        shown |= await self._newest(watcher, {group: witnesses[group] for group in parted}, shown)
        found = []
        looked_back = 0
        for group in had:
            if group in well:
                found.append(well[group])
                continue
            root, others, block = shown[group]
            odd = _is_odd(root, others, at_first[group])
            older: tuple[str, ...] = ()
            if odd and looked_back < MOST_LOOKED_BACK:
                looked_back += 1
                older = await self._older(watcher, group, before, at_first[group])
            key = next((key for key in watcher.node.enclave_keys if key in added), watcher.node.enclave_keys[0])
            one = Bystander(
                privacy_group_id=group,
                enclave_key=key,
                node=watcher.node.name,
                block_before=before,
                block_number=block,
                root_before=at_first[group],
                root=root,
                others_before=tuple(pair[0] for pair in pairs[group]),
                others=others,
                older=older,
            )
            found.append(one)
            # What looks rolled back, or has no witness now, each looks at for itself, at its own newest block.
            if others and not odd:
                well[group] = one
        return found

    def _joined_since(self, watcher: ChainWatcher, group: str, before: int) -> bool:
        seen = self._fleet.seen.at(watcher, group, before)
        return seen is not None and not seen.exists

    async def _newest(
        self, watcher: ChainWatcher, witnesses: Mapping[str, Sequence[str]], shown: Mapping[str, _Look]
    ) -> dict[str, _Look]:
        """Read groups that look rolled back at the nodes' newest block, where that is beyond the proof's last.

        A replay since may have rewritten what the node shows of the past
        (docs/besu.md#how-replay-damages-other-groups). Where no witness answers any more, what it showed before counts:
        it may be of a member of no group but that one, whose silence must not hold up this one.
        """
        blocks: dict[str, int] = {}
        asked: dict[tuple[str, int], list[str]] = {}
        for group, names in witnesses.items():
            heads = [host.head.number for host in (watcher, *map(self._fleet.named, names)) if host.head is not None]
            block = min(heads, default=0)
            if block > shown[group][2]:
                blocks[group] = block
                for name in names:
                    asked.setdefault((name, block), []).append(group)
        # All at once: one that takes its time with each group would keep the proof for as long as all of them take.
        answers = await asyncio.gather(*(self._answered(name, some, block) for (name, block), some in asked.items()))
        said = dict(zip(asked, answers, strict=True))
        found = {}
        for group, block in blocks.items():
            others = tuple(root for name in witnesses[group] if (root := said[name, block].get(group)))
            if others or not shown[group][1]:
                alike = [one for one, number in blocks.items() if number == block]
                found[group] = (await self._roots(watcher, alike, block))[group], others, block
        return found

    async def _answered(self, name: str, groups: Sequence[str], block_number: int) -> Mapping[str, str]:
        """Return what a witness shows of groups; nothing when it is late, or away: then it is none."""
        try:
            async with asyncio.timeout(WITNESS_SECONDS):
                return await self._roots(self._fleet.named(name), groups, block_number)
        except (NodeError, TimeoutError):
            return {}

    def _witnesses(self, watcher: ChainWatcher, listing: _Listing, group: str, added: tuple[str, ...]) -> list[str]:
        """Names of other members' nodes; those that the same addition made replay come last."""
        known = listing.witnesses.setdefault((watcher.node.name, added), {})
        if group not in known:
            members = listing.members.get(group, ())
            hosts = {key: host for key in members if (host := self._fleet.hosting(key)) is not None}
            # Who replayed in the same block may have lost the same transactions, and would confirm it.
            ranked = sorted(hosts, key=lambda key: key in added)
            names = dict.fromkeys(hosts[key].node.name for key in ranked if hosts[key] is not watcher)
            known[group] = list(names)[:MOST_WITNESSES]
        return known[group]

    async def _witnessed(
        self, witnesses: Mapping[str, Sequence[str]], before: int, last: int
    ) -> dict[tuple[str, str], tuple[str, str]]:
        """Return by node and group its roots before and at the end, of nodes that answer."""
        wanted: dict[str, list[str]] = {}
        for group, names in witnesses.items():
            for name in names:
                wanted.setdefault(name, []).append(group)
        pairs = await asyncio.gather(*(self._both(name, groups, before, last) for name, groups in wanted.items()))
        return {key: roots for found in pairs for key, roots in found.items()}

    async def _both(
        self, name: str, groups: Sequence[str], before: int, last: int
    ) -> dict[tuple[str, str], tuple[str, str]]:
        first, final = await asyncio.gather(self._answered(name, groups, before), self._answered(name, groups, last))
        return {
            (name, group): (first[group], final[group]) for group in groups if first.get(group) and final.get(group)
        }

    async def _older(self, watcher: ChainWatcher, group: str, before: int, root: str) -> tuple[str, ...]:
        views = await watcher.node.roots(group, range(max(before - OLDER_BLOCKS, 0), before))
        return tuple(dict.fromkeys(view.state_root for view in views if view.exists and view.state_root != root))

    async def _roots(self, watcher: ChainWatcher, groups: Sequence[str], block_number: int) -> Mapping[str, str]:
        # Many changes of a batch end at one block: the node is asked once for all of them.
        key = (watcher.node.name, block_number, watcher.reorganisations)
        shown = self._shown.setdefault(key, _Shown())
        self._shown.move_to_end(key)
        while len(self._shown) > MOST_KEPT:
            self._shown.popitem(last=False)
        async with shown.reading.turn():
            missing = [group for group in groups if group not in shown.roots]
            if missing:
                views = await watcher.node.roots_of(missing, block_number)
                shown.roots |= {group: view.state_root for group, view in zip(missing, views, strict=True)}
        return shown.roots

    async def _listed(self, last: int) -> _Listing:
        """Return the nodes' listings, read at the end of the proof or later.

        Who was removed before that is not looked at. A node that lists nothing, such as a tenant's, is asked about the
        groups that changes were made in.
        """
        async with self._listing_lock:
            if self._listing is not None and self._listing.head >= last:
                return self._listing
            head = self._fleet.newest_head()
            keys = [(watcher, key) for watcher in self._fleet.watchers for key in watcher.node.enclave_keys]
            asked = {key: asyncio.create_task(_groups(watcher, key)) for watcher, key in keys}
            try:
                # All proofs wait here: for a node that hangs no longer than a moment.
                await asyncio.wait(asked.values(), timeout=LOOK_SECONDS)
                answers = {key: task.result() if task.done() else None for key, task in asked.items()}
            finally:
                for task in asked.values():
                    task.cancel()
            late = {watcher.node.name for watcher, key in keys if not asked[key].done()}
            listings: dict[str, dict[str, tuple[str, ...]]] = {}
            for key, groups in answers.items():
                for group, members in (groups or {}).items():
                    listings.setdefault(group, {})[key] = members
            silent = tuple(key for key, groups in answers.items() if groups is None)
            members_of = {group: agreed_members(listed) for group, listed in listings.items()}
            # A tenant's node lists its own groups only; the groups that changes were made in are known here.
            if silent:
                for group in await self._known():
                    members_of.setdefault(group, silent)
            own: dict[str, set[str]] = {}
            for watcher, key in keys:
                own.setdefault(watcher.node.name, set()).update(answers[key] or ())
            self._listing = _Listing(head=head, members=members_of, silent=silent, late=late, own=own)
            return self._listing

    async def _known(self) -> Sequence[str]:
        try:
            return await self._known_groups()
        except StoreError:
            return ()


def _is_odd(root: str, others: tuple[str, ...], root_before: str) -> bool:
    return root not in others if others else root != root_before


async def _complete(listing: _Listing, watcher: ChainWatcher) -> None:
    """Wait for a new member's own node, which is late: what it alone lists would not be compared."""
    for key in watcher.node.enclave_keys:
        for group, members in (await _groups(watcher, key) or {}).items():
            listing.own.setdefault(watcher.node.name, set()).add(group)
            if listing.members.get(group, listing.silent) == listing.silent:
                listing.members[group] = members
    listing.late.discard(watcher.node.name)
    listing.by_node.pop(watcher.node.name, None)


async def _groups(watcher: ChainWatcher, key: str) -> Mapping[str, tuple[str, ...]] | None:
    try:
        return await watcher.node.groups([key])
    except NodeError:
        return None
