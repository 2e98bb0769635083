"""An event loop without threads, sockets and real time: when nothing is ready, its clock jumps to the next timer.

Everything that runs on it is deterministic: callbacks run in the order of their making, timers by their time, and
tasks and futures have hashes that do not depend on where they lie in memory, so that a set of them is walked in the
same order in every run.
"""

import asyncio
import functools
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


TURNS_AT_ONE_TIME = 20_000
"""So many turns of the loop without time moving on are an endless one."""


class NothingWillHappenError(BaseException):
    """Every task waits for something that nobody will do, or some spin without time moving on."""


class _Future(asyncio.Future[Any]):
    def __init__(self, *, loop: "VirtualLoop") -> None:
        super().__init__(loop=loop)
        self._number = next(loop.numbers)

    def __hash__(self) -> int:
        return self._number


class _Task(asyncio.Task[Any]):
    def __init__(self, coro: Any, *, loop: "VirtualLoop", **more: Any) -> None:
        self._number = next(loop.numbers)
        super().__init__(coro, loop=loop, **more)

    def __hash__(self) -> int:
        return self._number


class _Jump:
    """Stands where a loop has its selector."""

    def __init__(self, loop: "VirtualLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise NothingWillHappenError("no timer is set and nothing is ready")
        if timeout > 0:
            self._loop.jump()
        else:
            self._loop.turn()
        return []

    def close(self) -> None:
        """Nothing was opened."""


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = itertools.count(1)
        self.seconds = 0.0
        self._turns = 0
        self._selector = _Jump(self)
        self._clock_resolution = 1e-9
        self.set_task_factory(self._make_task)  # type: ignore[arg-type]  # the protocol of factories is generic

    def time(self) -> float:
        return self.seconds

    def jump(self) -> None:
        """Move time to the next timer."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]  # no public way
        self.seconds = max(self.seconds, scheduled[0].when())
        self._turns = 0

    def turn(self) -> None:
        """Count what runs without time moving on."""
        self._turns += 1
        if self._turns > TURNS_AT_ONE_TIME:
            raise NothingWillHappenError(f"time stands still at {self.seconds:.3f} s: something spins")

    def create_future(self) -> asyncio.Future[Any]:
        return _Future(loop=self)

    def _make_task(self, loop: "VirtualLoop", coro: Any, **more: Any) -> Any:
        return _Task(coro, loop=loop, **more)

    def run_in_executor(self, executor: object, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]  # noqa: ARG002 - nobody executes it elsewhere
        """Do it now: there are no threads."""
        future: asyncio.Future[T] = self.create_future()
        future.set_result(func(*args))
        return future

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody has to be woken."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.set_exception_handler(lambda *_: None)
        for _ in range(20):
            loop.call_soon(loop.stop)
            loop.run_forever()
        asyncio.set_event_loop(None)
        loop.close()


def in_virtual_time(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Have a test run in virtual time: no lease runs out in it because the machine is busy."""

    @functools.wraps(test)
    def timed() -> None:
        run(test())

    return timed
