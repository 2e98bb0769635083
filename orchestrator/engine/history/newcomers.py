"""What is read of the nodes of members that are to be added."""

from collections.abc import Sequence

from orchestrator.engine.fleet import Fleet
from orchestrator.engine.history.overlaps import with_blocks
from orchestrator.engine.history.replays import NodeReplays
from orchestrator.engine.history.roots import NodeRoots
from orchestrator.engine.node_ports import Head, NodeError
from orchestrator.engine.watcher import ChainWatcher
from orchestrator.membership.forecast.histories import GroupHistory
from orchestrator.membership.forecast.memberships import MembershipLog, left_at
from orchestrator.membership.forecast.newcomers import NewcomerFacts, executed_last


class NewcomerReader:
    """Reads what the rules of the new member's node need.

    Args:
        fleet: The nodes.
        replays: What they replayed.
        roots: Reads and remembers roots.
    """

    def __init__(self, fleet: Fleet, replays: NodeReplays, roots: NodeRoots) -> None:
        self._fleet = fleet
        self._replays = replays
        self._roots = roots

    async def read(
        self,
        history: GroupHistory,
        keys: Sequence[str],
        members: Sequence[str],
        logs: Sequence[MembershipLog],
        through: int,
    ) -> tuple[NewcomerFacts, ...] | None:
        """Return facts of the new members; None while more is to be read.

        Args:
            history: The group's blocks.
            keys: The new members.
            members: The members that stay.
            logs: Additions and removals in the groups of a member's node.
            through: The newest block that counts.

        Raises:
            StoreError: What is kept can't be read or written.
        """
        found = []
        for key in keys:
            facts = await self._read(history, key, members, logs, through)
            if facts is None:
                return None
            found.append(facts)
        return tuple(found)

    async def _read(
        self, history: GroupHistory, key: str, members: Sequence[str], logs: Sequence[MembershipLog], through: int
    ) -> NewcomerFacts | None:
        watcher = self._fleet.hosting(key)
        if watcher is None:
            return _unseen(history, key, None, logs, "its node is not one of ours")
        try:
            return await self._seen(history, key, watcher, members, through)
        except NodeError as error:
            return _unseen(history, key, watcher.node.name, logs, str(error))

    async def _seen(
        self, history: GroupHistory, key: str, watcher: ChainWatcher, members: Sequence[str], through: int
    ) -> NewcomerFacts | None:
        head = await watcher.current()
        at = min(head.number, through)
        group = history.privacy_group_id
        (view,) = await watcher.node.roots(group, [at])
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
        last = executed_last(history, view.state_root) if view.exists and not shared else None
        return facts if last is None else await self._former(history, facts, watcher, head, last)

    async def _former(
        self, history: GroupHistory, facts: NewcomerFacts, watcher: ChainWatcher, head: Head, last: int
    ) -> NewcomerFacts | None:
        record = await self._replays.of(watcher, head)
        since = range(last, (facts.head or last) + 1)
        roots = await self._roots.read(watcher, history.privacy_group_id, since, record.replays)
        replays = await with_blocks(self._roots, watcher, record.replays, [last])
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
