"""Which groups there may be: those of the store, and those that a node has, each asked for a moment.

A node that hangs, or takes its time, costs each request for an unknown group that moment, and behind thousands of such
requests everybody's would wait. So each node has a bounded part of the requests' time, and is not asked beyond it.
"""

import asyncio
import itertools
from collections.abc import Collection
from datetime import datetime
from typing import Final

from orchestrator.bounded_dicts import BoundedDict
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.engine.ports.records import ChangeFilter, ChangeList
from orchestrator.membership.model import ENDED, State

GROUP_CHECK_SECONDS: Final = 2.0
"""How long the nodes are asked whether a group is there; one that has not said no by then may have it."""

QUICK_SECONDS: Final = 0.25
"""An answer that comes so soon costs nothing of what a node may be waited for."""

PATIENCE_SECONDS: Final = 8.0
"""When all requests together have waited so long for a node, it is not asked for a while: it may have any group."""

REST_SECONDS: Final = 10.0
"""How long that while is at the most, and after how long `PATIENCE_SECONDS` of waiting are forgotten."""

REMEMBERED_GROUPS: Final = 10_000

_POSSIBLE: Final = tuple(state for state in State if state not in ENDED or state is State.SUCCEEDED)


class KnownGroups:
    """Tells whether a group may exist.

    Args:
        store: The durable record.
        fleet: The nodes.
        clock: Time.
    """

    def __init__(self, store: ChangeList, fleet: Fleet, clock: Clock) -> None:
        self._store = store
        self._fleet = fleet
        self._clock = clock
        self._known = BoundedDict[str, None](REMEMBERED_GROUPS)
        self._answers = BoundedDict[str, tuple[int, bool]](REMEMBERED_GROUPS)
        self._numbers = itertools.count()
        self._waited: dict[str, tuple[float, datetime]] = {}

    def arrival(self) -> int:
        """Return a request's place in time, by which `may_exist` tells which answers are not older than it."""
        return next(self._numbers)

    async def may_exist(self, group: str, arrival: int) -> bool:
        """Whether the group is known, or can't be ruled out now: then preflight tells.

        Args:
            group: Its privacy group id.
            arrival: When the request came in that names it.

        Raises:
            StoreError: The store does not answer.
        """
        if group in self._known:
            return True
        if await self._store.changes(ChangeFilter(privacy_group_id=group, states=_POSSIBLE), limit=1):
            self.remember(group)
            return True
        asked, possible = self._answers.get(group, (-1, True))
        # Asked for after it came in, that answer is as good as another: many that wait for one group ask once.
        if arrival < asked:
            return possible
        asked = next(self._numbers)
        seen = await self._seen(group)
        # None is not no: preflight looks again, and says so if there is none.
        self._answers[group] = (asked, seen is not False)
        if seen:
            self.remember(group)
        return seen is not False

    def remember(self, group: str) -> None:
        """Know a group that is there, or that is about to be made."""
        self._known[group] = None

    async def _seen(self, group: str) -> bool | None:
        """Ask all nodes at once: True when one has the group, False when all say no, None when one did not answer."""
        watchers = self._fleet.watchers
        asked = [watcher for watcher in watchers if self._waited_for(watcher) < PATIENCE_SECONDS]
        asking = [asyncio.ensure_future(self._has(watcher, group)) for watcher in asked]
        try:
            seen = await self._clock.wait_for(_any_true(asking), GROUP_CHECK_SECONDS)
        except TimeoutError:
            return None
        finally:
            for task in asking:
                task.cancel()
        return seen if seen or len(asked) == len(watchers) else None

    async def _has(self, watcher: ChainWatcher, group: str) -> bool | None:
        began = self._clock.now()
        try:
            head = await watcher.current()
            return (await watcher.node.view(group, head.number)).exists
        except NodeError:
            return None
        finally:
            self._count(watcher, (self._clock.now() - began).total_seconds())

    def _waited_for(self, watcher: ChainWatcher) -> float:
        """Return how many seconds requests have waited for a node, less what is forgotten."""
        waited, at = self._waited.get(watcher.node.name, (0.0, self._clock.now()))
        passed = (self._clock.now() - at).total_seconds()
        # A clock that was set back forgets all.
        return max(waited - passed * PATIENCE_SECONDS / REST_SECONDS, 0.0) if passed >= 0 else 0.0

    def _count(self, watcher: ChainWatcher, seconds: float) -> None:
        # Bounded, or sixty requests that wait at the same moment would keep the node from being asked for minutes.
        waited = min(self._waited_for(watcher) + max(seconds - QUICK_SECONDS, 0.0), 2 * PATIENCE_SECONDS)
        self._waited[watcher.node.name] = (waited, self._clock.now())


async def _any_true(asked: Collection[asyncio.Future[bool | None]]) -> bool | None:
    """Return True with the first that does, else None when one does not know, else False."""
    found: bool | None = False
    for answer in asyncio.as_completed(asked):
        seen = await answer
        if seen:
            return True
        found = None if seen is None else found
    return found
