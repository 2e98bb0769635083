"""Noticing a node that stands still while others move, and asking what holds it; and one that is far ahead of all.

What subscribers were told is read from the events themselves: a restarted daemon, or another replica, goes on from
there.
"""

from datetime import datetime, timedelta
from typing import Final

import structlog

from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.engine.ports.records import Announcer, EventRecord
from orchestrator.engine.runtime.isolation import contained, repeated
from orchestrator.membership.damage.standstill import (
    Hold,
    Standstill,
    ahead_after,
    ahead_event,
    hold_of,
    holds_after,
    moving_event,
    standing_event,
)
from orchestrator.membership.heads import BEHIND_BLOCKS
from orchestrator.membership.news.status import EventType, StatusEvent

LEASE_NAME: Final = "standstill"
LEASE: Final = timedelta(minutes=1)
LOOK_SECONDS: Final = 5.0
TYPES: Final = (EventType.NODE_STANDING_STILL.value, EventType.NODE_MOVING.value, EventType.NODE_AHEAD.value)
PAGE: Final = 1_000

log = structlog.get_logger()


class StandstillWatch:
    """Looks at the nodes' heads.

    Args:
        fleet: The nodes.
        changes: The store of changes.
        events: The outbox.
        clock: Time.
        holder: This replica's name.
        patience: A node stands still when its head has not moved for this long, and others' have.
    """

    def __init__(
        self, fleet: Fleet, changes: Announcer, events: EventRecord, clock: Clock, holder: str, patience: timedelta
    ) -> None:
        self._fleet = fleet
        self._changes = changes
        self._events = events
        self._clock = clock
        self._holder = holder
        self._patience = patience
        self._moved: dict[str, tuple[int, datetime]] = {}
        self._announced: dict[str, Hold] = {}
        self._announced_ahead: frozenset[str] = frozenset()
        self._position = 0
        self.standing: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Look until cancelled."""
        await repeated("standstill", self.look, self._clock, LOOK_SECONDS)

    async def look(self) -> None:
        """Look once, and tell what is new.

        Raises:
            StoreError: It could not be told; the next look tells it.
        """
        now = self._clock.now()
        # On every replica: the page and readiness show what this one sees, whoever tells of it.
        still = [watcher for watcher in self._fleet.watchers if self._stands(watcher, now)]
        self.standing = frozenset(watcher.node.name for watcher in still)
        if not await self._events.acquire_lease(LEASE_NAME, holder=self._holder, lease=LEASE, now=now):
            return
        # After the lease is taken: what the replica before told is read before anything is told again.
        await self._catch_up()
        events = []
        for watcher in still:
            found = await self._why(watcher)
            # Told again only when something else holds it: the remedy is another one then.
            if self._announced.get(found.node) is not found.hold:
                log.warning(
                    "node stands still", node=found.node, head=found.head, newest=found.newest, why=found.detail
                )
                events.append(standing_event(found))
        events += self._ahead()
        for watcher in self._fleet.watchers:
            if watcher.node.name in self._announced and watcher.head is not None and self._caught_up(watcher):
                log.info("node moves again", node=watcher.node.name, head=watcher.head.number)
                events.append(moving_event(watcher.node.name, watcher.head.number))
        if events:
            await self._changes.announce(events)

    def _ahead(self) -> list[StatusEvent]:
        """Return what is to be told of nodes that claim more than any other confirms, or do so no more."""
        events = []
        confirmed = self._fleet.newest_head()
        for watcher in self._fleet.watchers:
            name, head = watcher.node.name, watcher.head
            # Without a second head there is nobody to be ahead of.
            if head is None or watcher.silent or confirmed == 0:
                continue
            ahead = head.number - confirmed > BEHIND_BLOCKS
            if ahead and name not in self._announced_ahead:
                log.warning("node is far ahead of all others", node=name, head=head.number, newest=confirmed)
                events.append(ahead_event(name, head.number, confirmed))
            elif not ahead and name in self._announced_ahead:
                events.append(moving_event(name, head.number))
        return events

    def _stands(self, watcher: ChainWatcher, now: datetime) -> bool:
        """Whether a node that answers has not moved for long, and is behind."""
        if watcher.head is None or watcher.silent:
            self._moved.pop(watcher.node.name, None)  # away, which is told as such; what it does then is not known
            return False
        number = watcher.head.number
        known = self._moved.get(watcher.node.name)
        if known is None or known[0] != number:
            self._moved[watcher.node.name] = known = (number, now)
        return now - known[1] >= self._patience and self._newest() - number > BEHIND_BLOCKS

    def _caught_up(self, watcher: ChainWatcher) -> bool:
        return watcher.head is not None and not watcher.silent and self._newest() - watcher.head.number <= BEHIND_BLOCKS

    def _newest(self) -> int:
        newest = self._fleet.newest().head
        return newest.number if newest is not None else 0

    async def _why(self, watcher: ChainWatcher) -> Standstill:
        node, (head, since) = watcher.node, self._moved[watcher.node.name]
        trouble = await node.enclave_trouble()
        try:
            peers: int | None = await node.peers()
        except NodeError:
            peers = None
        markers = additions = 0
        with_it = self._fleet.newest()
        try:
            # The block that the node does not get over, read where it is: what is in it tells what holds the node.
            (block,) = await with_it.node.blocks([head + 1])
        except NodeError as error:
            detail = f"block {head + 1} can't be read: {error}"
        else:
            found = [one for one in (block.content.transactions if block.content is not None else ()) if one.marker]
            markers, additions = len(found), sum(bool(one.addition) for one in found)
            detail = f"block {head + 1} holds {markers} private transaction(s), {additions} of them with a history"
        hold = hold_of(enclave_down=trouble is not None, peers=peers, additions=additions, markers=markers)
        seen = (trouble, "it has no peers" if peers == 0 else None, detail)
        return Standstill(
            node=node.name,
            head=head,
            newest=self._newest(),
            since=since,
            hold=hold,
            detail="; ".join(part for part in seen if part),
        )

    async def _catch_up(self) -> None:
        """Read what subscribers were told since the last look, by whichever replica."""
        while True:
            page = await self._events.after(self._position, limit=PAGE, types=TYPES)
            for told in page:
                with contained("told event", position=told.position):
                    if told.event.type is not EventType.NODE_AHEAD:
                        self._announced = holds_after(self._announced, told.event)
                    self._announced_ahead = ahead_after(self._announced_ahead, told.event)
                self._position = told.position
            if len(page) < PAGE:
                return
