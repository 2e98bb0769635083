"""Auditing all the time: every so many blocks, by one replica, telling what diverged and what converged again.

What subscribers were told is read from the events themselves, so that nothing else has to be remembered: a restarted
daemon, or another replica, goes on from there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

import structlog

from orchestrator.engine.audit.comparison import MOST_CALLS, AuditReport, audit
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.records import EventRecord, GroupRecord
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.runtime.isolation import contained
from orchestrator.membership.damage.divergence import ANNOUNCING, Announced, after_event, tell
from orchestrator.membership.news.status import EventType

LEASE_NAME: Final = "audit"
CHECKPOINT: Final = "audit"
TYPES: Final = tuple(sorted(kind.value for kind in ANNOUNCING))
PAGE: Final = 1_000
IDLE_SECONDS: Final = 10.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRules:
    """When and how to audit.

    Attributes:
        holder: This replica's name.
        every_blocks: An audit each so many blocks.
        confirmations: Compare so many blocks below the head.
        most_calls: JSON-RPC calls of one audit.
        lease: For how long one replica audits alone without auditing again.
        remind_after: A divergence that lasts is told again after so long.
    """

    holder: str
    every_blocks: int = 100
    confirmations: int = 0
    most_calls: int = MOST_CALLS
    lease: timedelta = timedelta(minutes=10)
    remind_after: timedelta = timedelta(days=1)


class Reached(Protocol):
    """How far an audit came."""

    @property
    def detail(self) -> str:
        """The last group that had its turn; empty when all had."""


class AuditRecord(EventRecord, Protocol):
    """What of the outbox the auditor uses. Every method may raise `StoreError`."""

    async def checkpoint(self, name: str) -> Reached | None:
        """Return a checkpoint; None when it was never saved."""

    async def save_checkpoint(self, name: str, *, position: int, detail: str = "") -> None:
        """Store a checkpoint."""


class Auditor:
    """Audits.

    Args:
        fleet: The nodes.
        groups: The store of changes.
        events: The outbox.
        clock: Time.
        rules: When and how.
    """

    def __init__(self, fleet: Fleet, groups: GroupRecord, events: AuditRecord, clock: Clock, rules: AuditRules) -> None:
        self._fleet = fleet
        self._groups = groups
        self._events = events
        self._clock = clock
        self._rules = rules
        self._announced: dict[str, Announced] = {}
        self._position = 0

    @property
    def diverged(self) -> frozenset[str]:
        """The groups whose members were last seen to differ."""
        return frozenset(self._announced)

    async def run(self) -> None:
        """Audit until cancelled: as soon as the heads of two nodes are known, then every so many blocks."""
        due = 0
        while True:
            newest = self._fleet.newest_head()
            # A head that no node has any more, of one that overstated it while no other answered, would never be due.
            due = min(due, newest + self._rules.every_blocks) if newest else due
            # By blocks and not by time: where no block is made nothing can have parted since.
            if newest == 0 or newest < due:
                await self._clock.sleep(IDLE_SECONDS)
                continue
            with contained("audit") as auditing:
                try:
                    if await self._is_ours():
                        await self.audit_once()
                    due = newest + self._rules.every_blocks
                except StoreError as error:
                    log.warning("audit not told, the store does not answer", reason=str(error))
                    await self._clock.sleep(IDLE_SECONDS)
            # A defect that comes back with each audit costs one audit each so many blocks, not all calls that the nodes
            # answer.
            if auditing.error is not None:
                due = newest + self._rules.every_blocks

    async def audit_once(self) -> AuditReport:
        """Audit now and tell what is new.

        Raises:
            StoreError: It could not be told; the next audit tells it.
        """
        # From the events, by whichever replica: an own memory would tell all divergences anew at each change of the
        # lease.
        await self._catch_up()
        reached = await self._events.checkpoint(CHECKPOINT)
        after = reached.detail if reached is not None else ""
        report = await audit(
            self._fleet,
            await self._groups.groups(),
            suspects=tuple(self._announced),
            parted=parted_by_additions(self._announced),
            after=after,
            confirmations=self._rules.confirmations,
            most_calls=self._rules.most_calls,
        )
        if report.block_number is not None and report.reached != after:
            # Kept, or groups behind what one audit reaches would never have their turn where restarts are frequent.
            await self._events.save_checkpoint(CHECKPOINT, position=report.block_number, detail=report.reached)
        events = tell(report.comparisons, self._announced, self._clock.now(), self._rules.remind_after)
        if events:
            await self._groups.announce(events)
        for event in events:
            about = {"group": event.privacy_group_id, "block": report.block_number}
            if event.type is EventType.GROUP_DIVERGED:
                log.warning("members differ", **about, since_block=event.data.get("first_block"))
            else:
                log.info("members agree again", **about)
        log.info("audited", block=report.block_number, groups=len(report.comparisons), calls=report.calls)
        return report

    async def _is_ours(self) -> bool:
        rules = self._rules
        return await self._events.acquire_lease(
            LEASE_NAME, holder=rules.holder, lease=rules.lease, now=self._clock.now()
        )

    async def _catch_up(self) -> None:
        """Read what subscribers were told since the last audit, by whichever replica."""
        self._announced, self._position = await announced_through(self._events, self._announced, self._position)


async def announced_through(
    events: EventRecord, told: Mapping[str, Announced], position: int
) -> tuple[dict[str, Announced], int]:
    """Return what subscribers know of divergences, and the position of the newest event of these types.

    Args:
        events: The outbox.
        told: What they knew up to `position`.
        position: The position.

    Raises:
        StoreError: The store does not answer.
    """
    known = dict(told)
    while True:
        page = await events.after(position, limit=PAGE, types=TYPES)
        for one in page:
            with contained("told event", position=one.position):
                known = after_event(known, one.event, one.at)
            position = one.position
        if len(page) < PAGE:
            return known, position


def parted_by_additions(told: Mapping[str, Announced]) -> dict[str, frozenset[str]]:
    """Return by group the members that an addition parted from the others."""
    return {group: announced.parted for group, announced in told.items() if announced.parted}
