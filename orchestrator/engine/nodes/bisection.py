"""Finding the block from which on something holds, by halving: one question to a node each time."""

from collections.abc import Awaitable, Callable


async def first_block(low: int, high: int, holds: Callable[[int], Awaitable[bool]]) -> int:
    """Return the first block at which something holds that holds from some block on.

    Args:
        low: A block at which it does not hold (-1 for before all).
        high: A later one at which it does.
        holds: Asks about one block between them; what it raises goes on.
    """
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if await holds(middle) else (middle, high)
    return high
