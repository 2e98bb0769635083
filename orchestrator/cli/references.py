"""What people write for members, groups and changes: a name, a whole key or id, or a beginning that is unique.

Everything that is wrong with a command is told at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from orchestrator.cli.display.words import Words
from orchestrator.client import DaemonClient, UsageError
from orchestrator.engine.messages.base64_texts import ENCLAVE_KEY_BYTES, GROUP_ID_BYTES, base64_bytes

LEAST_PREFIX: Final = 4
"""Characters of a key or id that are taken for its beginning: fewer are a slip of the hand."""
CANDIDATES: Final = 5
LONGEST_CHANGE: Final = 64


@dataclass(slots=True)
class References:
    """Finds what is meant; mistakes are gathered, and `check` tells them.

    Attributes:
        client: The daemon, which knows names, groups and changes.
        words: All names.
        mistakes: What is wrong so far, a sentence each.
    """

    client: DaemonClient
    words: Words
    mistakes: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raise what is wrong.

        Raises:
            UsageError: Something is.
        """
        if self.mistakes:
            raise UsageError(self.mistakes)

    def members(self, texts: Sequence[str]) -> list[str]:
        """Return the enclave keys that are meant; unknown ones and repetitions are mistakes."""
        found = [key for text in texts if (key := self._member(text)) is not None]
        self.mistakes += [
            f"{self.words.member(key)} is named more than once" for key in dict.fromkeys(found) if found.count(key) > 1
        ]
        return found

    async def group(self, text: str) -> str:
        """Return the id of the group that is meant; empty after a mistake."""
        text = _plain(text)
        if text in self.words.groups:
            return self.words.groups[text]
        if (whole := whole_group_id(text)) is not None:
            return whole
        if not _is_beginning(text, 44):
            self.mistakes.append(f"{text[:60]!r} is no group: {self._group_help()}")
            return ""
        page = await self.client.groups(limit=CANDIDATES, prefix=text)
        return self._one("group", text, [group.privacy_group_id for group in page.groups], self._group_help())

    async def change(self, text: str) -> str:
        """Return the id of the change that is meant; empty after a mistake."""
        text = _plain(text)
        if not _may_be_change(text):
            self.mistakes.append(f"{text[:60]!r} is no change; `orchestrator changes` lists them")
            return ""
        page = await self.client.changes(group=None, states=(), limit=CANDIDATES, prefix=text)
        ids = [change.change_id for change in page.changes]
        # A whole id may be the beginning of another one; it means itself.
        return self._one("change", text, [text] if text in ids else ids, "`orchestrator changes` lists them")

    async def change_or_group(self, text: str) -> tuple[str | None, str | None]:
        """Return the change or the group that is meant, the other one None; both after a mistake."""
        plain = _plain(text)
        if plain not in self.words.groups and whole_group_id(plain) is None and _may_be_change(plain):
            page = await self.client.changes(group=None, states=(), limit=CANDIDATES, prefix=plain)
            if page.changes:
                return await self.change(plain), None
        # What was told of it as a group alone would send its reader looking for a group.
        seen = len(self.mistakes)
        group = await self.group(plain)
        if not group and not any("several" in mistake for mistake in self.mistakes[seen:]):
            lists = "`orchestrator changes` and `orchestrator groups` list them"
            self.mistakes[seen:] = [f"{plain[:60]!r} is neither a change nor a group; {lists}"]
        return None, group or None

    def _member(self, text: str) -> str | None:
        text = _plain(text)
        if text in self.words.nodes:
            keys = self.words.nodes[text]
            if len(keys) == 1:
                return keys[0]
            self.mistakes.append(f"{text} hosts {len(keys)} members; name one of them: {', '.join(keys)}")
            return None
        # As it is shown where a node hosts several members: `member1/A1aVtMxLCU…`.
        text = text.rpartition("/")[2] if text.partition("/")[0] in self.words.nodes else text
        if base64_bytes(text) not in ENCLAVE_KEY_BYTES:
            known = [key for keys in self.words.nodes.values() for key in keys if key.startswith(text)]
            if _is_beginning(text, 124) and known:
                return self._one("member", text, known, "") or None
            named = ", ".join(self.words.nodes) or "none"
            self.mistakes.append(
                f"{text[:60]!r} is no member: give a node's name ({named}), or an enclave's public key (base64)"
            )
            return None
        return text

    def _one(self, what: str, text: str, found: Sequence[str], help_: str) -> str:
        if len(found) == 1:
            return found[0]
        if found:
            more = ", …" if len(found) == CANDIDATES else ""
            self.mistakes.append(f"several {what}s begin with {text}: {', '.join(found)}{more}; write more of it")
        else:
            self.mistakes.append(f"there is no {what} {text}; {help_}")
        return ""

    def _group_help(self) -> str:
        return "give its name, its id (base64), or the beginning of it; `orchestrator groups` lists them"


async def references(client: DaemonClient, *, full: bool = True) -> References:
    """Return what finds members, groups and changes by what they are called.

    Args:
        client: The daemon.
        full: Whether keys and ids are to be shown in full.
    """
    return References(client, await words_of(client, full=full))


async def words_of(client: DaemonClient, *, full: bool) -> Words:
    """Return all names, for showing and taking."""
    known = await client.names()
    return Words(
        nodes={node.name: tuple(node.enclave_keys) for node in known.nodes},
        groups={group.name: group.privacy_group_id for group in known.groups},
        full=full,
        now=None if full else datetime.now(UTC),
    )


def whole_group_id(text: str) -> str | None:
    """Return a group id in base64 when a text is a whole one, in base64 or base64url; else None."""
    plain = text.replace("-", "+").replace("_", "/").rstrip("=") + "="
    return plain if base64_bytes(plain) == GROUP_ID_BYTES else None


def _plain(text: str) -> str:
    """Return a text without the mark of what was left out, which is copied along."""
    return text.strip().removesuffix("…").removesuffix("...")


def _may_be_change(text: str) -> bool:
    return 0 < len(text) <= LONGEST_CHANGE and text.isascii() and text.replace("-", "").replace("_", "").isalnum()


def _is_beginning(text: str, longest: int) -> bool:
    return LEAST_PREFIX <= len(text) < longest and text.isascii() and all(c.isalnum() or c in "+/_-" for c in text)
