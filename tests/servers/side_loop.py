"""An event loop beside the test's, in a thread of its own, for servers that tests run in their process."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, contextmanager
from typing import TypeVar

T = TypeVar("T")

_SECONDS = 60.0


@contextmanager
def in_a_thread(start: Callable[[AsyncExitStack], Awaitable[T]]) -> Iterator[T]:
    """Run servers on an event loop of their own while the context lasts; gives what starting them returned."""
    started: Future[T] = Future()
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def serve() -> None:
        try:
            async with AsyncExitStack() as stack:
                started.set_result(await start(stack))
                await stopping.wait()
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)
        finally:
            await hang_up()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield started.result(_SECONDS)
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stopping.set)
        thread.join(_SECONDS)


async def hang_up() -> None:
    """Close the connections of this event loop that still are open, whatever their other ends do.

    A transport that was closed stays open until the other end has read what was written, or said goodbye in TLS; when
    the loop ends before, the interpreter finds an open socket, and some other test fails by it.
    """
    await asyncio.sleep(0)  # what was accepted last becomes a transport
    transports = asyncio.get_running_loop()._transports  # type: ignore[attr-defined] # no public list of them
    for transport in list(transports.values()):
        transport.abort()
    await asyncio.sleep(0)  # they close in the next turn
