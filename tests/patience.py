"""How long tests wait for what comes about by itself, on a machine that others use, too."""

import math
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def patient(seconds: float) -> float:
    """Return a limit for waiting: so long where each who wants a processor has one, and longer where they share them.

    Args:
        seconds: What it may take on a machine of one's own. What takes longer there fails here as well.
    """
    return seconds * max(1.0, _at_work() / (os.cpu_count() or 1))


def _at_work() -> float:
    """Return how many want a processor: now, or in the last minute, whatever is more. The average rises slowly."""
    now = 0
    with suppress(OSError, ValueError, IndexError):
        now = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])
    return max(os.getloadavg()[0], now)


def within(seconds: float, most: float = math.inf) -> Iterator[None]:
    """Yield as long as there is patience: the load may rise while something is waited for.

    Args:
        seconds: See `patient`.
        most: No longer than so many seconds, however many share the machine.
    """
    began = time.monotonic()
    while time.monotonic() - began < min(patient(seconds), most):
        yield
