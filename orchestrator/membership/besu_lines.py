"""What differs between Besu's lines, as far as membership changes feel it (docs/besu.md#versions). Pure.

One constant for each difference, and nobody else compares versions with numbers of its own. The emulated nodes have a
table of theirs on purpose: they are what these rules are judged by.
"""

from typing import Final

Version = tuple[int, int, int]

UNLOCK_SINCE: Final[Version] = (21, 7, 4)
"""``unlock()`` executes from here on; before, an empty add while the group is locked is the way to unlock."""

DISTRIBUTES_HISTORY_SINCE: Final[Version] = (21, 10, 2)
"""A distribution bundles the history for an addition from here on; before, only a send does."""

BYTES_ABI_SINCE: Final[Version] = (22, 10, 0)
"""Groups are created with ``bytes[]`` from here on, and only ``bytes[]`` additions are recognised."""

PASSES_OVER_UNPRICED_SINCE: Final[Version] = (24, 5, 0)
"""From here on, without a base fee, a validator mines without a price only what came through its own API."""

LOSES_ADDED_GROUPS: Final[Version] = (25, 5, 0)
"""A node of this version that makes no blocks never receives a group that it is added to."""

REMOVED_IN: Final[Version] = (25, 6, 0)
"""Flexible groups are gone from here on."""


def dotted(version: Version) -> str:
    """Return a version as people write it."""
    return ".".join(map(str, version))


def unlock_works(version: Version) -> bool:
    """Whether ``unlock()`` executes; ``priv_call`` says so on every version, wrongly before 21.7.4."""
    return version >= UNLOCK_SINCE


def has_bytes_abi(version: Version) -> bool:
    """Whether a node creates groups with ``bytes[]``, and takes only such additions for additions."""
    return version >= BYTES_ABI_SINCE
