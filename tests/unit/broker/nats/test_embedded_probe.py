"""When a NATS server that has given up storing is started again."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.broker.nats import embedded_probe
from orchestrator.broker.nats.embedded_probe import StoreWatch

SET_FREE = Callable[[int], None]
FAILED = "[ERR] JetStream failed to store a msg on stream '$G > membership-requests': no space left on device\n"


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoreWatch:
    """A watch of a server whose probe has luck, with a log that tells of old trouble."""

    async def stores(_: str) -> bool:
        return True

    monkeypatch.setattr(embedded_probe, "stores", stores)
    (tmp_path / "nats.log").write_text(FAILED)
    return StoreWatch(tmp_path, "nats://token@127.0.0.1:1")


@pytest.fixture
def set_free(monkeypatch: pytest.MonkeyPatch) -> SET_FREE:
    """Say how many bytes are free of the server's file system of 12 MiB."""

    def set_free(free: int) -> None:
        usage = shutil._ntuple_diskusage(12 << 20, (12 << 20) - free, free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    set_free(8 << 20)
    return set_free


async def test_one_stream_that_takes_nothing_is_found(tmp_path: Path, watch: StoreWatch, set_free: SET_FREE) -> None:
    """A stream that failed to store is told by the log alone; one start mends it, the probe's luck does not."""
    assert [await watch.start_helps() for _ in range(3)] == [False] * 3
    with (tmp_path / "nats.log").open("a") as log:
        log.write(FAILED)
    assert [await watch.start_helps() for _ in range(3)] == [False, True, False]
    assert watch.trouble == ""


async def test_a_full_disk_is_told_and_waited_for(watch: StoreWatch, set_free: SET_FREE) -> None:
    """On a disk without room it says so and starts nothing; with room again, also a small one's, it starts once."""
    set_free(0)
    assert [await watch.start_helps() for _ in range(5)] == [False] * 5
    assert "0 KiB are free" in watch.trouble
    set_free(4 << 20)
    assert await watch.start_helps()
    assert not await watch.start_helps()
    assert watch.trouble == ""


async def test_starts_that_do_not_help_become_rare(tmp_path: Path, watch: StoreWatch, set_free: SET_FREE) -> None:
    """A server that fails again right after each start, as under a quota, is started ever more seldom."""
    starts = 0
    for _ in range(200):
        with (tmp_path / "nats.log").open("a") as log:
            log.write(FAILED)
        starts += await watch.start_helps()
    assert 1 <= starts <= 7


async def test_a_log_that_begins_anew_is_read(tmp_path: Path, watch: StoreWatch, set_free: SET_FREE) -> None:
    """A log that the server began anew is read from its beginning."""
    (tmp_path / "nats.log").write_text("short\n")
    assert not await watch.start_helps()
    (tmp_path / "nats.log").write_text("s\n")
    assert not await watch.start_helps()
    (tmp_path / "nats.log").write_text("longer than before\n" + FAILED)
    assert [await watch.start_helps() for _ in range(2)] == [False, True]
