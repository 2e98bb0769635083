"""Bounds of processor time, told as on a processor core of one's own.

Processor time is not the machine's load, and still depends on it: a core that runs two threads, and a cache that is
shared, make the same work take twice as much. What seems to take too long is compared with a known piece of work in the
same moment, and tried again. What is slow by itself is so each time, and by as much.
"""

import gc
import json
import time
from collections.abc import Callable
from typing import Final

TRIES: Final = 5

_PIECES: Final = 3
_PIECE: Final = b"[" + b'{"a":1},' * 20_000 + b"{}]"
_PIECE_SECONDS: Final = 0.003
"""What reading the piece takes where nobody else is at work."""


def slowness() -> float:
    """Return how many times as much processor time this thread needs now as on a core of its own; at least 1."""
    seconds = []
    for _ in range(_PIECES):
        began = time.thread_time()
        json.loads(_PIECE)
        seconds.append(time.thread_time() - began)
    return max(1.0, min(seconds) / _PIECE_SECONDS)


def quiet(seconds: float, most_seconds: float) -> float:
    """Return what took so much of this thread's processor time a moment ago as on a core of its own.

    Only what seems to have taken too much is compared: comparing takes 10 ms.
    """
    return seconds if seconds < most_seconds else seconds / slowness()


def assert_brief(work: Callable[[], object], most_seconds: float) -> None:
    """Fail when some work takes too much of this thread's processor time each time that it is tried.

    Args:
        work: Can be done several times.
        most_seconds: What it may take on a core of its own.
    """
    seconds = []
    for _ in range(TRIES):
        began = time.thread_time()
        work()
        seconds.append(quiet(time.thread_time() - began, most_seconds))
        if seconds[-1] < most_seconds:
            return
    raise AssertionError(f"took {min(seconds):.3f} s of processor time at the least, at most {most_seconds:g} s")


def settle() -> None:
    """Have nobody's work measured with the collection of what is kept for good; the daemon does so, too."""
    gc.collect()
    gc.freeze()
