"""`ChangeStore` of `engine.ports` on SQL: each method is one unit of work in a worker thread."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from orchestrator.access.audit import AuditEntry
from orchestrator.engine.archives.whole_changes import ChangeVersion, WholeChange
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.records import EVERY_CHANGE, MOST_GROUPS, ChangeFilter, HistoryEntry
from orchestrator.engine.ports.store import Acceptance, Amendment, Lane, Record
from orchestrator.engine.runtime.isolation import contained
from orchestrator.instants import micros, moment
from orchestrator.membership.attempt import Attempt
from orchestrator.membership.model import Change
from orchestrator.membership.news.status import StatusEvent
from orchestrator.shared_reads import SharedReads
from orchestrator.store.commits.database import Database
from orchestrator.store.errors import UnreadableChangeError
from orchestrator.store.stores.whole_changes import VersionReader, whole_change
from orchestrator.store.units import (
    abandoned,
    acceptance,
    leases,
    listed_groups,
    marker_nonces,
    reads,
    replica_shares,
    steps,
)


class SqlChangeStore:
    """The durable record of changes; see `engine.ports.store.ChangeStore` for what each method does and raises.

    Args:
        database: An open database.
        clock: Dates status events.
        on_amended: Told of each change that was amended.
    """

    def __init__(self, database: Database, clock: Clock, on_amended: Callable[[Change], None] = lambda _: None) -> None:
        self._database = database
        self._clock = clock
        self._on_amended = on_amended
        self._work = database.news.subscribe()
        self._versions = VersionReader(database)
        self._tokens = SharedReads(self._tokens_of)

    async def accept(
        self,
        change: Change,
        body_hash: str,
        events: Sequence[StatusEvent],
        *,
        source: str = "",
        asker: str = "",
        audit: AuditEntry | None = None,
    ) -> Acceptance:
        """Store a new change with its events, unless its request is known; see the port."""
        unit = acceptance.Accept(change, body_hash, tuple(events), self._clock.now(), source, asker, audit)
        return await self._database.write(unit, key=change.privacy_group_id)

    async def unfinished(self) -> Mapping[tuple[str, str], int]:
        """Return how many changes are neither ended nor parked, by source and account."""
        return await self._database.read(leases.unfinished)

    async def probe(self) -> None:
        """Make sure that the store takes a write now."""
        await self._database.probe()

    async def announce(self, events: Sequence[StatusEvent], audit: AuditEntry | None = None) -> None:
        """Store events that belong to no change, and the entry of the audit log for them."""
        groups = {event.privacy_group_id for event in events}
        unit = partial(acceptance.announce_alone, events=events, at=self._clock.now(), audit=audit)
        await self._database.write(unit, key=groups.pop() if len(groups) == 1 else None)

    async def claim(
        self,
        *,
        holder: str,
        lease: timedelta,
        limit: int,
        now: datetime,
        held: Mapping[str, int] | None = None,
        most_of_source: int | None = None,
        able: bool = True,
    ) -> tuple[Lane, ...]:
        """Take up to `limit` lanes that have something to do and that nobody holds, of each source in turn."""
        self._work.clear()  # what comes due from here on ends the next `wait_for_work`
        shares = leases.Shares(limit=limit, held=held or {}, most_of_source=most_of_source)
        unreadable: list[UnreadableChangeError] = []
        unit = partial(leases.claim, holder=holder, now=micros(now), lease_until=micros(now + lease), shares=shares)
        lanes = await self._database.write(partial(unit, unreadable=unreadable, able=able))
        for error in unreadable:
            with contained("unreadable change", why=str(error)):
                raise error
        return lanes

    async def renew(
        self, *, holder: str, lease: timedelta, now: datetime, groups: Collection[str] | None = None
    ) -> frozenset[str]:
        """Prolong a holder's leases, all or those of `groups`; returns those that it still holds of them."""
        return await self._database.write(
            partial(leases.renew, holder=holder, lease_until=micros(now + lease), groups=groups)
        )

    async def others(self, *, holder: str, now: datetime) -> int:
        """Return how many replicas there are beside this one that can work."""
        return await self._database.read(partial(replica_shares.others, holder=holder, now=micros(now)))

    async def forget(self, *, name: str) -> frozenset[str]:
        """Give back what the earlier lives of a name, or one holder, left held; return the groups of its lanes."""
        return await self._database.write(partial(abandoned.forget, name=name))

    async def holds(self, lane: Lane) -> bool:
        """Return whether a lane is still ours."""
        return await self._tokens.of(lane.privacy_group_id) == lane.token

    async def _tokens_of(self, groups: Sequence[str]) -> Mapping[str, int | None]:
        found = await self._database.read(partial(leases.tokens_of, groups=groups))
        return {group: found.get(group) for group in groups}

    async def release(self, lane: Lane, *, now: datetime) -> None:
        """Give a lane back; does nothing when it is not ours any more."""
        await self._database.write(partial(leases.release, lane=lane, now=micros(now)), key=lane.privacy_group_id)

    async def load(self, lane: Lane, *, now: datetime) -> Lane:
        """Return the same lane with its changes as they are now."""
        return await self._database.read(partial(leases.load, lane=lane, now=micros(now)))

    async def record(self, lane: Lane, record: Record) -> None:
        """Commit one step."""
        unit = steps.Step(lane, record, self._clock.now())
        await self._database.write(unit, key=lane.privacy_group_id)

    async def amend(self, change_id: str, amendment: Amendment, audit: AuditEntry | None = None) -> Change:
        """Commit an operator's request; the amendment may be made more than once, of which one is committed."""
        unit = partial(steps.amend, change_id=change_id, amendment=amendment, at=self._clock.now(), audit=audit)
        amended = await self._database.write(unit)
        self._on_amended(amended)
        return amended

    async def change(self, change_id: str) -> Change | None:
        """Return a change."""
        return await self._database.read(partial(reads.change_by_id, change_id=change_id))

    async def version(self, change_id: str) -> ChangeVersion | None:
        """Return which state of a change is stored; None when there is none."""
        return await self._versions.version(change_id)

    async def whole(self, change_id: str) -> WholeChange | None:
        """Return a change with all that belongs to it; None when there is none."""
        return await self._database.read(partial(whole_change, change_id=change_id))

    async def changes(
        self, wanted: ChangeFilter = EVERY_CHANGE, *, limit: int = 100, before: str = ""
    ) -> tuple[Change, ...]:
        """Return changes, newest first; `before` is the id to go on after."""
        return await self._database.read(partial(reads.newest_changes, wanted=wanted, limit=limit, before=before))

    async def count(self, wanted: ChangeFilter = EVERY_CHANGE) -> int:
        """Return how many changes are meant."""
        return await self._database.read(partial(reads.count_changes, wanted=wanted))

    async def groups_asked_for(self, *, limit: int = 10_000) -> tuple[str, ...]:
        """Return the ids of groups that changes were asked for, those with the newest change first."""
        return await self._database.read(partial(listed_groups.groups_asked_for, limit=limit))

    async def groups(self, *, limit: int = MOST_GROUPS) -> tuple[str, ...]:
        """Return the ids of groups that a change succeeded in."""
        return await self._database.read(partial(listed_groups.changed_groups, limit=limit))

    async def history(self, change_id: str) -> tuple[HistoryEntry, ...]:
        """Return what happened to a change, oldest first."""
        return await self._database.read(partial(reads.history_of_change, change_id=change_id))

    async def attempts(self, change_id: str) -> tuple[Attempt, ...]:
        """Return the attempts of a change (of its lead, for a follower), oldest first."""
        return await self._database.read(partial(reads.attempts_of_change, change_id=change_id))

    async def locks(self, privacy_group_id: str) -> tuple[Attempt, ...]:
        """Return the newest locks that were signed for a group, newest first."""
        return await self._database.read(partial(reads.locks_of_group, privacy_group_id=privacy_group_id))

    async def is_ours(self, pmt_hash: str) -> bool:
        """Return whether a marker is of one of our newest additions."""
        return await self._database.read(partial(reads.has_marker, pmt_hash=pmt_hash))

    async def groups_of_additions(self, pmt_hashes: Collection[str]) -> Mapping[str, str]:
        """Return by marker the groups of those additions that are our own, as far as they are new."""
        unit = partial(reads.groups_of_additions, pmt_hashes=frozenset(pmt_hashes))
        return await self._database.read(unit)

    async def reserve_marker_nonce(self, account: str, account_nonce: int, attempt_id: str) -> bool:
        """Give a marker account's nonce to an attempt; see `engine.attempts.marker_accounts.Ledger`."""
        now = micros(self._clock.now())
        unit = partial(
            marker_nonces.reserve, account=account, account_nonce=account_nonce, attempt_id=attempt_id, now=now
        )
        return await self._database.write(unit, key=account)

    async def free_marker_nonce(self, account: str, account_nonce: int, attempt_id: str) -> None:
        """Take a marker account's nonce back from an attempt that was never stored."""
        unit = partial(marker_nonces.free, account=account, account_nonce=account_nonce, attempt_id=attempt_id)
        await self._database.write(unit, key=account)

    async def next_due(self) -> datetime | None:
        """Return when the next lane can be claimed; None when there is nothing to do."""
        due_at = await self._database.read(leases.next_due)
        return None if due_at is None else moment(due_at)

    async def wait_for_work(self, seconds: float) -> None:
        """Return when a lane may have come due since the last `claim` began, at the latest after so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._work.wait()
        self._work.clear()
