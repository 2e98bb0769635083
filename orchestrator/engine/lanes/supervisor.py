"""Keeping everything running: watchers, lanes and leases, and an orderly stop.

A lane is one task. Whatever ends a lane unexpectedly ends only that lane: its lease runs out, or is given back, and it
is claimed again from its last commit.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from orchestrator.engine.lanes.worker import Worker
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.store import ChangeStore, Lane, StoreError
from orchestrator.engine.runtime.isolation import contained
from orchestrator.engine.runtime.leases import Leases

IDLE_SECONDS = 5.0
"""How long to sleep at most when nothing is known to be due; another replica's news could have been missed."""

PAUSE_SECONDS = 0.05
"""How long to sleep between two claims that find nothing, half as long or half as long again: a commit wakes all
replicas, and so does the end of a dead one's leases."""

SHARE_SECONDS = 0.5
"""How long to sleep at most while a source has all lanes that it may have: what else comes due is not asked for."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRules:
    """How lanes are held.

    Attributes:
        holder: This process's name, which no other has.
        lease: For how long a lane is held without being renewed.
        most_lanes: Lanes that are driven at the same time.
        stop_within: How long a stop may take; lock windows are finished in it.
    """

    holder: str
    lease: timedelta = timedelta(seconds=8)
    most_lanes: int = 500
    stop_within: timedelta = timedelta(seconds=20)

    @property
    def most_of_source(self) -> int:
        """Lanes of one source at the same time: some are always left for who comes next."""
        return max(1, self.most_lanes * 9 // 10)


class Supervisor:
    """Claims lanes and runs a worker on each.

    Args:
        store: The durable record.
        worker: Drives one lane.
        fleet: The nodes, whose chains are watched.
        clock: Time.
        rules: How lanes are held.
        stopping: Set when the daemon is to stop.
        leases: Told until when lanes are held.
        chance: Draws from 0 to 1, so that replicas do not ask the store at the same moment.
    """

    def __init__(
        self,
        store: ChangeStore,
        worker: Worker,
        fleet: Fleet,
        clock: Clock,
        rules: LaneRules,
        stopping: asyncio.Event,
        leases: Leases,
        chance: Callable[[], float],
    ) -> None:
        self._store = store
        self._worker = worker
        self._fleet = fleet
        self._clock = clock
        self._rules = rules
        self._stopping = stopping
        self._leases = leases
        self._chance = chance
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._driven: dict[str, Lane] = {}
        self._blind_since: datetime | None = None
        self._freed = asyncio.Event()

    @property
    def running_lanes(self) -> int:
        """How many lanes are driven now."""
        return len(self._lanes)

    @property
    def driven(self) -> Collection[str]:
        """The groups whose lanes are driven now."""
        return self._lanes.keys()

    @property
    def largest_share(self) -> int:
        """How many lanes the source with the most has now."""
        return max(self._held().values(), default=0)

    def _held(self) -> Counter[str]:
        return Counter(lane.source for lane in self._driven.values())

    async def run(self) -> None:
        """Drive lanes until `stopping` is set and the lock windows are finished."""
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(watcher.run()) for watcher in self._fleet.watchers]
            background.append(tasks.create_task(self._renew()))
            dispatching = tasks.create_task(self._dispatch(tasks))
            await self._stopping.wait()
            dispatching.cancel()
            self._worker.interrupt()
            await self._finish()
            for task in background:
                task.cancel()

    async def _dispatch(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            free = self._rules.most_lanes - len(self._lanes)
            lanes: tuple[Lane, ...] = ()
            with contained("claim") as claiming:
                try:
                    # Before the claim: a lane that ends while the store is asked must not be overlooked.
                    self._freed.clear()
                    if free > 0:
                        now = self._clock.now()
                        lanes = await self._store.claim(
                            holder=self._rules.holder,
                            lease=self._rules.lease,
                            limit=free,
                            now=now,
                            held=self._held(),
                            most_of_source=self._rules.most_of_source,
                            able=self._fleet.answers,
                        )
                        self._leases.prolong((lane.privacy_group_id for lane in lanes), now + self._rules.lease)
                    else:
                        await self._freed.wait()
                    if free > 0 and not lanes and self.largest_share >= self._rules.most_of_source:
                        await self._rest_at_share()
                    elif free > 0 and not lanes:
                        await self._rest(await self._idle_seconds())
                        await self._keep_apart(now)
                except StoreError as error:
                    log.warning("store does not answer", reason=str(error))
                    await self._clock.sleep(1.0)
            if claiming.error is not None:
                await self._clock.sleep(1.0)
            for lane in lanes:
                before = self._lanes.get(lane.privacy_group_id)
                if before is not None:
                    # Its lease ran out while this process was held up, and nobody else took it meanwhile.
                    before.cancel()
                task = tasks.create_task(self._drive(lane, before))
                self._lanes[lane.privacy_group_id] = task
                self._driven[lane.privacy_group_id] = lane
                task.add_done_callback(partial(self._ended, lane.privacy_group_id))

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await self._clock.wait_for(self._store.wait_for_work(IDLE_SECONDS), seconds)

    async def _rest_at_share(self) -> None:
        """Rest until a lane ends or something comes due: what is due already may be of a source that has its share."""
        news = [asyncio.ensure_future(wait) for wait in (self._freed.wait(), self._store.wait_for_work(SHARE_SECONDS))]
        try:
            with contextlib.suppress(TimeoutError):
                await self._clock.wait_for(asyncio.wait(news, return_when=asyncio.FIRST_COMPLETED), SHARE_SECONDS)
        finally:
            for waiting in news:
                waiting.cancel()

    async def _keep_apart(self, claimed_at: datetime) -> None:
        """Sleep a little when the claim that found nothing was only just; what comes alone is claimed at once."""
        pause = timedelta(seconds=PAUSE_SECONDS * (0.5 + self._chance()))
        ago = self._clock.now() - claimed_at
        # A clock that was set back makes it negative.
        if timedelta(0) <= ago < pause:
            await self._clock.sleep((pause - ago).total_seconds())

    async def _idle_seconds(self) -> float:
        due = await self._store.next_due()
        if due is None:
            return IDLE_SECONDS
        seconds = max((due - self._clock.now()).total_seconds(), 0.0)
        return min(seconds + PAUSE_SECONDS * self._chance(), IDLE_SECONDS)

    async def _drive(self, lane: Lane, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        # The lease of a lane that failed is not given back: the pause before it runs out keeps a defect from spinning.
        with contained("lane", group=lane.privacy_group_id):
            try:
                await self._worker.run(lane)
            except StoreError as error:
                log.warning("lane given up until the store is back", group=lane.privacy_group_id, reason=str(error))

    def _ended(self, group: str, task: asyncio.Task[None]) -> None:
        """Renew a lane no more; told of every task, of those too that were cancelled before their first step."""
        if self._lanes.get(group) is task:
            del self._lanes[group]
            del self._driven[group]
            self._leases.end(group)
        self._freed.set()

    async def _renew(self) -> None:
        # So that two renewals may fail before it is over.
        pause = self._rules.lease.total_seconds() / 3
        while True:
            await self._clock.sleep(pause)
            with contained("lanes without nodes"):
                try:
                    await self._leave_to_others()
                except StoreError as error:
                    log.warning("lanes not left to others", reason=str(error))
            driven = dict(self._lanes)
            if not driven:
                continue
            held = frozenset(driven)
            with contained("renewal"):
                try:
                    # Only what is driven: the lease of a lane that failed has to run out.
                    # Read before the store is asked: however late its answer is, others take the lane over no earlier
                    # than we stop.
                    now = self._clock.now()
                    held = await self._store.renew(
                        holder=self._rules.holder, lease=self._rules.lease, now=now, groups=tuple(driven)
                    )
                    self._leases.prolong(held & self._lanes.keys(), now + self._rules.lease)
                except StoreError as error:
                    log.warning("leases not renewed", reason=str(error))
            for group, task in driven.items():
                # A lane that was claimed, or claimed again, meanwhile was not asked about.
                if group not in held and self._lanes.get(group) is task:
                    log.warning("lease lost", group=group)
                    task.cancel()

    async def _leave_to_others(self) -> None:
        """Give lanes back when no node has answered for as long as a lease lasts, and other replicas see theirs.

        A group inside a lock window would stay locked until the way to our nodes is mended.
        """
        now = self._clock.now()
        if self._fleet.answers:
            self._blind_since = None
            return
        # Not later than now: a clock that was set back would leave the moment in the future.
        self._blind_since = min(self._blind_since or now, now)
        if now - self._blind_since < self._rules.lease or not self._lanes:
            return
        # Alone it keeps them: nobody could go on with them, and the nodes may be down for everybody.
        if not await self._store.others(holder=self._rules.holder, now=now):
            return
        left, tasks = dict(self._driven), list(self._lanes.values())
        log.warning("no node answers here, lanes are left to other replicas", lanes=len(left))
        # First: from here on nothing leaves for a node, whatever the tasks still do before they end.
        for group in left:
            self._leases.end(group)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for lane in left.values():
            await self._store.release(lane, now=now)

    async def _finish(self) -> None:
        """Let lanes rest; those inside a lock window first finish it, as long as the stop may take."""
        running = list(self._lanes.values())
        if not running:
            return
        log.info("stopping", lanes=len(running), within_seconds=self._rules.stop_within.total_seconds())
        _, late = await asyncio.wait(running, timeout=self._rules.stop_within.total_seconds())
        for task in late:
            task.cancel()
        if late:
            log.warning("stopped inside lock windows; the next start goes on with them", lanes=len(late))
