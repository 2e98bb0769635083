"""Noticing that one of our own nodes is added to a group by somebody else, and following it there.

A block with an addition's PMT, on any of our nodes, is the occasion to ask the nodes for their groups; once a minute
they are asked without one. A member that was added on one of our nodes, and that no change of ours brought there, is a
join; those that a group was made with are none. While its node replays it can be followed only if another of our nodes
is a member already: until the replay is done the new node itself can't tell which group it is.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.engine.ports.records import Announcer, ChangeFilter, ChangeList
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.proof.replay_tracker import ReplayTracker
from orchestrator.engine.runtime.isolation import contained
from orchestrator.membership.attestation.joined_groups import PROOF_BLOCKS, Join, is_over, tell_join
from orchestrator.membership.damage.divergence import agreed_members
from orchestrator.membership.facts import Sighting
from orchestrator.membership.model import GroupView
from orchestrator.membership.proof.comparison import SETTLED_BLOCKS, in_trouble, progress_of

CHECKPOINT: Final = "joining"
LEASE: Final = timedelta(minutes=1)
LOOK_SECONDS: Final = 2.0
IDLE_SECONDS: Final = 10.0
"""Between two looks whether another replica still follows joins."""
LIST_EVERY: Final = timedelta(minutes=1)
BLOCKS_AT_ONCE: Final = 64
CHANGES_OF_GROUP: Final = 50

log = structlog.get_logger()


class OwnChanges(ChangeList, Announcer, Protocol):
    """What of `orchestrator.engine.ports.store.ChangeStore` joins use. Every method may raise `StoreError`."""


class Place(Protocol):
    """How far a reader has come."""

    @property
    def position(self) -> int:
        """Everything up to here is done."""


class Checkpoints(Protocol):
    """What of the outbox joins use. Every method may raise `StoreError`."""

    async def checkpoint(self, name: str) -> Place | None:
        """Return a checkpoint; None when it was never saved."""

    async def save_checkpoint(self, name: str, *, position: int) -> None:
        """Store a checkpoint."""

    async def acquire_lease(self, name: str, *, holder: str, lease: timedelta, now: datetime) -> bool:
        """Take or prolong the right to do a named work alone; False while another holder's lease lasts."""


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
        self._since: int | None = None
        self._known: set[tuple[str, str]] = set()
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
        occasion = await self._saw_addition()
        due = self._listed_at is None or now - self._listed_at >= LIST_EVERY
        if not heads or not (occasion or due or self._joins):
            return
        listings = await self._listings()
        if self._listed_at is None:
            saved = await self._checkpoints.checkpoint(CHECKPOINT)
            self._since = saved.position if saved is not None else None
        await self._find(listings)
        for pair, join in list(self._joins.items()):
            with contained("join", StoreError, group=join.privacy_group_id, node=join.node):
                await self._follow(pair, join, listings.get(join.privacy_group_id, {}))
        self._listed_at = now
        if not self._joins:
            self._since = min(heads.values())
            await self._checkpoints.save_checkpoint(CHECKPOINT, position=self._since)

    async def _saw_addition(self) -> bool:
        """Whether a block since the last look holds an addition."""
        seen = False
        for watcher in self._fleet.watchers:
            if watcher.head is None:
                continue
            head, name = watcher.head.number, watcher.node.name
            scanned = self._scanned.get(name, head)
            if scanned > head:  # it showed a head that it does not have any more
                scanned = head - 1
            first = max(scanned + 1, head - BLOCKS_AT_ONCE + 1)
            try:
                seen |= first <= head and bool(await watcher.node.additions(first, head))
                self._scanned[name] = head
            except NodeError as error:
                log.debug("blocks not read", node=name, reason=str(error))
        return seen

    async def _listings(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """Return by group what each of our keys' nodes lists as its members."""
        listings: dict[str, dict[str, tuple[str, ...]]] = {}
        for watcher in self._fleet.watchers:
            for key in watcher.node.enclave_keys:
                try:
                    groups = await watcher.node.groups([key])
                except NodeError as error:
                    log.debug("groups not listed", node=watcher.node.name, reason=str(error))
                    continue
                self._had[key], self._has[key] = self._has.get(key, set(groups)), set(groups)
                for group, members in groups.items():
                    listings.setdefault(group, {})[key] = members
        return listings

    async def _find(self, listings: dict[str, dict[str, tuple[str, ...]]]) -> None:
        for group, listed in listings.items():
            members = agreed_members(listed)
            for key in members:
                watcher = self._fleet.hosting(key)
                pair = (group, key)
                if watcher is None or pair in self._known:
                    continue
                if pair in self._joins:
                    self._joins[pair] = replace(self._joins[pair], members=members)
                elif await self._is_news(watcher, group, key, listed):
                    others = (k for k in listed if k != key and (group, k) not in self._joins)
                    self._joins[pair] = Join(
                        privacy_group_id=group,
                        enclave_key=key,
                        node=watcher.node.name,
                        members=members,
                        reference=next(others, None),
                    )
                    log.info("joining", group=group, enclave_key=key, node=watcher.node.name)
                else:
                    self._known.add(pair)
        for pair in [pair for pair in self._known if pair[0] not in listings]:
            self._known.discard(pair)  # removed; if it is added again, that is news
        for pair, join in list(self._joins.items()):
            if pair[1] not in agreed_members(listings.get(pair[0], {})):
                log.info("joins no more", group=pair[0], enclave_key=join.enclave_key)
                del self._joins[pair]

    async def _is_news(self, watcher: ChainWatcher, group: str, key: str, listed: dict[str, tuple[str, ...]]) -> bool:
        """Whether a member was added to a group that was there before it, and by no change of ours."""
        if self._since is None:
            return False  # what is there at the very first look is no news
        ours = await self._changes.changes(ChangeFilter(privacy_group_id=group), limit=CHANGES_OF_GROUP)
        if any(key in change.members for change in ours):
            return False
        try:
            before = await watcher.node.view(group, self._since)
        except NodeError:
            return True
        # The past of a node that had not the group at the last look is a replayed one, and may list the member long
        # ago: its guard refused an addition then, and let another pass now.
        was_there = group in self._had.get(key, {group})
        if was_there and before.exists and key in before.participants:
            return False
        hosts = dict.fromkeys(host for other in listed if (host := self._fleet.hosting(other)) is not None)
        for host in hosts:
            with suppress(NodeError):
                # What a node says that it has beyond all others would be read without end.
                through = min((await host.current()).number, self._fleet.newest_head())
                founded = await _founded(host, group, key, self._since, through)
                if founded is not None:
                    return not founded
        return True

    async def _follow(self, pair: tuple[str, str], join: Join, listed: dict[str, tuple[str, ...]]) -> None:
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
            self._attester.follow(looked, self._since if self._since is not None else 0)
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
            self._known.add(pair)
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


async def _founded(watcher: ChainWatcher, group: str, key: str, since: int, through: int) -> bool | None:
    """Whether a member is in a group by its creation, which is nobody's joining; None where the node can't tell."""
    logs = await watcher.node.memberships([group], since + 1, through)
    added = [log.block_number for log in logs if log.added and log.member == key]
    if not added:
        return None
    first = min(log.block_number for log in logs)
    # A new member's own node has the group's blocks before its addition, too, once it has replayed them.
    return max(added) == first and not (await watcher.node.view(group, first - 1)).exists
