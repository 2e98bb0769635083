"""What is read of the nodes of members that are to be added."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from orchestrator.engine.history.overlaps import with_blocks
from orchestrator.engine.history.replays import NodeReplays
from orchestrator.engine.history.roots import NodeRoots
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Head, NodeError
from orchestrator.membership.forecast.histories import GroupHistory
from orchestrator.membership.forecast.memberships import MembershipLog, left_at
from orchestrator.membership.forecast.newcomers import Attested, NewcomerFacts, Unattested, executed_last


class OtherSide(Protocol):
    """Asks who can see a node that we can't."""

    async def about(self, history: GroupHistory, enclave_key: str, members: Sequence[str]) -> Attested | Unattested:
        """Return what the operator's daemon of a new member's node says; bounded in time, and never raises.

        Args:
            history: The group's blocks.
            enclave_key: The new member.
            members: The members that stay, whose nodes tell which chain is ours.
        """


class NewcomerReader:
    """Reads what the rules of the new member's node need.

    Args:
        fleet: The nodes.
        replays: What they replayed.
        roots: Reads and remembers roots.
        others: Asks about nodes that we have no access to; None when nobody is to be asked.
    """

    def __init__(self, fleet: Fleet, replays: NodeReplays, roots: NodeRoots, others: OtherSide | None = None) -> None:
        self._fleet = fleet
        self._others = others
        self._replays = replays
        self._roots = roots

    async def read(
        self,
        history: GroupHistory,
        keys: Sequence[str],
        members: Sequence[str],
        logs: Sequence[MembershipLog],
        through: int,
        *,
        ask: bool = True,
    ) -> tuple[NewcomerFacts, ...] | None:
        """Return facts of the new members; None while more is to be read.

        Args:
            history: The group's blocks.
            keys: The new members.
            members: The members that stay.
            logs: Additions and removals in the groups of a member's node.
            through: The newest block that counts.
            ask: Whether the history is whole, so that others can be asked about it.

        Raises:
            StoreError: What is kept can't be read or written.
        """
        words = await self._words(history, keys, members) if ask else {}
        found = []
        for key in keys:
            facts = await self._read(history, key, members, logs, through, words.get(key))
            if facts is None:
                return None
            found.append(facts)
        return tuple(found)

    async def _words(
        self, history: GroupHistory, keys: Sequence[str], members: Sequence[str]
    ) -> dict[str, Attested | Unattested]:
        """Ask about all nodes that are not ours at the same time: each is waited for."""
        others = self._others
        if others is None:
            return {}
        strange = [key for key in keys if self._fleet.hosting(key) is None]
        words = await asyncio.gather(*(others.about(history, key, members) for key in strange))
        return dict(zip(strange, words, strict=True))

    async def _read(
        self,
        history: GroupHistory,
        key: str,
        members: Sequence[str],
        logs: Sequence[MembershipLog],
        through: int,
        word: Attested | Unattested | None,
    ) -> NewcomerFacts | None:
        watcher = self._fleet.hosting(key)
        if watcher is None:
            detail = word.detail if isinstance(word, Unattested) else "its node is not one of ours"
            facts = _unseen(history, key, None, logs, detail)
            return replace(facts, word=word, unseen=None if isinstance(word, Attested) else detail)
        try:
            return await self._seen(history, key, watcher, members, through)
        except NodeError as error:
            return _unseen(history, key, watcher.node.name, logs, error.reason.detail)

    async def _seen(
        self, history: GroupHistory, key: str, watcher: ChainWatcher, members: Sequence[str], through: int
    ) -> NewcomerFacts | None:
        head = await watcher.current()
        # At the block that the history was read to: what the node has beyond it has nothing to be compared with.
        at = min(head.number, through)
        group = history.privacy_group_id
        view = await watcher.node.root_if_any(group, at)
        self._fleet.seen.note(watcher, group, view)
        shared = any(other in members for other in watcher.node.enclave_keys)
        facts = NewcomerFacts(
            enclave_key=key,
            node=watcher.node.name,
            head=at,
            holds=view.exists,
            shared=shared,
            roots={at: view.state_root},
            replays=(),
        )
        # A node that never had the group, or has it by another key, begins from nothing or replays nothing: its roots
        # need not be read.
        last = executed_last(history, view.state_root) if view.exists and not shared else None
        return facts if last is None else await self._former(history, facts, watcher, head, last)

    async def _former(
        self, history: GroupHistory, facts: NewcomerFacts, watcher: ChainWatcher, head: Head, last: int
    ) -> NewcomerFacts | None:
        # What it replayed since may have made the map anew from which it would begin (docs/besu.md#former-members, 2).
        record = await self._replays.of(watcher, head)
        since = range(last, (facts.head or last) + 1)
        roots = await self._roots.read(watcher, history.privacy_group_id, since, record.replays)
        replays = await with_blocks(self._roots, watcher, record.replays, [last])
        # More is to be read the next time: a part of a node's past is not judged.
        if roots is None or replays is None:
            return None
        return NewcomerFacts(
            enclave_key=facts.enclave_key,
            node=facts.node,
            head=facts.head,
            holds=True,
            roots=roots,
            replays=replays,
            unseen=record.unseen,
        )


def _unseen(
    history: GroupHistory, key: str, node: str | None, logs: Sequence[MembershipLog], detail: str
) -> NewcomerFacts:
    of_group = [log for log in logs if log.privacy_group_id == history.privacy_group_id]
    return NewcomerFacts(
        enclave_key=key,
        node=node,
        head=None,
        holds=None,
        roots={},
        replays=(),
        left_block=left_at(key, of_group),
        unseen=detail,
    )
