"""Which changes leave a store, and that they are in the archive before, on both databases."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.engine.archives.archiver import Archiver
from orchestrator.engine.archives.changes import BATCH, OldChanges
from orchestrator.engine.ports.store import Lane, StoreError
from orchestrator.membership.attempt import Action, Attempt, AttemptStatus
from orchestrator.membership.model import Change, State
from orchestrator.store import Database, SqlChangeStore, SqlOutbox
from orchestrator.store.copies.archive_files import ArchiveFiles
from orchestrator.store.database.size import store_size
from orchestrator.store.schema import attempts, changes, history
from orchestrator.store.stores.archive_store import SqlEndedChanges
from tests.fakes.changes import a_change, a_step, an_attempt, led, stepped
from tests.fakes.clock import START, JumpingClock

KEEP = timedelta(days=30)
LONG_AFTER = timedelta(days=40)


class Archived:
    """An archiver on a store, and what it wrote."""

    def __init__(self, database: Database, clock: JumpingClock, folder: Path) -> None:
        self.changes = SqlEndedChanges(database)
        self.outbox = SqlOutbox(database)
        self.clock = clock
        self.folder = folder
        self.files = ArchiveFiles(folder, clock.now)

    async def sweep(self, changes: SqlEndedChanges | None = None) -> int:
        old = OldChanges(changes or self.changes, self.files.append, self.clock)
        return await Archiver(old, "archiving", self.outbox, self.clock, "one", KEEP).sweep()

    def lines(self) -> list[dict[str, object]]:
        files = sorted(self.folder.glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def ids(self) -> list[str]:
        return [str(line["change"]["change_id"]) for line in self.lines()]  # type: ignore[index] # parsed JSON, of which each value is an object to mypy


@pytest.fixture
def archived(database: Database, clock: JumpingClock, tmp_path: Path) -> Archived:
    return Archived(database, clock, tmp_path / "archive")


async def ended(
    store: SqlChangeStore, name: str, *tried: Attempt, group: str = "g", state: State = State.SUCCEEDED
) -> Change:
    """A change that ran and ended, at `START`, with its attempts."""
    change = a_change(name, group)
    await store.accept(change, "hash", ())
    lane = await lane_of(store)
    first = led(change)
    await store.record(lane, a_step(change, first))
    for attempt in tried:
        second = stepped(first, State.LOCKING, attempt=attempt)
        await store.record(lane, a_step(first, second, attempt))
        first = second
    last = stepped(first, state)
    await store.record(lane, replace(a_step(first, last), events=()))
    await store.release(lane, now=START)
    return last


async def lane_of(store: SqlChangeStore) -> Lane:
    (lane,) = await store.claim(holder="one", lease=timedelta(seconds=10), limit=1, now=START + timedelta(seconds=1))
    return lane


async def without_events(outbox: SqlOutbox, clock: JumpingClock) -> None:
    """Let time pass until everything is old, and its events were published and deleted."""
    clock.time = START + LONG_AFTER
    positions = [stored.position for stored in await outbox.after(0, limit=10_000)]
    await outbox.mark_published(positions, at=clock.now())
    last, now = await outbox.last_position(), clock.now()
    while (await outbox.delete_published(before=now, now=now, after=0, through_position=last)).deleted:
        pass


def over(name: str, action: Action = Action.ADD) -> Attempt:
    return an_attempt(name, AttemptStatus.EFFECTIVE, action=action)


async def test_old_changes_go_whole_into_the_archive(
    store: SqlChangeStore, outbox: SqlOutbox, archived: Archived, database: Database
) -> None:
    """What ended long ago is archived with attempts and history, closed to others, and nothing of it is left behind."""
    for name in ("1", "2", "3"):
        await ended(store, name, over(name))
    await without_events(outbox, archived.clock)
    assert await archived.sweep() == 2
    assert archived.ids() == ["change-1", "change-2"]
    (line, _) = archived.lines()
    assert line["attempts"][0]["attempt_id"] == "attempt-1"  # type: ignore[index] # parsed JSON, of which each value is an object to mypy
    assert line["attempts"][0]["raw"] == b"signed 1".hex()  # type: ignore[index] # parsed JSON, of which each value is an object to mypy
    assert [entry["revision"] for entry in line["history"]] == [1, 2, 3]  # type: ignore[attr-defined] # parsed JSON, of which each value is an object to mypy
    (file,) = archived.folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"key of 1".hex() not in file.read_text(), "a private key is in the archive"
    counts = await database.read(
        lambda connection: [
            connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in (changes, attempts, history)
        ]
    )
    assert counts == [1, 1, 3]
    assert await archived.sweep() == 0


async def test_young_changes_stay(store: SqlChangeStore, outbox: SqlOutbox, archived: Archived) -> None:
    """A change stays for as long as it is said after its end, so that its request is recognised when it comes again."""
    change = await ended(store, "1")
    await ended(store, "2")
    await without_events(outbox, archived.clock)
    archived.clock.time = START + KEEP
    assert await archived.sweep() == 0
    assert (await store.accept(a_change("1"), "hash", ())).change.change_id == change.change_id
    archived.clock.time = START + KEEP + timedelta(seconds=1)
    assert await archived.sweep() == 1


async def test_what_is_needed_stays(store: SqlChangeStore, outbox: SqlOutbox, archived: Archived) -> None:
    """However old: what did not end, what may still execute, a lock that may be in force, and each group's newest."""
    await ended(store, "parked", group="a", state=State.PARKED)
    await ended(store, "live", an_attempt("live", AttemptStatus.SENT), group="b")
    await ended(store, "lock", an_attempt("lock", AttemptStatus.EFFECTIVE), group="c", state=State.CANCELLED)
    await ended(store, "newest that succeeded", group="d")
    for group in ("a", "b", "c", "d"):
        await ended(store, f"newest of {group}", group=group, state=State.FAILED)
    before = await store.groups(), await store.groups_asked_for()
    await without_events(outbox, archived.clock)
    assert await archived.sweep() == 0
    assert (await store.groups(), await store.groups_asked_for()) == before
    assert [lock.attempt_id for lock in await store.locks("c")] == ["attempt-lock"]


async def test_a_lock_that_was_undone_goes(store: SqlChangeStore, outbox: SqlOutbox, archived: Archived) -> None:
    """A failed change's lock is needed until a later change added to the group or unlocked it."""
    await ended(store, "lock", an_attempt("lock", AttemptStatus.EFFECTIVE), state=State.FAILED)
    await ended(store, "unlock", over("unlock", Action.UNLOCK))
    await ended(store, "later")
    await without_events(outbox, archived.clock)
    assert await archived.sweep() == 2
    assert archived.ids() == ["change-lock", "change-unlock"]


async def test_a_change_stays_with_its_events(store: SqlChangeStore, outbox: SqlOutbox, archived: Archived) -> None:
    """Whoever resumes from an event that is still there, published or not, finds its change."""
    await ended(store, "1")
    await ended(store, "2")
    archived.clock.time = START + LONG_AFTER
    assert await archived.sweep() == 0
    await without_events(outbox, archived.clock)
    assert await archived.sweep() == 1


async def test_a_nonce_of_a_marker_account_keeps_its_attempt(
    store: SqlChangeStore, outbox: SqlOutbox, archived: Archived
) -> None:
    """The attempt that a marker account's newest nonce was given to stays: the nonce would look free again."""
    await ended(store, "1", over("1"))
    await ended(store, "2")
    assert await store.reserve_marker_nonce("0xaccount", 7, "attempt-1")
    await without_events(outbox, archived.clock)
    assert await archived.sweep() == 0
    assert not await store.reserve_marker_nonce("0xaccount", 7, "attempt-9")


async def test_a_death_between_archive_and_deletion_loses_nothing(
    store: SqlChangeStore, outbox: SqlOutbox, archived: Archived
) -> None:
    """When the store fails after the archive was written, the changes are archived once more, and each is there."""

    class Dying(SqlEndedChanges):
        async def delete(self, change_ids: Sequence[str], *, before: datetime) -> int:
            raise StoreError(f"gone before {len(change_ids)} changes of {before} were")

    for name in ("1", "2", "3"):
        await ended(store, name)
    await without_events(outbox, archived.clock)
    with pytest.raises(StoreError):
        await archived.sweep(Dying(archived.changes._database))
    assert await store.change("change-1") is not None
    assert await archived.sweep() == 2
    assert archived.ids() == ["change-1", "change-2", "change-1", "change-2"]


async def test_many_changes_go_in_small_transactions(
    store: SqlChangeStore, outbox: SqlOutbox, archived: Archived, database: Database
) -> None:
    """No transaction deletes more than a batch, and those that stay in between do not hide those behind them."""
    number = 2 * BATCH + 10
    for name in range(number):
        await store.accept(a_change(str(name), f"g{name % 5}"), "hash", ())

    def end(transaction: object) -> None:
        done = changes.update().where(changes.c.change_id != "change-3").values(state=State.SUCCEEDED.value)
        transaction.connection.execute(done)  # type: ignore[attr-defined] # as the store runs units

    await database.write(end)
    await without_events(outbox, archived.clock)
    sizes: list[int] = []

    class Counting(SqlEndedChanges):
        async def delete(self, change_ids: Sequence[str], *, before: datetime) -> int:
            sizes.append(len(change_ids))
            return await super().delete(change_ids, before=before)

    assert await archived.sweep(Counting(database)) == number - 6
    assert len(archived.ids()) == number - 6
    assert "change-3" not in archived.ids()
    assert max(sizes) <= BATCH
    assert len(sizes) == 3


async def test_one_replica_archives(store: SqlChangeStore, outbox: SqlOutbox, archived: Archived) -> None:
    """While another replica archives, this one does not."""
    await ended(store, "1")
    await ended(store, "2")
    await without_events(outbox, archived.clock)
    assert await outbox.acquire_lease("archive", holder="two", lease=KEEP, now=archived.clock.now())
    assert await archived.sweep() == 0
    await outbox.release_lease("archive", holder="two")
    assert await archived.sweep() == 1


async def test_an_unfinished_change_comes_while_others_go(
    store: SqlChangeStore, outbox: SqlOutbox, archived: Archived
) -> None:
    """Requests are taken and groups are worked on while old changes go."""
    for name in range(20):
        await ended(store, str(name))
    await without_events(outbox, archived.clock)
    taken, gone = await asyncio.gather(store.accept(a_change("new"), "hash", ()), archived.sweep())
    assert not taken.duplicate
    assert gone in (19, 20)
    assert await store.change("change-new") is not None


async def test_the_size_is_known(store: SqlChangeStore, database: Database) -> None:
    """Both databases say how many changes there are, and what all of it takes on disk."""
    for name in range(7):
        await store.accept(a_change(str(name)), "hash", ())
    size = await database.read(store_size)
    assert size.rows["changes"] == 7
    assert set(size.rows) == {"changes", "attempts", "history", "outbox"}
    assert size.size_bytes > 10_000
