from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.app.metrics import Metrics
from orchestrator.app.store_growth import LARGE_BYTES, MANY_CHANGES, SizeWatch, examine_growth, growth_parts
from orchestrator.config import Config
from orchestrator.doctor.findings import Level
from orchestrator.engine.archives.archiver import Archiver
from orchestrator.store import Database, SqlChangeStore, SqlOutbox
from orchestrator.store.commits.transaction import Transaction
from orchestrator.store.database.size import StoreSize
from orchestrator.store.schema import changes
from tests.fakes.changes import a_change
from tests.fakes.clock import JumpingClock

NODE = {"name": "a", "http": "http://127.0.0.1:1", "enclave_keys": ["BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="]}


def configured(**retention: Any) -> Config:
    return Config.model_validate({"nodes": [NODE], "retention": retention})


def levels(config: Config, size: StoreSize) -> dict[str, Level]:
    return {finding.check: finding.level for finding in examine_growth(config, size)}


@pytest.mark.parametrize(
    ("size", "level"),
    [
        (StoreSize(size_bytes=0, rows={"changes": MANY_CHANGES - 1}), Level.OK),
        (StoreSize(size_bytes=0, rows={"changes": MANY_CHANGES}), Level.WARNING),
        (StoreSize(size_bytes=LARGE_BYTES, rows={"changes": 1}), Level.WARNING),
    ],
)
def test_a_large_store_that_grows_for_ever_is_told(size: StoreSize, level: Level) -> None:
    """Without an archive the doctor warns once the store is large."""
    assert levels(configured(), size) == {"store-size": level}


def test_an_archive_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    """With an archive the size is no trouble; a place that is no folder is."""
    large = StoreSize(size_bytes=LARGE_BYTES, rows={"changes": MANY_CHANGES})
    config = configured(archive_dir=str(tmp_path / "new" / "archive"))
    assert levels(config, large) == {"store-size": Level.OK}
    (tmp_path / "file").write_text("")
    config = configured(archive_dir=str(tmp_path / "file" / "archive"))
    assert levels(config, large) == {"store-size": Level.OK, "archive": Level.WARNING}


async def test_the_store_is_measured() -> None:
    """The measure says how many rows the growing tables have, and what the store takes on disk."""
    async with Database("sqlite://") as database:
        store = SqlChangeStore(database, JumpingClock())
        for name in "123":
            await store.accept(a_change(name), "hash", ())
        clock = JumpingClock()
        watch = SizeWatch(database, clock)
        with pytest.raises(TimeoutError):
            await clock.wait_for(watch.run(), 1)
        assert watch.size is not None
        assert watch.size.rows == {"changes": 3, "attempts": 0, "history": 0, "outbox": 0}
        assert watch.size.size_bytes > 4096


async def test_an_archive_is_kept_where_one_is_named(tmp_path: Path) -> None:
    """With a folder the daemon archives into it after so many days; without one it only measures."""
    async with Database("sqlite://") as database:
        clock = JumpingClock()
        store = SqlChangeStore(database, clock)
        for name in "12":
            await store.accept(a_change(name), "hash", ())

        def end(transaction: Transaction) -> None:
            transaction.connection.execute(changes.update().values(state="succeeded"))

        await database.write(end)
        engine: Any = SimpleNamespace(
            database=database,
            outbox=SqlOutbox(database),
            clock=clock,
            holder="one",
            metrics=Metrics(lambda: 0, lambda: ()),
        )
        (watch,) = growth_parts(configured(), engine)
        assert isinstance(watch, SizeWatch)
        engine.metrics = Metrics(lambda: 0, lambda: ())
        parts = growth_parts(configured(archive_dir=str(tmp_path / "archive"), changes_days=1), engine)
        (archiver,) = [part for part in parts if isinstance(part, Archiver)]
        assert await archiver.sweep() == 0
        await clock.sleep(86_401)
        assert await archiver.sweep() == 1
    (file,) = (tmp_path / "archive").iterdir()
    assert '"change_id":"change-1"' in file.read_text()
