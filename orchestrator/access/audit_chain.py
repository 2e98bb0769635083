"""Verifying the audit log, in the store and in archives: one chain, whichever of its parts are at hand.

What was archived and deleted is bound to what stays: an entry of the log itself says through which number, with which
hash. So the rest is verified without the archives, and with them the whole.
"""

from datetime import datetime
from typing import Final

from orchestrator.access.audit import FIRST_HASH, Action, AuditEntry, ChainedEntry, Outcome, first_break
from orchestrator.access.callers import Door
from orchestrator.instants import micros

_HASH_BYTES: Final = 32
_HASH_DIGITS: Final = 64


def archived_entry(number: int, entry_hash: str, at: datetime) -> AuditEntry:
    """Return the entry that says that all through a number, whose hash is told, left the store for the archive."""
    return AuditEntry(
        at=micros(at),
        caller="",
        door=Door.LOCAL,
        action=Action.ARCHIVE,
        outcome=Outcome.ACCEPTED,
        about=f"{number}:{entry_hash}",
    )


def archived_through(entry: AuditEntry) -> tuple[int, str] | None:
    """Return through which number, with which hash, an entry says that all was archived; None when it says no such."""
    if entry.action is not Action.ARCHIVE:
        return None
    number, _, entry_hash = entry.about.partition(":")
    if not (number.isascii() and number.isdigit() and len(entry_hash) == _HASH_DIGITS):
        return None
    return int(number), entry_hash


class ChainCheck:
    """Takes entries in their order, from whichever is the first at hand; some may come twice.

    Attributes:
        first: Number of the first entry; 0 before there is one.
        newest: Number of the newest entry; 0 before there is one.
        newest_hash: Its hash.
    """

    def __init__(self) -> None:
        self.first = 0
        self.newest = 0
        self.newest_hash = FIRST_HASH
        self._before_first = FIRST_HASH
        # 32 bytes for each entry: a log of millions stays in memory, and what comes twice, from store and archive, is
        # compared.
        self._hashes = bytearray()
        self._archived: list[tuple[int, str]] = []

    def take(self, found: ChainedEntry) -> str | None:
        """Return what is wrong with the next entry; None when it continues the chain, or was taken before."""
        if not self.first:
            self._begin(found)
        if found.number <= self.newest:
            known = self.hash_of(found.number)
            own = first_break([found], found.number - 1, found.previous_hash)
            same = own is None and known == found.entry_hash
            return None if same else f"entry {found.number} is there twice, and not the same"
        trouble = first_break([found], self.newest, self.newest_hash)
        if trouble is not None:
            return trouble
        self.newest, self.newest_hash = found.number, found.entry_hash
        self._hashes += bytes.fromhex(found.entry_hash)
        said = archived_through(found.entry)
        if said is not None:
            self._archived.append(said)
        return None

    def _begin(self, found: ChainedEntry) -> None:
        self.first = max(found.number, 1)
        self._before_first = found.previous_hash if found.number > 1 else FIRST_HASH
        self.newest, self.newest_hash = self.first - 1, self._before_first

    def hash_of(self, number: int) -> str | None:
        """Return the hash of an entry that was taken, or of the one before the first; None for others."""
        if self.first and number == self.first - 1:
            return self._before_first
        start = (number - self.first) * _HASH_BYTES
        if not self.first <= number <= self.newest:
            return None
        return self._hashes[start : start + _HASH_BYTES].hex()

    def end(self) -> str | None:
        """Return what is wrong once all entries were taken; None when nothing is."""
        # What was archived before the first entry at hand is bound to files that are not here.
        reaching = [(number, noted) for number, noted in self._archived if number >= self.first - 1]
        for number, noted in reaching:
            if self.hash_of(number) != noted:
                return f"entry {number} is not the one that was archived: it had another hash"
        if self.first > 1 and not reaching:
            return (
                f"the log begins with entry {self.first}, and no entry of it says that those before were archived: "
                "they were removed, or name the files of the archive"
            )
        return None
