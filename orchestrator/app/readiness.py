"""What has to work for the daemon to do its work: asked by ``/readyz``, and looked at by itself for log and metrics."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from orchestrator.api.ports.changes import Check
from orchestrator.broker.port import Broker
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.engine.ports.queues import BrokerError
from orchestrator.engine.ports.store import ChangeStore, StoreError
from orchestrator.engine.runtime.isolation import contained
from orchestrator.events.backlog import Backlog
from orchestrator.events.neighbours import Neighbours
from orchestrator.events.relay import Relay

CHECK_SECONDS: Final = 3.0
LOOK_SECONDS: Final = 5.0
"""Between two looks without being asked: what is wrong shows in log and metrics within 10 s."""
LATE_SECONDS: Final = 10.0
"""A status event that has waited so long is late."""

log = structlog.get_logger()


class Readiness:
    """Looks at the store, both directions of the message queue, and every node.

    Args:
        store: The durable record.
        broker: The message queue.
        fleet: The nodes.
        clock: Time.
        backlog: How late status events are.
        relay: What publishes them here.
        neighbours: Who else publishes events where ours go.

    Attributes:
        working: Of what is looked at without being asked, what was seen last: by name, whether it works.
    """

    def __init__(
        self,
        store: ChangeStore,
        broker: Broker,
        fleet: Fleet,
        clock: Clock,
        backlog: Backlog,
        relay: Relay,
        neighbours: Neighbours,
    ) -> None:
        self._store = store
        self._broker = broker
        self._fleet = fleet
        self._clock = clock
        self._neighbours = neighbours
        self._backlog = backlog
        self._relay = relay
        self.working: dict[str, bool] = {}

    async def checks(self) -> tuple[Check, ...]:
        """Return what was looked at, each within a bounded time; one node that answers is enough to be ready."""
        nodes = await asyncio.gather(
            *(self._check(f"node {w.node.name}", w.refresh, required=False) for w in self._fleet.watchers)
        )
        answering = sum(check.ok for check in nodes)
        any_node = Check(name="nodes", ok=answering > 0, detail=f"{answering} of {len(nodes)} answer")
        return (*await self._surroundings(), any_node, *nodes, self._alone())

    def _alone(self) -> Check:
        others = ", ".join(self._neighbours.sources)
        detail = f"{others}: publishes under the same names; give each daemon its own broker.names, or one store"
        return Check(name="neighbours", ok=not others, required=False, detail=detail if others else "")

    async def run(self) -> None:
        """Look at store and queue now and then, and tell when something stops working or works again."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            with contained("readiness"):
                for check in await self._surroundings():
                    if self.working.get(check.name, True) and not check.ok:
                        log.warning("does not work now", what=check.name, reason=check.detail)
                    elif not self.working.get(check.name, True) and check.ok:
                        log.info("works again", what=check.name)
                    self.working[check.name] = check.ok

    async def _surroundings(self) -> tuple[Check, ...]:
        # A store that is full or damaged still answers reads: only a write tells.
        store, requests, events = await asyncio.gather(
            self._check("store", self._store.probe),
            self._check("broker", self._broker.check),
            self._check("events", self._broker.check_events),
        )
        late = self._backlog.seconds
        if events.ok and late > LATE_SECONDS:
            reason = self._relay.trouble or "another replica publishes them, or the store is slow"
            detail = f"the oldest unpublished status event has waited for {late:.0f} s: {reason}"
            events = Check(name="events", ok=False, detail=detail)
        return (store, requests, events)

    async def _check(self, name: str, ask: Callable[[], Awaitable[object]], *, required: bool = True) -> Check:
        try:
            await self._clock.wait_for(ask(), CHECK_SECONDS)
        except (StoreError, BrokerError, NodeError) as error:
            return Check(name=name, ok=False, required=required, detail=str(error))
        except TimeoutError:
            return Check(name=name, ok=False, required=required, detail=f"no answer in {CHECK_SECONDS:g} s")
        return Check(name=name, ok=True, required=required)
