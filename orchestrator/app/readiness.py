"""What has to work for the daemon to do its work, for ``/readyz``."""

from collections.abc import Awaitable, Callable

from orchestrator.api.ports import Check
from orchestrator.broker.port import Broker
from orchestrator.engine.fleet import Fleet
from orchestrator.engine.node_ports import NodeError
from orchestrator.engine.ports import BrokerError, ChangeStore, Clock, StoreError

CHECK_SECONDS = 3.0


class Readiness:
    """Looks at the store, the message queue and every node.

    Args:
        store: The durable record.
        broker: The message queue.
        fleet: The nodes.
        clock: Time.
    """

    def __init__(self, store: ChangeStore, broker: Broker, fleet: Fleet, clock: Clock) -> None:
        self._store = store
        self._broker = broker
        self._fleet = fleet
        self._clock = clock

    async def checks(self) -> tuple[Check, ...]:
        """Return what was looked at, each within a bounded time; one node that answers is enough to be ready."""
        found = [await self._check("store", self._ask_store), await self._check("broker", self._broker.check)]
        nodes = [
            await self._check(f"node {watcher.node.name}", watcher.refresh, required=False)
            for watcher in self._fleet.watchers
        ]
        answering = sum(check.ok for check in nodes)
        any_node = Check(name="nodes", ok=answering > 0, detail=f"{answering} of {len(nodes)} answer")
        return (*found, any_node, *nodes)

    async def _ask_store(self) -> None:
        """A store that is full or damaged still answers reads: only a write tells."""
        await self._store.probe()

    async def _check(self, name: str, ask: Callable[[], Awaitable[object]], *, required: bool = True) -> Check:
        try:
            await self._clock.wait_for(ask(), CHECK_SECONDS)
        except (StoreError, BrokerError, NodeError) as error:
            return Check(name=name, ok=False, required=required, detail=str(error))
        except TimeoutError:
            return Check(name=name, ok=False, required=required, detail=f"no answer in {CHECK_SECONDS} s")
        return Check(name=name, ok=True, required=required)
