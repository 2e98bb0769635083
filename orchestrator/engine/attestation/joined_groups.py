"""Noticing that one of our own nodes is added to a group by somebody else, and following it there.

A block with an addition's PMT, on any of our nodes, is the occasion to ask the nodes for their groups; once a minute
they are asked without one. A member that was added on one of our nodes, and that no change of ours brought there, is a
join; those that a group was made with are none. While its node replays it can be followed only if another of our nodes
is a member already: until the replay is done the new node itself can't tell which group it is.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

import structlog

from orchestrator.engine.attestation.join_lanes import JoinLanes, Lane
from orchestrator.engine.attestation.join_news import is_news
from orchestrator.engine.attestation.join_places import CHECKPOINT, Checkpoints, JoinPlaces
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.engine.ports.records import Announcer, ChangeList
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.proof.replay_tracker import ReplayTracker
from orchestrator.engine.runtime.isolation import contained
from orchestrator.membership.attestation.joined_groups import PROOF_BLOCKS, Join, is_over, tell_join
from orchestrator.membership.damage.divergence import agreed_members
from orchestrator.membership.facts import Sighting
from orchestrator.membership.model import GroupView
from orchestrator.membership.proof.comparison import SETTLED_BLOCKS, in_trouble, progress_of

LEASE: Final = timedelta(minutes=1)
LOOK_SECONDS: Final = 2.0
IDLE_SECONDS: Final = 10.0
"""Between two looks whether another replica still follows joins."""
LIST_EVERY: Final = timedelta(minutes=1)
BLOCKS_AT_ONCE: Final = 64
MOST_FOLLOWED: Final = 100
"""Joins of one node, with one reference, that are followed at a time."""

log = structlog.get_logger()

Work = Callable[[], Coroutine[None, None, None]]


class OwnChanges(ChangeList, Announcer, Protocol):
    """What of `orchestrator.engine.ports.store.ChangeStore` joins use. Every method may raise `StoreError`."""


class JoinAttester(Protocol):
    """Who tells others of joins."""

    def follow(self, join: Join, after_block: int) -> None:
        """Tell of a join whose node has the group by now; the member was not in it at `after_block`."""


class Joiner:
    """Follows joins.

    Args:
        fleet: The nodes.
        changes: The store of changes.
        checkpoints: The outbox.
        tracker: Remembers replays.
        clock: Time.
        holder: This replica's name.
        stalled_after: A replay that has not moved for this long is stalled.
        attester: Hears of each join whose node has the group; None for nobody.
    """

    def __init__(
        self,
        fleet: Fleet,
        changes: OwnChanges,
        checkpoints: Checkpoints,
        tracker: ReplayTracker,
        clock: Clock,
        holder: str,
        stalled_after: timedelta = timedelta(minutes=1),
        attester: JoinAttester | None = None,
    ) -> None:
        self._attester = attester
        self._fleet = fleet
        self._changes = changes
        self._checkpoints = checkpoints
        self._tracker = tracker
        self._clock = clock
        self._holder = holder
        self._patience = stalled_after
        self._places = JoinPlaces(checkpoints)
        self._finding = JoinLanes()
        self._following = JoinLanes()
        self._untold: set[str] = set()
        self._had: dict[str, set[str]] = {}
        self._has: dict[str, set[str]] = {}
        self._joins: dict[tuple[str, str], Join] = {}
        self._scanned: dict[str, int] = {}
        self._listed_at: datetime | None = None
        self._renew_at: datetime | None = None

    @property
    def joins(self) -> tuple[Join, ...]:
        """The joins that are followed now."""
        return tuple(self._joins.values())

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                ours = True
                with contained("joining"):
                    try:
                        ours = await self._is_ours()
                        if ours:
                            await self.look()
                    except StoreError as error:
                        log.warning("joins not told, the store does not answer", reason=str(error))
                await self._clock.sleep(LOOK_SECONDS if ours else IDLE_SECONDS)
        finally:
            await self.close()

    async def close(self) -> None:
        """End what looks have left under way."""
        await self._finding.close()
        await self._following.close()

    async def _is_ours(self) -> bool:
        now = self._clock.now()
        # A time further away than it was ever set was set before the clock was set back.
        if self._renew_at is not None and now < self._renew_at <= now + LEASE / 2:
            return True
        ours = await self._checkpoints.acquire_lease(CHECKPOINT, holder=self._holder, lease=LEASE, now=now)
        self._renew_at = now + LEASE / 2 if ours else None
        return ours

    async def look(self) -> None:
        """Look once at the nodes, and tell what is new.

        Raises:
            StoreError: It could not be told; the next look tells it.
        """
        now = self._clock.now()
        heads = {w.node.name: w.head.number for w in self._fleet.watchers if w.head is not None}
        # What a node makes of it is its own trouble: all are asked, whoever of them is slow.
        occasion = any(await asyncio.gather(*map(self._saw_addition, self._fleet.watchers)))
        due = self._listed_at is None or now - self._listed_at >= LIST_EVERY
        if not heads or not (occasion or due or self._joins):
            return
        if self._listed_at is None:
            await self._places.recall([watcher.node.name for watcher in self._fleet.watchers])
        listed = await asyncio.gather(*map(self._groups_of, self._fleet.watchers))
        listings: dict[str, dict[str, tuple[str, ...]]] = {}
        for key, groups in (pair for found in listed for pair in (found or {}).items()):
            for group, members in groups.items():
                listings.setdefault(group, {})[key] = members
        self._untold.clear()
        await self._finding.run(self._to_find(listings))
        await self._following.run(self._to_follow(listings))
        self._listed_at = now
        looked_at = {w.node.name for w, found in zip(self._fleet.watchers, listed, strict=True) if found is not None}
        held = self._finding.busy_nodes | self._untold | {join.node for join in self._joins.values()}
        for name in (looked_at & heads.keys()) - held:
            await self._places.keep(name, heads[name])

    async def _saw_addition(self, watcher: ChainWatcher) -> bool:
        """Whether a block of a node since the last look holds an addition."""
        if watcher.head is None:
            return False
        head, name = watcher.head.number, watcher.node.name
        scanned = self._scanned.get(name, head)
        if scanned > head:  # it showed a head that it does not have any more
            scanned = head - 1
        first = max(scanned + 1, head - BLOCKS_AT_ONCE + 1)
        try:
            seen = first <= head and bool(await watcher.node.additions(first, head))
            self._scanned[name] = head
        except NodeError as error:
            log.debug("blocks not read", node=name, reason=str(error))
            return False
        return seen

    async def _groups_of(self, watcher: ChainWatcher) -> dict[str, Mapping[str, tuple[str, ...]]] | None:
        """Return by each of a node's keys what it lists, by group; None when it does not answer."""
        found: dict[str, Mapping[str, tuple[str, ...]]] = {}
        for key in watcher.node.enclave_keys:
            try:
                found[key] = groups = await watcher.node.groups([key])
            except NodeError as error:
                log.debug("groups not listed", node=watcher.node.name, reason=str(error))
                return found or None
            self._had[key], self._has[key] = self._has.get(key, set(groups)), set(groups)
        return found

    def _to_find(self, listings: Mapping[str, dict[str, tuple[str, ...]]]) -> Mapping[Lane, Work]:
        """Return by lane what members may be new; forget those that are in their groups no more."""
        self._places.forget_others(listings)
        agreed = {group: agreed_members(listed) for group, listed in listings.items()}
        for pair, join in list(self._joins.items()):
            if pair[1] not in agreed.get(pair[0], ()):
                log.info("joins no more", group=pair[0], enclave_key=join.enclave_key)
                del self._joins[pair]
            else:
                self._joins[pair] = replace(join, members=agreed[pair[0]])
        lanes: defaultdict[Lane, list[Join]] = defaultdict(list)
        for group, members in agreed.items():
            for key in members:
                watcher, pair = self._fleet.hosting(key), (group, key)
                if watcher is None or self._places.is_known(pair) or pair in self._joins:
                    continue
                if watcher.node.name not in self._places.since:
                    self._places.know(pair, watcher.node.name)  # what is there at the very first look is no news
                    continue
                listed = listings[group]
                others = (k for k in listed if k != key and (group, k) not in self._joins)
                join = Join(
                    privacy_group_id=group,
                    enclave_key=key,
                    node=watcher.node.name,
                    members=members,
                    reference=next(others, None),
                )
                lanes[self._lane(key, *listed)].append(join)
        return {lane: partial(self._find, joins, listings) for lane, joins in lanes.items()}

    def _lane(self, *keys: str | None) -> Lane:
        watchers = (self._fleet.hosting(key) for key in keys if key is not None)
        return frozenset(watcher.node.name for watcher in watchers if watcher is not None)

    async def _find(self, joins: Sequence[Join], listings: Mapping[str, Mapping[str, tuple[str, ...]]]) -> None:
        followed = Counter((join.node, join.reference) for join in self._joins.values())
        for join in joins:
            group, key, way = join.privacy_group_id, join.enclave_key, (join.node, join.reference)
            # Whatever a node lists is followed by a few at a time; the others are looked at when these are over.
            if followed[way] >= MOST_FOLLOWED:
                continue
            had, since = group in self._had.get(key, {group}), self._places.since[join.node]
            try:
                news = await is_news(self._fleet, self._changes, group, key, listings[group], since, had=had)
            except NodeError as error:
                log.debug("not known whether a member joined", group=group, node=join.node, reason=str(error))
                self._untold.add(join.node)
                continue
            if news:
                self._joins[group, key] = join
                followed[way] += 1
                log.info("joining", group=group, enclave_key=key, node=join.node)
            else:
                self._places.know((group, key), join.node)

    def _to_follow(self, listings: Mapping[str, Mapping[str, tuple[str, ...]]]) -> Mapping[Lane, Work]:
        lanes: defaultdict[Lane, list[tuple[str, str]]] = defaultdict(list)
        for pair, join in self._joins.items():
            lanes[self._lane(join.enclave_key, join.reference)].append(pair)
        return {lane: partial(self._follow_all, pairs, listings) for lane, pairs in lanes.items()}

    async def _follow_all(
        self, pairs: Sequence[tuple[str, str]], listings: Mapping[str, Mapping[str, tuple[str, ...]]]
    ) -> None:
        for pair in pairs:
            join = self._joins.get(pair)
            if join is not None:
                with contained("join", StoreError, group=join.privacy_group_id, node=join.node):
                    await self._follow(pair, join, listings.get(join.privacy_group_id, {}))

    async def _follow(self, pair: tuple[str, str], join: Join, listed: Mapping[str, tuple[str, ...]]) -> None:
        watcher = self._fleet.named(join.node)
        head = watcher.head.number if watcher.head is not None else None
        since = join.since_block
        if since is None and join.enclave_key in listed:
            since = head
            self._tracker.forget(join.node, join.privacy_group_id)
        reference = self._fleet.hosting(join.reference) if join.reference is not None else None
        looked = replace(join, since_block=since)
        try:
            if since is None and reference is not None and await self._passed(join, watcher, reference):
                looked = replace(join, since_block=(await watcher.current()).number)
            sighting, expected = await self._sight(looked, watcher, reference)
        except NodeError as error:
            log.debug("join not looked at", group=join.privacy_group_id, node=join.node, reason=str(error))
            sighting, expected = Sighting(enclave_key=join.enclave_key, node=join.node, head=None), {}
        if self._attester is not None and join.since_block is None and looked.since_block is not None:
            self._attester.follow(looked, self._places.since.get(join.node, 0))
        entry = progress_of(sighting, expected, join.entry, self._clock.now(), self._patience)
        if reference is None:
            entry = replace(entry, head=head)
        after = replace(looked, entry=entry)
        event = tell_join(join, after)
        if event is not None:
            await self._changes.announce([event])
        self._joins[pair] = after
        if is_over(after):
            log.info("joined", group=join.privacy_group_id, node=join.node, verdict=entry.verdict.value)
            self._places.know(pair, join.node)
            del self._joins[pair]

    async def _passed(self, join: Join, watcher: ChainWatcher, reference: ChainWatcher) -> bool:
        """Whether the reference says that a node, which moved on, is a member at its head: it lost the addition."""
        head = (await watcher.current()).number
        if join.entry is None or join.entry.head in (None, head):
            return False
        view = await reference.node.view(join.privacy_group_id, head)
        return view.exists and join.enclave_key in view.participants

    async def _sight(
        self, join: Join, watcher: ChainWatcher, reference: ChainWatcher | None
    ) -> tuple[Sighting, dict[int, GroupView]]:
        """Return what is seen of a new member, and what the reference has at the same blocks."""
        key, group, node = join.enclave_key, join.privacy_group_id, watcher.node
        head = await watcher.current()
        if reference is None:
            return Sighting(enclave_key=key, node=None, head=head.number), {}
        if join.since_block is None:
            # The node stands at the block before the addition, which is the last that it replays.
            span = await self._tracker.poll(node, reference.node, group, head.number, self._clock.now())
            seen = Sighting(
                enclave_key=key,
                node=node.name,
                head=head.number,
                blocks_replayed=span.replayed,
                blocks_total=span.total,
                transactions_replayed=span.transactions_replayed,
                transactions_total=span.transactions_total,
            )
            return seen, {}
        newest = min(head.number, (await reference.current()).number)
        through = join.entry.in_sync_through if join.entry is not None else None
        if join.entry is not None and in_trouble((join.entry,)):
            blocks = range(max(join.since_block, newest - SETTLED_BLOCKS), newest + 1)
        else:
            last = min(newest, join.since_block + PROOF_BLOCKS)
            blocks = range(join.since_block if through is None else through + 1, last + 1)
        views = await node.roots(group, blocks) if blocks else ()
        expected = await reference.node.roots(group, blocks) if blocks else ()
        total = join.entry.blocks_total if join.entry is not None else 0
        seen = Sighting(
            enclave_key=key,
            node=node.name,
            head=head.number,
            views=views,
            blocks_replayed=total,
            blocks_total=total,
        )
        return seen, {view.block_number: view for view in expected}
