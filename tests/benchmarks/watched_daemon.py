"""The daemon with a watch on its event loop: ``python -m tests.benchmarks.watched_daemon FILE run --config …``.

It watches from SIGUSR1 on, so that the start is left out. When it ends, the longest callbacks are written to the file
as JSON: by the clock, and by the thread's processor time, which leaves out what other processes were doing.
"""

import asyncio
import heapq
import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MOST = 10


class Slowest:
    """The longest callbacks that were seen."""

    def __init__(self) -> None:
        self.by_clock: list[tuple[float, int, str]] = []
        self.by_processor: list[tuple[float, int, str]] = []
        self._count = 0

    def begin(self, *_: object) -> None:
        """Forget what was seen."""
        self.by_clock.clear()
        self.by_processor.clear()

    def watch(self, run: Callable[[asyncio.Handle], None]) -> Callable[[asyncio.Handle], None]:
        """Return a way to run a callback that measures it."""

        def watched(handle: asyncio.Handle) -> None:
            clock, processor = time.perf_counter(), time.thread_time()
            run(handle)
            self._note(self.by_clock, time.perf_counter() - clock, handle)
            self._note(self.by_processor, time.thread_time() - processor, handle)

        return watched

    def _note(self, found: list[tuple[float, int, str]], seconds: float, handle: asyncio.Handle) -> None:
        if len(found) < MOST or seconds > found[0][0]:
            self._count += 1
            entry = (seconds, self._count, repr(handle)[:400])
            (heapq.heappush if len(found) < MOST else heapq.heapreplace)(found, entry)

    def write(self, path: Path) -> None:
        """Write both lists, the longest first."""
        found = {
            name: [{"ms": seconds * 1000, "what": what} for seconds, _, what in sorted(entries, reverse=True)]
            for name, entries in (("by_clock", self.by_clock), ("by_processor", self.by_processor))
        }
        path.write_text(json.dumps(found, indent=1))


def main() -> None:
    """Run the daemon."""
    target, *arguments = sys.argv[1:]
    slowest = Slowest()
    signal.signal(signal.SIGUSR1, slowest.begin)
    handles: Any = asyncio.Handle
    handles._run = slowest.watch(handles._run)  # there is no public way to see each callback
    sys.argv = ["orchestrator", *arguments]
    try:
        from orchestrator.__main__ import main as orchestrator  # noqa: PLC0415 - the watch has to be there first

        orchestrator()
    finally:
        slowest.write(Path(target))


if __name__ == "__main__":
    main()
