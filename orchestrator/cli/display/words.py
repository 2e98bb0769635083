"""What keys and ids are called where people read them: configured names, else as much as tells them apart.

Whatever is shown here is taken as an argument, too (`references`). Off a terminal everything is written in full.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

SHORT_CHANGE: Final = 12
"""The milliseconds of an id: what tells changes apart that were not asked for at the same time."""
SHORT_KEY: Final = 10
SHORT_HASH: Final = 14
WIDE_COLUMNS: Final = 160
"""A terminal from which on ids are shown in full."""

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """How keys and ids are written.

    Attributes:
        nodes: Enclave keys by the name of the node that hosts them.
        groups: Ids by the groups' names.
        full: Whether keys and ids are written in full.
        now: The present time, for times that are told as "3 min ago"; None to write them out.
    """

    nodes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)
    full: bool = True
    now: datetime | None = None

    def member(self, enclave_key: str) -> str:
        """Return what a member is called."""
        if self.full:
            return enclave_key
        for name, keys in self.nodes.items():
            if enclave_key in keys:
                # A node's name stands for its member only where it hosts no other.
                return name if len(keys) == 1 else f"{name}/{_short(enclave_key, SHORT_KEY)}"
        return _short(enclave_key, SHORT_KEY)

    def members(self, enclave_keys: Sequence[str]) -> str:
        """Return what members are called, in their order."""
        return ", ".join(map(self.member, enclave_keys))

    def group(self, privacy_group_id: str) -> str:
        """Return what a group is called."""
        if self.full:
            return privacy_group_id
        names = [name for name, group in self.groups.items() if group == privacy_group_id]
        return names[0] if names else _short(privacy_group_id, SHORT_KEY)

    def change(self, change_id: str) -> str:
        """Return a change's id."""
        return change_id if self.full else change_id[:SHORT_CHANGE]

    def hash(self, text: str) -> str:
        """Return a hash or state root."""
        return text if self.full else _short(text, SHORT_HASH)

    def at(self, time: datetime) -> str:
        """Return a time: how long ago where somebody looks on, else in full."""
        if self.now is None:
            return f"{time:%Y-%m-%dT%H:%M:%SZ}"
        return f"{ago((self.now - time).total_seconds())} ago"

    def named(self, text: str) -> str:
        """Return a sentence of the daemon's in which keys and ids of what has a name are called by it."""
        if self.full:
            return text
        for keys in self.nodes.values():
            for key in keys:
                text = text.replace(key, self.member(key))
        for name, group in self.groups.items():
            text = text.replace(group, name)
        return text


def ago(seconds: float) -> str:
    """Return a length of time in its largest unit."""
    seconds = max(seconds, 0.0)
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        return f"{seconds / _HOUR:.0f} h"
    return f"{seconds / _DAY:.0f} d"


def _short(text: str, length: int) -> str:
    return text if len(text) <= length + 1 else f"{text[:length]}…"


def blocks(count: int) -> str:
    """Return a number of blocks in words."""
    return f"{count:,} block" if count == 1 else f"{count:,} blocks"
