"""Reading long lists that a node answers, piece by piece: others have their turns in between."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from orchestrator.besu.codec.answers import read_list

T = TypeVar("T")

AT_ONCE: Final = 2_000
"""Items of one piece: a log of the management contract takes some 20 µs."""


async def read_long_list(read: Callable[[object], T], value: object) -> tuple[T, ...]:
    """Read a list as ``orchestrator.besu.codec.answers.read_list`` does.

    Raises:
        ProtocolError: it is no list, or an item is not what it should be.
    """
    items: Sequence[object] = read_list(lambda item: item, value)
    found: list[T] = []
    for start in range(0, len(items), AT_ONCE):
        if start:
            await asyncio.sleep(0)
        found += map(read, items[start : start + AT_ONCE])
    return tuple(found)
