"""How long tests wait for what comes about by itself, on a machine that others use, too."""

import os
import time
from collections.abc import Iterator


def patient(seconds: float) -> float:
    """Return a limit for waiting: so long where each who wants a processor has one, and longer where they share them.

    Args:
        seconds: What it may take on a machine of one's own. What takes longer there fails here as well.
    """
    sharing = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * max(1.0, sharing)


def within(seconds: float) -> Iterator[None]:
    """Yield as long as there is patience: the load may rise while something is waited for."""
    began = time.monotonic()
    while time.monotonic() - began < patient(seconds):
        yield
