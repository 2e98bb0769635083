"""Watching new blocks for what closes groups to newcomers, by one replica, as they come.

What a block does to a group can't be undone, so that people have to hear of it while other groups can still be kept
from it. Blocks of before the daemon's first start are for `orchestrator audit --deep`.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from orchestrator.engine.blocks.addition_watch import AdditionWatch
from orchestrator.engine.blocks.executed_groups import executed_in
from orchestrator.engine.history.branches import holds_through
from orchestrator.engine.history.examinations import content_of, examined
from orchestrator.engine.history.ports import Mark
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.nodes import Head, NodeError
from orchestrator.engine.ports.records import AdditionRecord, WorkLeases
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.runtime.isolation import contained
from orchestrator.membership.damage.unextendable import (
    SeenAddition,
    Unextendable,
    WatchTally,
    additions_in,
    closes_groups,
    unextendable_event,
)
from orchestrator.membership.forecast.blocks import Examination, flaws_in_words

LEASE_NAME: Final = "block-watch"
IDLE_SECONDS: Final = 10.0
BLOCKS_AT_ONCE: Final = 64
"""Blocks of one look: what an interruption costs, and how long other replicas' heads wait in a catch-up."""
MOST_MISSED: Final = 20_000
"""Blocks that are caught up with after a standstill; what lies before is for the deep audit."""
GROUPS_AT_ONCE: Final = 500
MOST_FAILURES: Final = 3
KEEP_EVERY: Final = 16
"""Blocks after which it is kept how far was looked, when nothing was found."""

log = structlog.get_logger()


class WatchRecord(Protocol):
    """The durable record of the watch. Every method may raise `StoreError`."""

    async def watched(self) -> tuple[Mark | None, WatchTally]:
        """Return how far blocks were watched, None for not yet, and what they were."""

    async def keep_watched(self, mark: Mark, tally: WatchTally, additions: Sequence[SeenAddition]) -> None:
        """Keep how far blocks were watched, what they were, and the additions in them."""

    async def first_additions(self, additions: Collection[str]) -> dict[str, SeenAddition]:
        """Return by their bytes where additions were seen first."""

    async def unextendable(self) -> tuple[Unextendable, ...]:
        """Return the groups that are known to be unextendable, with the block that was seen first."""

    async def keep_unextendable(self, found: Sequence[Unextendable]) -> None:
        """Keep that groups are unextendable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRules:
    """How to watch.

    Attributes:
        holder: This replica's name.
        confirmations: Look so many blocks below the head.
        lease: For how long one replica watches alone without doing anything.
    """

    holder: str
    confirmations: int = 0
    lease: timedelta = timedelta(minutes=1)


class BlockWatch:
    """Watches new blocks.

    Args:
        fleet: The nodes.
        groups: The store of changes.
        leases: The outbox.
        record: What was found.
        clock: Time.
        rules: How.
        on_look: Told the tally before and after each look, and how many groups are unextendable.
    """

    def __init__(
        self,
        fleet: Fleet,
        groups: AdditionRecord,
        leases: WorkLeases,
        record: WatchRecord,
        clock: Clock,
        rules: WatchRules,
        on_look: Callable[[WatchTally, WatchTally, int], None] = lambda _before, _after, _groups: None,
    ) -> None:
        self._fleet = fleet
        self._groups = groups
        self._leases = leases
        self._record = record
        self._clock = clock
        self._rules = rules
        self._on_look = on_look
        self._additions = AdditionWatch(fleet, groups, record)
        self._mark: Mark | None = None
        self._kept_at = -KEEP_EVERY
        self._tally = WatchTally()
        self._closed: dict[str, Unextendable] = {}
        self._ours_until: datetime | None = None
        self._failures = 0
        self._reorganisations: tuple[str, int] | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            more = ours = False
            with contained("watched block") as watching:
                try:
                    ours = await self._is_ours()
                    more = ours and await self.look()
                    self._failures = 0
                except (StoreError, NodeError) as error:
                    log.warning("new blocks are not watched now", reason=str(error))
                    await self._clock.sleep(IDLE_SECONDS)
                    continue
            if watching.error is not None:
                self._failures += 1
                await self._clock.sleep(IDLE_SECONDS)
            elif not ours:
                await self._clock.sleep(IDLE_SECONDS)  # each block of another one's watch would cost the store a write
            elif not more:
                await self._next_head()

    async def look(self) -> bool:
        """Look at the next blocks and tell what they close; returns whether there are more.

        Raises:
            NodeError: No node answers; the same blocks are looked at again.
            StoreError: It could not be kept; likewise.
        """
        watcher = self._fleet.newest()
        newest = await watcher.current()
        # What a reorganisation may take back is looked at when it can't any more: an event can't be.
        last = newest.number - self._rules.confirmations
        mark = self._mark or await self._begin(watcher, newest, last)
        # Another node, or the same on another branch, may have other blocks below the mark.
        mark = await self._on_chain(watcher, newest, mark)
        first = max(mark.number + 1, last - MOST_MISSED + 1)
        if first > mark.number + 1:
            log.warning("blocks were not watched", first=mark.number + 1, last=first - 1)
        # After a defect blocks are looked at one by one; the one that it lies in is passed over.
        numbers = range(first, min(first + (1 if self._failures else BLOCKS_AT_ONCE), last + 1))
        if not numbers:
            return False
        if self._failures > MOST_FAILURES:
            log.error("block passed over: it could not be looked at", block=first)
            self._mark, self._failures = Mark(number=first, block_hash=(await watcher.block(first)).block_hash), 0
            return first < last
        blocks = [content_of(watcher, block) for block in await watcher.in_full(numbers)]
        tally, closing = self._tally, []
        for content in blocks:
            examination = await examined(watcher, content)
            tally = tally.with_block(examination)
            if closes_groups(content, examination) and await self._others_agree(watcher, content.number):
                closing.append(examination)
        additions = tuple(addition for content in blocks for addition in additions_in(content))
        # Before the mark moves: what is told twice after a death is harmless, what is passed over is lost.
        tally = await self._additions.look(tally, additions)
        for examination in closing:
            await self._tell(examination)
        newest_looked = Mark(number=blocks[-1].number, block_hash=blocks[-1].block_hash)
        # An uneventful block is kept track of now and then: a commit for each would be most of what an idle daemon
        # does.
        if additions or closing or tally.account_twice != self._tally.account_twice or self._is_due(newest_looked):
            await self._record.keep_watched(newest_looked, tally, additions)
            self._kept_at = newest_looked.number
        before, self._mark, self._tally = self._tally, newest_looked, tally
        self._on_look(before, tally, len(self._closed))
        return newest_looked.number < last

    def _is_due(self, mark: Mark) -> bool:
        return mark.number >= self._kept_at + KEEP_EVERY

    async def _begin(self, watcher: ChainWatcher, newest: Head, last: int) -> Mark:
        """Go on where any replica left off; else with the newest block."""
        kept, self._tally = await self._record.watched()
        self._closed = {found.privacy_group_id: found for found in await self._record.unextendable()}
        if kept is not None:
            self._kept_at = kept.number
            return kept
        before = max(last - 1, 0)
        block_hash = newest.parent_hash if before == newest.number - 1 else (await watcher.block(before)).block_hash
        return Mark(number=before, block_hash=block_hash)

    async def _on_chain(self, watcher: ChainWatcher, newest: Head, mark: Mark) -> Mark:
        """Go back where the chain left what was looked at: a block that took another's place is looked at, too."""
        # A node that alone answered may have shown blocks that nobody will ever make: behind those none would be seen.
        if mark.number > newest.number + BLOCKS_AT_ONCE:
            log.warning("blocks were watched that are not on the chain", through=mark.number, head=newest.number)
            return await self._before(watcher, newest.number)
        state = (watcher.node.name, watcher.reorganisations)
        if state == self._reorganisations:
            return mark
        found = await holds_through(watcher, [(mark.number, mark.block_hash)])
        self._reorganisations = state
        if found is not None:
            return mark
        return await self._before(watcher, mark.number)

    async def _before(self, watcher: ChainWatcher, number: int) -> Mark:
        before = max(number - BLOCKS_AT_ONCE, 0)
        return Mark(number=before, block_hash=(await watcher.block(before)).block_hash)

    async def _others_agree(self, watcher: ChainWatcher, number: int) -> bool:
        """Whether a block closes groups for at least half of the nodes that tell of it, when it does for one.

        Any node can tell of a block that closes every group with a transaction in it. A draw counts as closed: a group
        that is told to be closed can be looked at.
        """
        closed, open_at = 1, []
        for other in self._fleet.watchers:
            if other is watcher:
                continue
            try:
                (block,) = await other.in_full([number])
                content = content_of(other, block)
                closes = closes_groups(content, await examined(other, content))
            except NodeError:
                continue  # late, or away: it does not contradict
            closed += closes
            if not closes:
                open_at.append(other.node.name)
        if open_at:
            log.warning("nodes differ about a block", block=number, closes_by=watcher.node.name, open_by=open_at)
        return closed >= len(open_at)

    async def _tell(self, examination: Examination) -> None:
        known = [group for group in await self._groups.groups() if group not in self._closed]
        for start in range(0, len(known), GROUPS_AT_ONCE):
            some = known[start : start + GROUPS_AT_ONCE]
            found = [
                Unextendable(privacy_group_id=group, examination=examination)
                for group in await executed_in(self._fleet, some, examination.number)
            ]
            if not found:
                continue
            # Told before it is kept: told twice after a crash in between, and never not at all.
            await self._groups.announce([unextendable_event(one) for one in found])
            await self._record.keep_unextendable(found)
            for one in found:
                self._closed[one.privacy_group_id] = one
                log.warning(
                    "the group can't be extended any more to nodes that have to replay it",
                    group=one.privacy_group_id,
                    why=flaws_in_words(examination),
                )

    async def _is_ours(self) -> bool:
        now = self._clock.now()
        # Prolonged at half time, so that blocks of a second cost the store no write each.
        if self._ours_until is not None and now < self._ours_until - self._rules.lease / 2:
            return True
        ours = await self._leases.acquire_lease(LEASE_NAME, holder=self._rules.holder, lease=self._rules.lease, now=now)
        if not ours:
            # Another replica goes on from here, and this one later from where that one left off.
            self._mark, self._ours_until = None, None
            return False
        self._ours_until = now + self._rules.lease
        return True

    async def _next_head(self) -> None:
        head = self._fleet.newest().head if self._fleet.watchers else None
        newest = head.number if head is not None else 0
        # Who is beyond that already needs a second one to be believed.
        waiting = [
            asyncio.ensure_future(w.wait_beyond(newest, IDLE_SECONDS))
            for w in self._fleet.watchers
            if w.head is None or w.head.number <= newest
        ]
        if not waiting:
            return await self._clock.sleep(IDLE_SECONDS)
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
