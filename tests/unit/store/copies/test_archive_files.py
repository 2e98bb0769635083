import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.engine.archives.archiver import ArchiveError
from orchestrator.store.copies.archive_files import ArchiveFiles

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.fixture
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_usual_umask")
def test_files_are_closed_to_others_and_grow_to_a_bound(tmp_path: Path) -> None:
    """A day's lines are in one file, mode 0600 in a folder of mode 0700, until it is full; then in the next."""
    files = ArchiveFiles(tmp_path / "archive", lambda: NOON, largest_bytes=10)
    for line in ("12345", "67890", "later"):
        files.append([line])
    found = sorted((tmp_path / "archive").iterdir())
    assert [path.name for path in found] == ["changes-2026-03-04-1.jsonl", "changes-2026-03-04-2.jsonl"]
    assert [path.read_text() for path in found] == ["12345\n67890\n", "later\n"]
    assert {path.stat().st_mode & 0o777 for path in found} == {0o600}
    assert (tmp_path / "archive").stat().st_mode & 0o777 == 0o700


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    """After a crash amid a line the next one begins on a line of its own."""
    files = ArchiveFiles(tmp_path, lambda: NOON)
    files.append(["whole"])
    with (tmp_path / "changes-2026-03-04-1.jsonl").open("a") as file:
        file.write('{"change": {"chan')
    files.append(["next"])
    lines = (tmp_path / "changes-2026-03-04-1.jsonl").read_text().splitlines()
    assert lines == ["whole", '{"change": {"chan', "next"]


def test_what_can_not_be_written_is_told(tmp_path: Path) -> None:
    """A folder that can't be written, or a disk that is full, is told with what to do."""
    (tmp_path / "archive").write_text("a file")
    with pytest.raises(ArchiveError, match=r"can't be written: .*retention\.archive_dir"):
        ArchiveFiles(tmp_path / "archive", lambda: NOON).append(["line"])
