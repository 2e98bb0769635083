"""The configured nodes: which hosts whose enclave key, how far each is, and through which to send."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from orchestrator.bounded_dicts import BoundedDict
from orchestrator.engine.nodes.seen_roots import SeenRoots
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Head, NodeError, NodePort
from orchestrator.membership.heads import confirmed, newest
from orchestrator.membership.model import GroupView
from orchestrator.membership.reasons.table import Reason

REMEMBERED_GROUPS = 10_000

LOOK_SECONDS = 1.0
"""How long nodes are waited for that are not needed to tell through which one to send."""


@dataclass(frozen=True, slots=True)
class Sender:
    """A member's node that a group can be changed through.

    Attributes:
        watcher: The node and its chain.
        enclave_key: The member's key to send from.
        head: The node's head that `view` was read at.
        view: The group there.
    """

    watcher: ChainWatcher
    enclave_key: str
    head: Head
    view: GroupView


class Fleet:
    """All configured nodes.

    Args:
        watchers: One for each node.

    Attributes:
        seen: What the nodes showed last of groups.
    """

    def __init__(self, watchers: Sequence[ChainWatcher]) -> None:
        self.watchers = tuple(watchers)
        self.seen = SeenRoots()
        self._by_name = {watcher.node.name: watcher for watcher in watchers}
        self._by_key = {key: watcher for watcher in watchers for key in watcher.node.enclave_keys}
        self._homes: dict[str, str] = {}
        self._members: BoundedDict[str, frozenset[str]] = BoundedDict(REMEMBERED_GROUPS)

    def named(self, name: str) -> ChainWatcher:
        """Return a node by its name.

        Raises:
            NodeError: It is not configured (any more).
        """
        watcher = self._by_name.get(name)
        if watcher is None:
            raise NodeError(Reason(slug="node_unreachable", detail=f"node {name} is not configured any more"))
        return watcher

    def hosting(self, enclave_key: str) -> ChainWatcher | None:
        """Return the node that hosts an enclave key, if we have access to it."""
        return self._by_key.get(enclave_key)

    def keys(self) -> frozenset[str]:
        """Return the enclave keys of all configured nodes."""
        return frozenset(self._by_key)

    @property
    def answers(self) -> bool:
        """Whether any node answered when it was asked last: without one nothing can be done here."""
        return any(watcher.head is not None and not watcher.silent for watcher in self.watchers)

    def newest_head(self) -> int:
        """Return the newest head that a second node confirms, 0 before the first: one alone may overstate its own."""
        return confirmed_head(self.watchers)

    async def ask_those_behind(self, blocks: int) -> None:
        """Ask nodes that seem behind what their head is: a WebSocket that delivers nothing makes a node seem so.

        One that does not answer within a moment stays as it is known.

        Args:
            blocks: Whose head is further behind the newest is asked.
        """
        newest = self.newest_head()
        behind = [w for w in self.watchers if w.head is not None and newest - w.head.number > blocks]
        if not behind:
            return
        asked = [asyncio.create_task(watcher.refresh()) for watcher in behind]
        _, late = await asyncio.wait(asked, timeout=LOOK_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    def newest(self) -> ChainWatcher:
        """Return a node that has the newest block which a second node confirms."""
        heads, bound = _live_heads(self.watchers), self._believed_head()
        return max(self.watchers, key=lambda w: heads[w] if heads.get(w, bound + 1) <= bound else -1)

    def _believed_head(self) -> int:
        return newest(_live_heads(self.watchers).values())

    def home_of(self, privacy_group_id: str) -> ChainWatcher | None:
        """Return the node that had a group when it was last sent through; it may have lost it since."""
        return self._by_name.get(self._homes.get(privacy_group_id, ""))

    def knows(self, privacy_group_id: str) -> bool:
        """Whether it is known who a group's members were."""
        return privacy_group_id in self._members

    def remember_members(self, privacy_group_id: str, members: Iterable[str]) -> None:
        """Know who a group's members were when it was last seen: while one of their nodes is slow, or does not answer,
        no other node is believed that the group is its own."""
        self._members[privacy_group_id] = frozenset(members)

    async def sender_for(
        self, privacy_group_id: str, candidates: Iterable[str], avoid: Iterable[str], prefer: str | None = None
    ) -> Sender:
        """Choose the node to send through: a present member that answers, is not about to be removed, and is newest.

        Whether it is a member other members' nodes have to agree with: any node can show any group as its own.

        Args:
            privacy_group_id: The group.
            candidates: Enclave keys to begin with when no node has the group: those that shall create it.
            avoid: Enclave keys that are about to be removed; taken only when there is no other.
            prefer: Name of the node whose bundle of the group's history is the surest; None when nothing is added.

        Raises:
            NodeError: No node answers.
        """
        avoided, wanted = frozenset(avoid), frozenset(candidates)
        # Who shall not be in a new group says nothing about it: a group of that id which it has is another one.
        order = [
            watcher
            for watcher in self._in_order(privacy_group_id, prefer)
            if not wanted or not wanted.isdisjoint(watcher.node.enclave_keys)
        ] or list(self.watchers)
        home = prefer or self._homes.get(privacy_group_id)
        found: list[Sender] = []
        outsiders: list[Sender] = []
        failure: NodeError | None = None
        silent_member = False
        known = self._members.get(privacy_group_id, frozenset())

        def is_strange(watcher: ChainWatcher) -> bool:
            return bool(known) and known.isdisjoint(watcher.node.enclave_keys)

        def sender_of(watcher: ChainWatcher, head: Head, view: GroupView) -> tuple[Sender, bool]:
            key = _sending_key(watcher.node, view.participants if view.exists else tuple(wanted))
            sender = Sender(watcher=watcher, enclave_key=key or watcher.node.enclave_keys[0], head=head, view=view)
            return sender, view.exists and key is not None

        def suits(watcher: ChainWatcher, seen: _Seen) -> bool:
            if isinstance(seen, NodeError) or is_strange(watcher):
                return False
            sender, has_it = sender_of(watcher, *seen)
            return has_it and sender.enclave_key not in avoided

        for watcher, seen in await _look_around(privacy_group_id, order, home, suits):
            if isinstance(seen, NodeError):
                failure, silent_member = seen, silent_member or not is_strange(watcher)
                continue
            sender, has_it = sender_of(watcher, *seen)
            (found if has_it else outsiders).append(sender)
        bound = self._believed_head()
        for sender in sorted(found, key=lambda s: (_denials(s, found, bound), is_strange(s.watcher))):
            if silent_member and is_strange(sender.watcher):
                continue  # the one that would deny it does not answer
            if sender.enclave_key not in avoided:
                self._remember(privacy_group_id, sender.watcher.node.name)
                self.remember_members(privacy_group_id, sender.view.participants)
                return sender
        if failure is not None and (silent_member or not found):
            # A node that did not answer may be the member that has the group, or one that stays in it.
            raise failure
        if found:
            return found[0]
        for sender in outsiders:
            if sender.enclave_key in wanted:
                self._remember(privacy_group_id, sender.watcher.node.name)  # what is created next has its home there
                return sender
        if outsiders:
            return outsiders[0]
        raise NodeError(Reason(slug="node_unreachable", detail="no node is configured"))

    def _in_order(self, privacy_group_id: str, prefer: str | None) -> list[ChainWatcher]:
        """The node that had the group before comes first, which saves asking those that do not have it; then newest."""
        home = prefer or self._homes.get(privacy_group_id)
        bound = self._believed_head()

        def place(watcher: ChainWatcher) -> tuple[bool, int]:
            number = min(watcher.head.number, bound) if watcher.head is not None else -1
            return watcher.node.name != home, -number

        return sorted(self.watchers, key=place)

    def _remember(self, privacy_group_id: str, name: str) -> None:
        if len(self._homes) >= REMEMBERED_GROUPS:
            del self._homes[next(iter(self._homes))]
        self._homes[privacy_group_id] = name


_Seen = tuple[Head, GroupView] | NodeError


async def _look_around(
    privacy_group_id: str,
    order: Sequence[ChainWatcher],
    home: str | None,
    suits: Callable[[ChainWatcher, _Seen], bool],
) -> list[tuple[ChainWatcher, _Seen]]:
    """Look at a group on its home, after which mostly no other is needed, else on all; return what was seen, in order.

    Once a node suits, the others are waited for no longer than a moment: one that hangs holds up nobody.

    Args:
        privacy_group_id: The group.
        order: The nodes, the best first.
        home: Name of the node that had the group before; None when that is not known, then no node alone will do.
        suits: Whether a node will do by what it shows.
    """
    asked: dict[ChainWatcher, asyncio.Task[_Seen]] = {}
    first = 1 if order[:1] and order[0].node.name == home else len(order)
    try:
        for watchers in (order[:first], order[first:]):
            for watcher in watchers:
                look = _look(watcher, privacy_group_id, at_home=watcher.node.name == home)
                asked[watcher] = asyncio.create_task(look)
            # One that did not answer when it was asked last is waited for only where no other suits.
            heard = [task for watcher, task in asked.items() if not watcher.silent] or list(asked.values())
            if heard:
                await asyncio.wait(heard, timeout=LOOK_SECONDS)
            if any(task.done() and suits(watcher, task.result()) for watcher, task in asked.items()):
                break
        while waiting := {task for task in asked.values() if not task.done()}:
            if any(task.done() and suits(watcher, task.result()) for watcher, task in asked.items()):
                break
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        return [(watcher, task.result()) for watcher, task in asked.items() if task.done()]
    finally:
        for task in asked.values():
            task.cancel()


async def _look(watcher: ChainWatcher, privacy_group_id: str, *, at_home: bool) -> tuple[Head, GroupView] | NodeError:
    """Return a group's whole state at a node's head; where its home is another, one call tells whether it is there."""
    try:
        head = await watcher.current()
        if not at_home:
            # Of a node where the group may not be it is enough to know whether it is: one call instead of a view.
            root = await watcher.node.root_if_any(privacy_group_id, head.number)
            if not root.exists:
                return head, root
        return head, await watcher.node.view(privacy_group_id, head.number)
    except NodeError as error:
        return error


def _denials(sender: Sender, found: Iterable[Sender], bound: int) -> int:
    """Return how many members' nodes that are as far show the group without a node that shows itself in it."""
    # One that is behind may not know of an addition yet; a head that nobody confirms would be ahead of every denial.
    number = min(sender.head.number, bound)
    return sum(other.head.number >= number and sender.enclave_key not in other.view.participants for other in found)


def _sending_key(node: NodePort, members: tuple[str, ...]) -> str | None:
    return next((key for key in node.enclave_keys if key in members), None)


def _live_heads(watchers: Iterable[ChainWatcher]) -> dict[ChainWatcher, int]:
    """Return the heads of the nodes that answer; of all when none does."""
    # A node that does not answer now shows a head of before; with nothing else to go by it has to do.
    heads = {w: w.head.number for w in watchers if w.head is not None}
    return {w: number for w, number in heads.items() if not w.silent} or heads


def confirmed_head(watchers: Iterable[ChainWatcher]) -> int:
    """Return the number of the newest block that at least two of some nodes have; that of the only one otherwise."""
    return confirmed(_live_heads(watchers).values())
