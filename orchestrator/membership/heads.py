"""Which block counts as the newest when nodes show different heads: none that one node alone vouches for. Pure."""

from collections.abc import Collection
from typing import Final

BEHIND_BLOCKS: Final = 5
"""A node whose head is this far behind the newest is not worked with: its nonces and histories would be stale."""

_CAN_BE_OUTVOTED: Final = 3
"""Of so many heads two that agree say more than one that is ahead."""


def confirmed(heads: Collection[int]) -> int:
    """Return the newest block that two of some nodes have; that of the only one otherwise, 0 without any."""
    highest = sorted(heads, reverse=True)[:2]
    return highest[-1] if highest else 0


def newest(heads: Collection[int]) -> int:
    """Return the newest block that is not one node's word against two others'; 0 without any."""
    # Of two nobody can say which one overstates and which one is behind; the latter is seen more often.
    return confirmed(heads) if len(heads) >= _CAN_BE_OUTVOTED else max(heads, default=0)
