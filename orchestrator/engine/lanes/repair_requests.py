"""Asking for repairs: a change that is parked since its new members lost the addition is to mend that itself, once.

Off unless a deployment asks for it. What is done is decided in the change's own preflight, from what is true then
(`orchestrator.membership.repair`); here only is asked, while the members' nodes answer.
"""

from typing import Protocol

import structlog

from orchestrator.engine.lanes.records import record_of
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.records import ChangeFilter, ChangeList
from orchestrator.engine.ports.store import Amender, LeaseLostError, Record, StoreError
from orchestrator.engine.runtime.isolation import contained, repeated
from orchestrator.membership.errors import RefusedRequestError
from orchestrator.membership.facts import RepairRequested
from orchestrator.membership.heads import BEHIND_BLOCKS
from orchestrator.membership.machine import step
from orchestrator.membership.model import Change, Repair, State
from orchestrator.membership.repair import repair_of

EVERY_SECONDS = 10.0
MOST_PARKED = 100

log = structlog.get_logger()


class ParkedChanges(ChangeList, Amender, Protocol):
    """What of `orchestrator.engine.ports.store.ChangeStore` repairs use. Every method may raise `StoreError`."""


class Repairer:
    """Asks for repairs of lost additions.

    Args:
        store: The store of changes.
        fleet: The nodes.
        clock: Time.
    """

    def __init__(self, store: ParkedChanges, fleet: Fleet, clock: Clock) -> None:
        self._store = store
        self._fleet = fleet
        self._clock = clock

    async def run(self) -> None:
        """Look for parked changes and ask for their repairs until cancelled."""
        await repeated("repairs", self.repair_parked, self._clock, EVERY_SECONDS)

    async def repair_parked(self) -> None:
        """Ask once for each repair that is due.

        Raises:
            StoreError: The store does not answer.
        """
        for change in await self._store.changes(ChangeFilter(states=(State.PARKED,)), limit=MOST_PARKED):
            with contained("repair", StoreError, change_id=change.change_id):
                repair = repair_of(change)
                if repair is not None and self._can_be_looked_at(repair):
                    await self._ask(change)

    def _can_be_looked_at(self, repair: Repair) -> bool:
        """Whether the members' nodes keep up with the chain: a repair holds its group's other changes up."""
        newest = self._fleet.newest_head()
        hosts = [self._fleet.hosting(key) for key in repair.members]
        heads = [watcher.head for watcher in hosts if watcher is not None and watcher.head is not None]
        return len(heads) == len(hosts) and all(newest - head.number <= BEHIND_BLOCKS for head in heads)

    async def _ask(self, change: Change) -> None:
        fact = RepairRequested()
        now = self._clock.now()

        def amendment(found: Change) -> Record:
            return record_of([(found, step(found, fact, now))], fact, now)

        try:
            await self._store.amend(change.change_id, amendment)
        except (RefusedRequestError, LeaseLostError, KeyError) as error:
            log.debug("repair not asked for", change_id=change.change_id, reason=str(error))
            return
        log.warning("lost addition is to be repaired", change_id=change.change_id, group=change.privacy_group_id)
