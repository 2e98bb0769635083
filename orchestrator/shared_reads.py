"""Reads that many ask for at the same moment, made as one: one block wakes every lane that waits for it.

Take `SharedReads` for what we ourselves write, which is read anew each time: every read begins after all who share it
have asked, so that an answer which was on its way is never theirs. Take `ReadingLock` for what is remembered once it
was read of a node: who waits finds most of it known, reads only what it alone lacks, and shares no failure but silence.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class SharedReads(Generic[K, V]):
    """Reads one after the other, each for all who asked while the one before it was under way.

    There is no task in the background: the first who waits makes the read, and when it is cancelled the next one does.

    Args:
        read: Returns what is to be known of each of some different keys. Its failure is that of all who share it.
    """

    def __init__(self, read: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._read = read
        self._reading = asyncio.Lock()
        self._waiting: list[_Asker[K, V]] = []

    async def of(self, key: K) -> V:
        """Return what a read that begins now, or later, finds of a key.

        Args:
            key: What is asked about.
        """
        asker = _Asker[K, V](key)
        self._waiting.append(asker)
        try:
            async with self._reading:
                if not asker.answered:
                    await self._lead()
        finally:
            if asker in self._waiting:
                self._waiting.remove(asker)
        if asker.failure is not None:
            raise asker.failure
        return asker.found[0]

    async def _lead(self) -> None:
        asked, self._waiting = self._waiting, []
        try:
            found = await self._read(tuple(dict.fromkeys(asker.key for asker in asked)))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is for those who asked
            for asker in asked:
                asker.failure = error
        except BaseException:
            self._waiting = [*asked, *self._waiting]  # who was cancelled takes itself out; the others ask again
            raise
        else:
            for asker in asked:
                asker.found.append(found[asker.key])


class _Asker(Generic[K, V]):
    """Somebody who waits for a read."""

    def __init__(self, key: K) -> None:
        self.key = key
        self.found: list[V] = []
        self.failure: Exception | None = None

    @property
    def answered(self) -> bool:
        return bool(self.found) or self.failure is not None


class ReadingLock:
    """Lets one read at a time; what a silent node costs the one who reads, it costs all who wait for them, once.

    With a plain lock each of a hundred waits for its turn, and then for the same node's time-out: the last one for a
    quarter of an hour.

    Args:
        shared: Whether a failure is that of all who waited meanwhile, such as that nobody answers; other failures may
            come of what one of them alone asked.
    """

    def __init__(self, shared: Callable[[Exception], bool]) -> None:
        self._shared = shared
        self._lock = asyncio.Lock()
        self._turns = 0
        self._failure: Exception | None = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Read while the block runs. What is wanted may be known by then: look first.

        Raises:
            Exception: What the last one failed with, where that was while we waited and is shared.
        """
        turns = self._turns
        async with self._lock:
            if self._failure is not None and self._turns > turns:
                raise self._failure
            self._failure = None
            try:
                yield
            except Exception as error:
                self._failure = error if self._shared(error) else None
                raise
            finally:
                self._turns += 1
