"""The writer thread: takes waiting units of work and has them committed together."""

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.store.commits.shared_transactions import Job, Outcome

TOGETHER = 100
"""At most so many units of work share a transaction: more would make the first one wait for nothing."""
PAUSE_SECONDS = 0.002
"""How long the thread waits for as many units as it found the last time: those who were just answered come again."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    job: Job
    future: asyncio.Future[Outcome]


class Writer:
    """One thread that commits units of work.

    Args:
        commit: Commits units together and returns what became of each.
        woken: Told on the event loop what was committed: whether work came due, and the newest position or 0.
    """

    def __init__(self, commit: Callable[[Sequence[Job]], list[Outcome]], woken: Callable[[bool, int], None]) -> None:
        self._commit = commit
        self._woken = woken
        self._submitted: deque[_Waiting] = deque()
        self._handing_over = threading.Lock()
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open = False
        self._expected = 1

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the thread; results are delivered on this event loop."""
        self._loop = loop
        self._open = True
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish what waits, and end the thread."""
        self._open = False
        if self._thread is not None:
            self._hand_over()
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def submit(self, job: Job) -> "asyncio.Future[Outcome]":
        """Queue a unit of work; the future tells what became of it. One that is cancelled in time is not run."""
        if self._loop is None or not self._open:
            raise RuntimeError("the store is not open: start() it first")
        future: asyncio.Future[Outcome] = self._loop.create_future()
        # At the end of the loop's turn, all together: handed over at once, the first of them would be committed alone
        # while the loop still runs the lanes that the same block woke, or the same commit answered.
        if not self._submitted:
            self._loop.call_soon(self._hand_over)
        self._submitted.append(_Waiting(job, future))
        return future

    def _hand_over(self) -> None:
        """Queue for the thread what was submitted; runs on the loop, or on the thread that stops the writer."""
        with self._handing_over, contextlib.suppress(IndexError):
            while True:
                self._queue.put(self._submitted.popleft())

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            with self._handing_over:
                pass  # the first of several wakes this thread before the others are in the queue
            together, alone, stop = self._gather(first)
            if together:
                self._run(together)
            if alone is not None:
                self._run([alone])
            if stop:
                return

    def _gather(self, first: _Waiting) -> tuple[list[_Waiting], _Waiting | None, bool]:
        """Return those that share a transaction, then one that needs its own, and whether to stop afterwards."""
        together: list[_Waiting] = []
        item: _Waiting | None = first
        until = time.monotonic() + PAUSE_SECONDS
        try:
            while item is not None:
                # What locks several groups would lock them in another order than the transaction has begun.
                if item.job.key is None:
                    return together, item, False
                together.append(item)
                if len(together) == TOGETHER:
                    return together, None, False
                # Who was answered just now asks again at once: waiting for as many as the last time fills the commit
                # that costs a flush of the disk in any case.
                pause = until - time.monotonic() if len(together) < self._expected else 0.0
                item = self._queue.get(timeout=pause) if pause > 0 else self._queue.get_nowait()
        except queue.Empty:
            return together, None, False
        finally:
            self._expected = len(together)
        return together, None, True

    def _run(self, waiting: list[_Waiting]) -> None:
        # Nobody waits for the others any more, and what is given up before it ran must not be done later.
        wanted = [item for item in waiting if not item.future.cancelled()]
        if not wanted:
            return
        outcomes = self._commit([item.job for item in wanted])
        assert self._loop is not None  # noqa: S101 - start() sets it before the thread exists
        # Futures belong to their loop: one call wakes it for all of them.
        self._loop.call_soon_threadsafe(self._deliver, wanted, outcomes)

    def _deliver(self, waiting: list[_Waiting], outcomes: list[Outcome]) -> None:
        self._woken(any(o.work for o in outcomes), max(o.position for o in outcomes))
        for item, outcome in zip(waiting, outcomes, strict=True):
            if not item.future.done():
                item.future.set_result(outcome)
