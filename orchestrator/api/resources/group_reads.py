"""Groups as the configured nodes show them now."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from orchestrator.api.ports.changes import ChangeRecord, GroupListing, GroupStanding, MemberStanding
from orchestrator.api.resources.overview_reads import News
from orchestrator.engine.nodes.fleet import Fleet, Sender
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.engine.ports.records import ChangeFilter
from orchestrator.membership.model import ENDED, Change, GroupView, State
from orchestrator.membership.news.group_news import GroupNews

MAX_GROUPS: Final = 10_000
CHANGES_LOOKED_AT: Final = 500
AT_ONCE: Final = 16
READ_SECONDS: Final = 10.0
FOUND_SECONDS: Final = 10.0
"""How old the nodes' own lists may be: whoever turns pages, or looks an id up, asks them once."""

_UNFINISHED: Final = tuple(state for state in State if state not in ENDED)


class FleetGroups:
    """Reads groups off the nodes: those that changes were asked for, those that nodes list, or one that is named.

    Args:
        changes: Tells which groups changes were asked for.
        fleet: The nodes.
        news: What was told of groups: the audit's word on those that are listed.
        now: Seconds of a clock that never goes back.
    """

    def __init__(
        self, changes: ChangeRecord, fleet: Fleet, news: News, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._changes = changes
        self._news = news
        self._fleet = fleet
        self._now = now
        self._places = asyncio.Semaphore(AT_ONCE)
        self._found: tuple[float, tuple[str, ...]] | None = None

    async def groups(
        self, *, limit: int, after: str = "", prefix: str = "", within: Collection[str] | None = None
    ) -> GroupListing:
        """Return known groups: those with the newest changes first, then those that only the nodes know.

        What no node answers is left open.

        Raises:
            KeyError: `after` is none of them.
            StoreError: The store does not answer.
        """
        asked_for = await self._changes.groups_asked_for(limit=MAX_GROUPS)
        known = dict.fromkeys((*asked_for, *await self._listed()))
        seen = known if within is None else (group for group in known if group in within)
        ids = [group for group in seen if group.startswith(prefix)][:MAX_GROUPS]
        try:
            first = ids.index(after) + 1 if after else 0
        except ValueError:
            raise KeyError(after) from None
        page = ids[first : first + limit]
        # Of the page's groups alone: the newest of all may be of any others.
        unfinished = await self._changes.changes(ChangeFilter(within=page, states=_UNFINISHED), limit=CHANGES_LOOKED_AT)
        managed = frozenset(asked_for)
        news = await self._news.groups()
        async with asyncio.TaskGroup() as tasks:
            reads = [tasks.create_task(self._standing(group, unfinished, managed=group in managed)) for group in page]
        return GroupListing(
            groups=tuple(_with_news(read.result(), news) for read in reads),
            following=page[-1] if page and first + limit < len(ids) else None,
            total=len(ids),
        )

    async def _listed(self) -> tuple[str, ...]:
        """Return the groups that nodes list, sorted; a node that does not answer lists none."""
        if self._found is None or self._now() - self._found[0] > FOUND_SECONDS:
            asked = [self._listed_by(w, key) for w in self._fleet.watchers for key in w.node.enclave_keys]
            listings = await asyncio.gather(*asked)
            self._found = (self._now(), tuple(sorted({group for listing in listings for group in listing})))
        return self._found[1]

    async def _listed_by(self, watcher: ChainWatcher, key: str) -> Iterable[str]:
        try:
            async with self._places, asyncio.timeout(READ_SECONDS):
                return await watcher.node.groups([key])
        except (NodeError, TimeoutError):
            return ()

    async def group(self, privacy_group_id: str) -> GroupStanding | None:
        """Return a group with its members; None when neither a node nor a change knows it.

        Raises:
            StoreError: The store does not answer.
        """
        changes = await self._changes.changes(
            ChangeFilter(privacy_group_id=privacy_group_id, states=_UNFINISHED), limit=20
        )
        sender = await self._sender(privacy_group_id)
        managed = bool(changes or await self._changes.changes(ChangeFilter(privacy_group_id=privacy_group_id), limit=1))
        if sender is None or not sender.view.exists:
            return _standing(privacy_group_id, None, changes) if managed else None
        members = await self._members(privacy_group_id, sender.view)
        return replace(_standing(privacy_group_id, sender.view, changes, members), managed=managed)

    async def _standing(self, privacy_group_id: str, unfinished: Iterable[Change], *, managed: bool) -> GroupStanding:
        async with self._places:
            sender = await self._sender(privacy_group_id)
        view = None if sender is None or not sender.view.exists else sender.view
        own = [change for change in unfinished if change.privacy_group_id == privacy_group_id]
        return replace(_standing(privacy_group_id, view, own), managed=managed)

    async def _sender(self, privacy_group_id: str) -> Sender | None:
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await self._fleet.sender_for(privacy_group_id, (), ())
        except (NodeError, TimeoutError):
            return None

    async def _members(self, privacy_group_id: str, view: GroupView) -> tuple[MemberStanding, ...]:
        heads = {key: await self._head(key) for key in view.participants}
        # At the block that all have, roots can be compared.
        common = min([view.block_number, *(head for head in heads.values() if head is not None)])
        async with asyncio.TaskGroup() as tasks:
            reads = [
                tasks.create_task(self._member(privacy_group_id, key, heads[key], common)) for key in view.participants
            ]
        return tuple(read.result() for read in reads)

    async def _head(self, enclave_key: str) -> int | None:
        watcher = self._fleet.hosting(enclave_key)
        if watcher is None:
            return None
        try:
            async with asyncio.timeout(READ_SECONDS):
                return (await watcher.refresh()).number
        except (NodeError, TimeoutError):
            return None

    async def _member(self, privacy_group_id: str, key: str, head: int | None, block_number: int) -> MemberStanding:
        watcher = self._fleet.hosting(key)
        if watcher is None:
            return MemberStanding(enclave_key=key)
        name = watcher.node.name
        if head is None:
            return MemberStanding(enclave_key=key, node=name)
        try:
            async with self._places, asyncio.timeout(READ_SECONDS):
                view = await watcher.node.view(privacy_group_id, block_number)
        except (NodeError, TimeoutError):
            return MemberStanding(enclave_key=key, node=name, head=head)
        return MemberStanding(
            enclave_key=key,
            node=name,
            head=head,
            exists=view.exists,
            participants=view.participants,
            version=view.version,
            state_root=view.state_root,
        )


def _standing(
    privacy_group_id: str,
    view: GroupView | None,
    changes: Iterable[Change],
    members: tuple[MemberStanding, ...] = (),
) -> GroupStanding:
    unfinished = tuple(change.change_id for change in changes if not change.ended)
    if view is None:
        return GroupStanding(privacy_group_id=privacy_group_id, unfinished=unfinished)
    return GroupStanding(
        privacy_group_id=privacy_group_id,
        block_number=view.block_number,
        participants=view.participants,
        locked=view.locked,
        version=view.version,
        members=members,
        in_sync=_in_sync(members),
        unfinished=unfinished,
    )


def _in_sync(members: tuple[MemberStanding, ...]) -> bool | None:
    seen = [member for member in members if member.exists is not None]
    # One that is seen alone agrees with nobody: that is not said to be in sync.
    if len(seen) < 2:
        return None
    shown = {(frozenset(member.participants), member.version, member.state_root) for member in seen}
    return all(member.exists for member in seen) and len(shown) == 1


def _with_news(group: GroupStanding, news: Mapping[str, GroupNews]) -> GroupStanding:
    """A list compares nobody's state anew, and says what the audit found, and the watch over additions."""
    told = news.get(group.privacy_group_id)
    apart = told is not None and (told.diverged is not None or told.repeated is not None)
    return replace(group, in_sync=False) if apart else group
