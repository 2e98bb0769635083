"""What additions take: forecast when they begin, measured while they run, kept for the next ones.

Measuring never holds a change up, and what can't be kept is lost: the worker's steps are noted as they are committed,
and a part of the daemon of its own reads the nodes' lines and writes. What began in another process is not measured,
since it is not known when it began.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

from orchestrator.bounded_dicts import BoundedDict
from orchestrator.engine.history.work import Work
from orchestrator.engine.nodes.bundling_times import BundlingBook
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.records import AdditionTime, TimeStore
from orchestrator.engine.runtime.isolation import contained
from orchestrator.membership.forecast.durations import (
    BYTES_OF_A_SMALL_TRANSACTION,
    NEWEST,
    Durations,
    Expected,
    ExpectedReplayTime,
    Quantity,
    Sample,
    block_period,
    blocks_behind,
    error_of,
    expected,
    expected_lock,
)
from orchestrator.membership.model import Change, ExpectedReplay, State, Verdict

MOST_NOTES: Final = 10_000
"""Steps that wait to be looked at, and additions that are timed: beyond, the oldest are not measured."""

MOST_FORECASTS: Final = 1_000
"""Additions whose forecast is in memory until it can be compared; of older ones it is read."""

NOTES_AT_ONCE: Final = 256
"""Steps whose times are kept in one commit."""

REMEMBERED_SECONDS: Final = 30.0
"""For so long it is not looked what other replicas measured since."""

ReadWork = Callable[[str], Awaitable[Work]]
"""Returns by group its blocks, and the private transactions in each."""


class AdditionTimes:
    """Forecasts what additions take, and measures it.

    Args:
        store: Keeps it.
        fleet: The nodes.
        work: Tells what a group's blocks hold.
        bundling: What the last addition's bundle took.
        clock: Time.
        period_seconds: Between two blocks, as configured: what was measured goes before.
        on_error: Told of each forecast that is over, and by which part of the truth it was off.
    """

    def __init__(
        self,
        store: TimeStore,
        fleet: Fleet,
        work: ReadWork,
        bundling: BundlingBook,
        clock: Clock,
        period_seconds: float,
        on_error: Callable[[Quantity, float], None],
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._work = work
        self._bundling = bundling
        self._clock = clock
        self._period_seconds = period_seconds
        self._on_error = on_error
        self._notes: asyncio.Queue[Callable[[], Awaitable[Sequence[AdditionTime]]]] = asyncio.Queue(MOST_NOTES)
        self._locked_at: BoundedDict[str, datetime] = BoundedDict(MOST_NOTES)
        self._added_at: BoundedDict[str, datetime] = BoundedDict(MOST_NOTES)
        self._forecast: BoundedDict[str, tuple[AdditionTime, ...]] = BoundedDict(MOST_FORECASTS)
        self._newest: dict[tuple[str, str, Quantity], tuple[AdditionTime, ...]] = {}
        self._newest_at: datetime | None = None

    # --- forecasting -------------------------------------------------------------------------------------------------

    async def durations(
        self, privacy_group_id: str, sender: str, replays: Sequence[ExpectedReplay]
    ) -> Durations | None:
        """Return what an addition will take; None when the group's history is not known.

        Args:
            privacy_group_id: The group.
            sender: Name of the node that sends.
            replays: What new members' nodes have to replay; those that nobody can see are left out.

        Raises:
            NodeError: The sender does not say its line.
            StoreError: What is kept can't be read.
        """
        transactions = sum(number for _, number in await self._work(privacy_group_id))
        if not transactions:
            return None
        bundling = await self._expected(Quantity.BUNDLING, sender, transactions)
        locks = await self._measured(Quantity.LOCK, sender)
        period = block_period(_samples(locks), self._period_seconds)
        found = []
        for replay in replays:
            if replay.node is not None and replay.blocks:
                time = await self._expected(Quantity.REPLAY, replay.node, replay.transactions or replay.blocks)
                behind = blocks_behind(time, period)
                found.append(ExpectedReplayTime(enclave_key=replay.enclave_key, time=time, blocks_behind=behind))
        return Durations(
            transactions=transactions,
            bundle_bytes=transactions * BYTES_OF_A_SMALL_TRANSACTION,
            bundling=bundling,
            lock=expected_lock(bundling, period),
            replays=tuple(found),
        )

    async def _expected(self, quantity: Quantity, node: str, transactions: int) -> Expected:
        return expected(quantity, transactions, _samples(await self._measured(quantity, node)))

    async def _measured(self, quantity: Quantity, node: str) -> tuple[AdditionTime, ...]:
        """Return what was measured last; a hundred additions that begin together look once."""
        now, key = self._clock.now(), (node, await self._line(node), quantity)
        # A time in the future was set before the clock was set back.
        if self._newest_at is None or not 0 <= (now - self._newest_at).total_seconds() < REMEMBERED_SECONDS:
            self._newest, self._newest_at = {}, now
        if key not in self._newest:
            self._newest[key] = await self._store.newest(*key, NEWEST)
        return self._newest[key]

    async def _line(self, node: str) -> str:
        traits = await self._fleet.named(node).node.traits()
        return ".".join(map(str, traits.besu_version))

    # --- measuring ---------------------------------------------------------------------------------------------------

    def on_step(self, before: Change, after: Change) -> None:
        """Note a committed step of the worker."""
        if before.plan is None and after.plan is None:
            return
        now = self._clock.now()
        # Of a batch once: the lead's transactions are everybody's.
        if after.state is State.LOCKING is not before.state and after.leads:
            self._note(partial(self._begun, after))
        elif before.state is State.LOCKING and after.state is State.ADDING and after.leads:
            self._locked_at[after.change_id] = now
        elif before.state is State.ADDING and after.state is State.REPLAYING:
            self._added_at[after.change_id] = now
            # Missing when the lock was taken by another process: how long it lasted is not known then.
            locked_at = self._locked_at.pop(after.change_id, None)
            if before.leads and locked_at is not None:
                locked = (now - locked_at).total_seconds()
                self._note(partial(self._added, before, after, locked))
        if after.change_id in self._added_at and after.state in (State.REPLAYING, State.SUCCEEDED):
            self._replayed(before, after, now)
        if after.state in (State.SUCCEEDED, State.PARKED, State.FAILED, State.QUEUED):
            self._added_at.pop(after.change_id, None)

    def _replayed(self, before: Change, after: Change, now: datetime) -> None:
        done = {entry.enclave_key for entry in before.progress if entry.verdict is not Verdict.REPLAYING}
        taken = (now - self._added_at[after.change_id]).total_seconds()
        for entry in after.progress:
            seen = entry.verdict is Verdict.IN_SYNC and entry.attested_by is None
            if seen and entry.enclave_key in after.members and entry.enclave_key not in done:
                self._note(partial(self._keep_replay, after, entry.enclave_key, taken))

    def _note(self, work: Callable[[], Awaitable[Sequence[AdditionTime]]]) -> None:
        if not self._notes.full():
            self._notes.put_nowait(work)

    async def run(self) -> None:
        """Keep what was noted, until cancelled."""
        while True:
            notes = [await self._notes.get()]
            while not self._notes.empty() and len(notes) < NOTES_AT_ONCE:
                notes.append(self._notes.get_nowait())
            times: list[AdditionTime] = []
            for note in notes:
                with contained("durations"):
                    times += await note()
            with contained("durations"):
                await self._keep(times)

    async def _keep(self, times: Sequence[AdditionTime]) -> None:
        # What began and ended meanwhile is kept as it ended.
        newest = {(time.change_id, time.quantity, time.enclave_key): time for time in times}
        await self._store.keep(list(newest.values()))
        for time in times:
            if time.taken_seconds is not None:
                self._newest.pop((time.node, time.besu_version, time.quantity), None)
            if time.expected_seconds is not None and time.taken_seconds is not None:
                self._on_error(time.quantity, error_of(time.expected_seconds, time.taken_seconds))

    async def _begun(self, change: Change) -> Sequence[AdditionTime]:
        plan = change.plan
        found = await self.durations(change.privacy_group_id, plan.node, plan.replays) if plan is not None else None
        if plan is None or found is None:
            return ()
        sender = await self._time(change, Quantity.BUNDLING, "", plan.node, found.transactions)
        times = [
            replace(sender, expected_seconds=found.bundling.likely_seconds),
            replace(sender, quantity=Quantity.LOCK, expected_seconds=found.lock.likely_seconds),
        ]
        for item in found.replays:
            replay = next(entry for entry in plan.replays if entry.enclave_key == item.enclave_key)
            time = await self._time(
                change, Quantity.REPLAY, item.enclave_key, replay.node or "", replay.transactions or replay.blocks
            )
            times.append(replace(time, expected_seconds=item.time.likely_seconds))
        self._forecast[change.change_id] = tuple(times)
        return times

    async def _added(self, before: Change, after: Change, locked_seconds: float) -> Sequence[AdditionTime]:
        if after.plan is None or after.effect is None or before.lock_block is None:
            return ()
        blocks, now = after.effect.block_number - before.lock_block, self._clock.now()
        taken = self._bundling.last(after.plan.node, after.privacy_group_id)
        measured = {Quantity.LOCK: (locked_seconds, blocks), Quantity.BUNDLING: (taken, 0)}
        known = [time for time in await self._forecast_of(after.change_id) if time.quantity in measured]
        return [
            replace(time, taken_seconds=measured[time.quantity][0], blocks=measured[time.quantity][1], at=now)
            for time in known
        ]

    async def _keep_replay(self, change: Change, key: str, taken_seconds: float) -> Sequence[AdditionTime]:
        lead = change.lead_id or change.change_id  # the forecast is of the whole batch
        known = [time for time in await self._forecast_of(lead) if time.enclave_key == key]
        return [replace(time, taken_seconds=taken_seconds, at=self._clock.now()) for time in known]

    async def _forecast_of(self, change_id: str) -> Sequence[AdditionTime]:
        """Return what was forecast of an addition, by this process or by one that stopped."""
        return self._forecast.get(change_id) or await self._store.of_change(change_id)

    async def _time(self, change: Change, quantity: Quantity, key: str, node: str, transactions: int) -> AdditionTime:
        return AdditionTime(
            change_id=change.change_id,
            quantity=quantity,
            enclave_key=key,
            node=node,
            besu_version=await self._line(node),
            transactions=transactions,
            at=self._clock.now(),
        )


def _samples(times: Sequence[AdditionTime]) -> list[Sample]:
    return [
        Sample(transactions=time.transactions, seconds=time.taken_seconds, blocks=time.blocks)
        for time in times
        if time.taken_seconds is not None
    ]
