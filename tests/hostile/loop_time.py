"""How long single steps of the event loop take: processor time, as on a core of one's own (`tests.processor_time`)."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import Final
from unittest.mock import patch

from tests.processor_time import quiet

MOST_SECONDS_ON_THE_LOOP: Final = 0.1


@dataclass(slots=True)
class LongestStep:
    """The longest step so far.

    Attributes:
        seconds: Its processor time.
        what: What it was.
    """

    seconds: float = 0.0
    what: str = ""


@contextmanager
def measured() -> Iterator[LongestStep]:
    """Measure each step of this thread's event loop while the context lasts."""
    found = LongestStep()
    run = asyncio.Handle._run
    thread = get_ident()

    def timed(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        if get_ident() != thread:
            return
        seconds = quiet(time.thread_time() - began, MOST_SECONDS_ON_THE_LOOP)
        if seconds > found.seconds:
            found.seconds, found.what = seconds, repr(handle)[:300]

    with patch.object(asyncio.Handle, "_run", timed):
        yield found
