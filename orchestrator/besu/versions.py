"""What differs between Besu versions, as far as membership changes feel it. Pure (docs/besu.md#versions)."""

from typing import Final

from orchestrator.besu.management_contract import Abi

Version = tuple[int, int, int]

UNLOCK_SINCE: Final[Version] = (21, 7, 4)
"""``unlock()`` executes from here on; before, an empty add is the way to unlock."""

DISTRIBUTES_HISTORY_SINCE: Final[Version] = (21, 10, 2)
"""A distribution bundles the history for an addition from here on; before, only a send does."""

BYTES_ABI_SINCE: Final[Version] = (22, 10, 0)
"""Groups are created with ``bytes[]`` from here on, and only ``bytes[]`` additions are recognised."""

PASSES_OVER_UNPRICED: Final[Version] = (24, 5, 0)
"""From here on, without a base fee, a validator mines without a price only what came through its own API."""

LOSES_ADDED_GROUPS: Final[Version] = (25, 5, 0)
"""A node of this version that makes no blocks never receives a group that it is added to."""

REMOVED_IN: Final[Version] = (25, 6, 0)
"""Flexible groups are gone from here on."""


def dotted(version: Version) -> str:
    """Return a version as people write it."""
    return ".".join(map(str, version))


def native_abi(version: Version) -> Abi:
    """Return the dialect in which a version creates groups, and the only one whose additions it recognises."""
    return Abi.BYTES if version >= BYTES_ABI_SINCE else Abi.BYTES32


def unlock_works(version: Version) -> bool:
    """Whether ``unlock()`` executes; ``priv_call`` says so on every version, wrongly before 21.7.4."""
    return version >= UNLOCK_SINCE


def notes_of(version: Version) -> tuple[str, ...]:
    """Return what whoever runs a version has to know of flexible groups there, one sentence each."""
    notes = ["Flexible groups are early access in every version, and gone from Besu 25.6.0 on: do not upgrade past it."]
    if version < UNLOCK_SINCE:
        notes.append("A locked group refuses unlock() before 21.7.4: it is unlocked by an addition of nobody.")
    if version < DISTRIBUTES_HISTORY_SINCE:
        notes.append("Before 21.10.2 only a send bundles a group's history: no marker of one's own carries it.")
    if version < BYTES_ABI_SINCE:
        notes.append("Groups made here can't be extended by nodes from 22.10.0 on, nor the other way round.")
    if version >= LOSES_ADDED_GROUPS:
        notes.append("25.5.0 loses groups that a node is added to: run 25.4.1 on nodes that shall be added.")
    return tuple(notes)
