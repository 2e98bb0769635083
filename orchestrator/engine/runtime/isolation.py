"""What one item causes stays with it: a message, an event, a group or a node never stops the loop that serves them all.

Each loop that serves many wraps the work on one item in `contained`, what is done now and then is `repeated`, and each
part of the daemon runs in `kept_running` as a whole. What was contained is a defect, or input that nobody thought of:
it is logged with its traceback, counted, and told to the caller, who decides what becomes of the item (a dead letter,
an event set aside, a lane that rests).
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.store import StoreError

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0
CANCEL_AGAIN: Final = timedelta(seconds=10)

contained_failures: Final[Counter[str]] = Counter()
"""How often something was contained since the start, by what it was; read by the metrics."""

log = structlog.get_logger()


@dataclass(slots=True)
class Containment:
    """What became of the work on one item.

    Attributes:
        error: What it raised; None when it came to its end.
    """

    error: Exception | None = None


@contextmanager
def contained(what: str, *through: type[Exception], **names: object) -> Iterator[Containment]:
    """Keep whatever exception the work on one item raises; being cancelled is none, and goes on.

    Args:
        what: What the item is, as the metrics call it (``trigger``, ``event``).
        through: What concerns the loop as a whole, such as a store that is away: that goes on.
        names: What tells the item from others, for the log.
    """
    found = Containment()
    try:
        yield found
    except through:
        raise
    except Exception as error:
        contained_failures[what] += 1
        log.exception("contained", what=what, **names)
        found.error = error


async def repeated(what: str, work: Callable[[], Awaitable[object]], clock: Clock, seconds: float) -> None:
    """Do a piece of work now and then, until cancelled; what it raises keeps nobody from doing it again.

    Args:
        what: What it is, as the metrics call it.
        work: Does it once. That the store is away is no defect, and told in one line.
        clock: Time.
        seconds: How long to wait between two times.
    """
    while True:
        with contained(what):
            try:
                await work()
            except StoreError as error:
                log.warning("the store does not answer", what=what, reason=str(error), retry_in_seconds=seconds)
        await clock.sleep(seconds)


async def kept_running(what: str, run: Callable[[], Awaitable[None]], clock: Clock) -> None:
    """Run a part of the daemon, and again after a pause when it ends by an exception.

    Args:
        what: The part's name.
        run: Runs it; returns when the part has nothing more to do.
        clock: Time.
    """
    pause = FIRST_PAUSE_SECONDS
    while True:
        began = clock.now()
        with contained(what) as part:
            await run()
        if part.error is None:
            return
        if (clock.now() - began).total_seconds() > LONGEST_PAUSE_SECONDS:
            pause = FIRST_PAUSE_SECONDS
        await clock.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


async def cancelled(tasks: Iterable[asyncio.Task[None]], again: timedelta = CANCEL_AGAIN) -> None:
    """Cancel tasks, and again those that go on, until all have ended.

    Before Python 3.12 `asyncio.wait_for`, by which clients of message queues wait for answers, drops a cancellation
    that comes together with the answer. An endless loop then goes on, and whoever cancelled it once waits for ever.

    Args:
        tasks: The tasks; what they raise is theirs.
        again: How long one may take to end before it is cancelled again.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=again.total_seconds())
