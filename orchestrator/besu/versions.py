"""Besu's lines in terms of this client library, and in sentences. Pure (docs/besu.md#versions)."""

from orchestrator.besu.codec.management_contract import Abi
from orchestrator.membership.besu_lines import (
    BYTES_ABI_SINCE,
    DISTRIBUTES_HISTORY_SINCE,
    LOSES_ADDED_GROUPS,
    UNLOCK_SINCE,
    Version,
    has_bytes_abi,
)


def native_abi(version: Version) -> Abi:
    """Return the dialect in which a version creates groups, and the only one whose additions it recognises."""
    return Abi.BYTES if has_bytes_abi(version) else Abi.BYTES32


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
