"""Judgements that are under way: one for each key at a time, which whoever asks for the key meanwhile joins."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

Judged = TypeVar("Judged")


class Judgements(Generic[Judged]):
    """Makes judgements.

    Args:
        judge: Judges what an enclave answered for a key; None when that is larger than is read.
    """

    def __init__(self, judge: Callable[[str, bytes | None], Coroutine[Any, Any, Judged]]) -> None:
        self._judge = judge
        self._under_way: dict[str, asyncio.Task[Judged]] = {}

    async def of(self, key: str, body: Callable[[], Awaitable[bytes | None]]) -> Judged:
        """Return what is judged of a key.

        Args:
            key: What a node asked for, base64.
            body: Reads the enclave's answer; not called where a judgement is joined.
        """
        if key not in self._under_way:
            # Before the judgement begins, not in it: the answer ends with the node's request, and must not end, with
            # an error that looks like one of the guard's, what a second request may have joined by then.
            content = await body()
            # A second request may have come while this one's answer was read.
            if key not in self._under_way:
                task = asyncio.ensure_future(self._judge(key, content))
                self._under_way[key] = task
                task.add_done_callback(lambda _: self._under_way.pop(key, None))
        # A node that stops waiting, after 5 s (docs/besu.md#enclave-interface, 3), does not stop the judgement: it asks
        # again, and one that began anew each time would never end.
        return await asyncio.shield(self._under_way[key])

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
