"""Archives of what left the store: files of JSON lines, one file a day, and another when it is full."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from orchestrator.engine.archives.archiver import ArchiveError

LARGEST_BYTES: Final = 64 << 20
"""A file that is larger is not added to."""
_MOST_FILES: Final = 10_000
_MODE: Final = 0o600


class ArchiveFiles:
    """Appends to the newest file of a folder.

    Args:
        folder: Where the files are; made when it is missing.
        now: The time, whose day names the file.
        largest_bytes: A file of this size or more is not added to.
        kind: What is in them: what their names begin with.
    """

    def __init__(
        self,
        folder: Path,
        now: Callable[[], datetime],
        largest_bytes: int = LARGEST_BYTES,
        kind: str = "changes",
    ) -> None:
        self._kind = kind
        self._folder = folder
        self._now = now
        self._largest = largest_bytes

    def append(self, lines: Sequence[str]) -> None:
        """Append lines, and return once they are on disk, name and all.

        A line that a crash cut off is ended first: it stays as it is, and what it was of comes again.

        Raises:
            ArchiveError: They can't be written.
        """
        text = "".join(f"{line}\n" for line in lines).encode()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._place(), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, _MODE)
            try:
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    text = b"\n" + text
                _write_all(descriptor, text)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            # A new file's name is in its folder, which is written by itself: without this a power cut leaves the
            # deletion and takes the file.
            self._sync_folder()
        except OSError as error:
            raise ArchiveError(
                f"the archive in {self._folder} can't be written: {error.strerror}; make room, let the daemon's user "
                "write there, or name another folder in retention.archive_dir"
            ) from error

    def _place(self) -> Path:
        day = self._now().strftime("%Y-%m-%d")
        for number in range(1, _MOST_FILES):
            place = self._folder / f"{self._kind}-{day}-{number}.jsonl"
            with suppress(FileNotFoundError):
                if place.stat().st_size >= self._largest:
                    continue
            return place
        raise ArchiveError(f"{self._folder} has {_MOST_FILES} files of {day}: move them away")

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, text: bytes) -> None:
    view = memoryview(text)
    while view:
        view = view[os.write(descriptor, view) :]
