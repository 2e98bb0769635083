"""The newest word of a peer about each member of each group; a bounded number of them."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, Generic, Protocol, TypeVar

import structlog

from orchestrator.bounded_dicts import BoundedDict

Word = TypeVar("Word")

MOST_REMEMBERED: Final = 10_000

log = structlog.get_logger()


class Statement(Protocol):
    """What is said of a member of a group."""

    @property
    def privacy_group_id(self) -> str:
        """The group."""

    @property
    def enclave_key(self) -> str:
        """The member."""

    @property
    def issued_at(self) -> datetime:
        """When it was signed."""


class NewestWords(Generic[Word]):
    """Keeps the newest word about each member of each group, and forgets the one that came longest ago."""

    def __init__(self) -> None:
        self._kept: BoundedDict[tuple[str, str], tuple[datetime, Word]] = BoundedDict(MOST_REMEMBERED)

    def get(self, privacy_group_id: str, enclave_key: str) -> Word | None:
        """Return the newest word about a member in a group."""
        kept = self._kept.get((privacy_group_id, enclave_key))
        return kept[1] if kept is not None else None

    def keep(self, privacy_group_id: str, enclave_key: str, word: Word, issued_at: datetime) -> bool:
        """Keep a word unless one as new is there; tells whether it was kept."""
        pair = (privacy_group_id, enclave_key)
        known = self._kept.get(pair)
        # By when it was signed, not by when it came: queues give old words again.
        if known is not None and known[0] >= issued_at:
            return False
        self._kept[pair] = (issued_at, word)
        return True


class PeerBook(Generic[Word]):
    """What configured peers said about their own members, the newest of each.

    Args:
        peers: By enclave key the account that may speak for it.
        signer_of: Tells the account that signed a statement; None when it is no signature.
    """

    def __init__(self, peers: Mapping[str, str], signer_of: Callable[[bytes, bytes], str | None]) -> None:
        self._peers = {key: account.lower() for key, account in peers.items()}
        self._signer_of = signer_of
        self._newest: NewestWords[Word] = NewestWords()

    def expects(self, enclave_key: str) -> bool:
        """Return whether somebody is configured to speak for a member."""
        return enclave_key in self._peers

    def _signer(self, enclave_key: str, account: str, text: bytes, signature: bytes) -> str | None:
        """Return who signed a text; None without looking when `account` may not speak for the member.

        Whoever can write to the queue could else have signatures recovered at will.
        """
        return self._signer_of(text, signature) if self._peers.get(enclave_key) == account else None

    def _keep(self, what: str, said: Statement, account: str, word: Word, refusal: str | None, **found: object) -> bool:
        """Keep a word, unless something speaks against it or one as new is there; log and tell whether it was kept."""
        names = {"group": said.privacy_group_id, "member": said.enclave_key, "by": account}
        if refusal is not None:
            log.warning(f"{what} ignored", reason=refusal, **names)
            return False
        if not self._newest.keep(said.privacy_group_id, said.enclave_key, word, said.issued_at):
            return False
        log.info(f"{what} taken", **found, **names)
        return True
