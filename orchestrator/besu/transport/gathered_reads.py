"""Gathering reads: what many tasks ask of a node at the same moment travels in one HTTP request.

One new block wakes every lane that waits for it, and all of them read at once. The first asker of a moment leads: it
waits a little, takes what has come together, asks for all of it (for what many want, once), and hands out the answers.
There is no task in the background; when a leader is cancelled, those who waited for it ask again and one of them leads.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.besu.codec.json_rpc import Answer, Call

MOST_CALLS: Final = 256
"""Calls in one HTTP request; Besu takes 1,024 unless it is told otherwise."""


class _LeaderLeftError(Exception):
    """The task that was to ask for us was cancelled."""


@dataclass(slots=True, eq=False)
class _Waiter:
    calls: Sequence[Call]
    answers: asyncio.Future[Sequence[Answer]]


class ReadGatherer:
    """Gathers the reads of one node.

    Args:
        ask: Asks for many calls in one HTTP request and returns their answers in order.
        seconds: How long the first asker of a moment waits for others.
    """

    def __init__(self, ask: Callable[[Sequence[Call]], Awaitable[Sequence[Answer]]], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._waiting: list[_Waiter] = []
        self._led = False

    async def read(self, calls: Sequence[Call]) -> Sequence[Answer]:
        """Return the answers to some calls, in order, errors among them.

        Args:
            calls: At most `MOST_CALLS`; they travel together.

        Raises:
            TransportError: No answer came.
            ProtocolError: The answer is no JSON-RPC.
        """
        while True:
            waiter = _Waiter(calls, asyncio.get_running_loop().create_future())
            self._waiting.append(waiter)
            try:
                if not self._led:
                    await self._lead()
                return await waiter.answers
            except _LeaderLeftError:
                continue
            finally:
                waiter.answers.cancel()

    async def _lead(self) -> None:
        self._led = True
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self._led = False
            gathered, self._waiting = self._waiting, []
            if (task := asyncio.current_task()) is not None and task.cancelling():
                _fail(gathered, _LeaderLeftError())
        await asyncio.gather(*(self._serve(chunk) for chunk in _chunks(gathered, MOST_CALLS)))

    async def _serve(self, chunk: list[_Waiter]) -> None:
        # Many lanes ask the same of a block (its transactions, whether the node syncs): that travels once.
        places: dict[tuple[str, str], int] = {}
        calls: list[Call] = []
        asked: list[int] = []
        for call in (call for waiter in chunk for call in waiter.calls):
            place = places.setdefault((call.method, repr(call.params)), len(calls))
            if place == len(calls):
                calls.append(call)
            asked.append(place)
        try:
            found = await self._ask(calls)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for those who asked
            return _fail(chunk, error)
        except BaseException:
            _fail(chunk, _LeaderLeftError())
            raise
        start = 0
        for waiter in chunk:
            end = start + len(waiter.calls)
            if not waiter.answers.done():
                waiter.answers.set_result([found[place] for place in asked[start:end]])
            start = end
        return None


def _fail(waiters: Sequence[_Waiter], error: Exception) -> None:
    for waiter in waiters:
        if not waiter.answers.done():
            waiter.answers.set_exception(error)


def _chunks(waiters: Sequence[_Waiter], most: int) -> list[list[_Waiter]]:
    """Put waiters together without parting anybody's calls, at most so many calls in each chunk."""
    chunks: list[list[_Waiter]] = []
    size = most + 1
    for waiter in waiters:
        if size + len(waiter.calls) > most:
            chunks.append([])
            size = 0
        chunks[-1].append(waiter)
        size += len(waiter.calls)
    return chunks
