"""A descriptor of an SQLite file, kept by this process for as long as any store of it has the file open.

Locks of POSIX belong to a process and a file, and closing any descriptor of the file gives all of them up, SQLite's
among them. The next program that opened and closed the database would take itself for the last one, and delete the
log in which this process goes on to commit: what was acknowledged would be gone with the process.
"""

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FileIdentity = tuple[int, int]
"""Device and inode."""


@dataclass(slots=True)
class _Kept:
    descriptor: int
    users: int = 0


_kept: Final[dict[FileIdentity, _Kept]] = {}
_changing: Final = threading.Lock()


class KeptFile:
    """One user's hold on the descriptor.

    Args:
        path: The database file; opened before SQLite locks it, or by another user already.

    Raises:
        OSError: It can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self._open = True
        with _changing:
            self.identity = _identity(os.stat(path))
            if self.identity not in _kept:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                self.identity = _identity(os.fstat(descriptor))
                _kept[self.identity] = _Kept(descriptor)
            _kept[self.identity].users += 1

    def beginning(self, length: int) -> tuple[bytes, int]:
        """Return the file's first bytes, and how many it has.

        Raises:
            OSError: It can't be read.
        """
        descriptor = _kept[self.identity].descriptor
        return os.pread(descriptor, length, 0), os.fstat(descriptor).st_size

    def close(self) -> None:
        """Let go; to be called when SQLite has closed the file. The last user's call closes the descriptor."""
        with _changing:
            if not self._open:
                return
            self._open = False
            kept = _kept[self.identity]
            kept.users -= 1
            if not kept.users:
                os.close(kept.descriptor)
                del _kept[self.identity]


def _identity(found: os.stat_result) -> FileIdentity:
    return found.st_dev, found.st_ino
