"""Groups as the configured nodes show them now."""

import asyncio
from collections.abc import Iterable
from typing import Final

from orchestrator.api.ports import ChangeRecord, GroupStanding, MemberStanding
from orchestrator.engine.fleet import Fleet, Sender
from orchestrator.engine.node_ports import NodeError
from orchestrator.membership.model import ENDED, Change, GroupView, State

MAX_GROUPS: Final = 200
CHANGES_LOOKED_AT: Final = 500
AT_ONCE: Final = 16
READ_SECONDS: Final = 10.0

_UNFINISHED: Final = tuple(state for state in State if state not in ENDED)


class FleetGroups:
    """Reads groups off the nodes: those that changes were asked for, or one that is named.

    Args:
        changes: Tells which groups there are.
        fleet: The nodes.
    """

    def __init__(self, changes: ChangeRecord, fleet: Fleet) -> None:
        self._changes = changes
        self._fleet = fleet
        self._places = asyncio.Semaphore(AT_ONCE)

    async def groups(self) -> tuple[GroupStanding, ...]:
        """Return the known groups, those with the newest changes first; at most `MAX_GROUPS`.

        What no node answers is left open.

        Raises:
            StoreError: The store does not answer.
        """
        newest = await self._changes.changes(limit=CHANGES_LOOKED_AT)
        older = await self._changes.groups(limit=MAX_GROUPS)
        ids = list(dict.fromkeys((*(change.privacy_group_id for change in newest), *older)))[:MAX_GROUPS]
        async with asyncio.TaskGroup() as tasks:
            reads = [tasks.create_task(self._standing(group, newest)) for group in ids]
        return tuple(read.result() for read in reads)

    async def group(self, privacy_group_id: str) -> GroupStanding | None:
        """Return a group with its members; None when neither a node nor a change knows it.

        Raises:
            StoreError: The store does not answer.
        """
        changes = await self._changes.changes(privacy_group_id=privacy_group_id, states=_UNFINISHED, limit=20)
        sender = await self._sender(privacy_group_id)
        if sender is None or not sender.view.exists:
            known = changes or await self._changes.changes(privacy_group_id=privacy_group_id, limit=1)
            return _standing(privacy_group_id, None, changes) if known else None
        members = await self._members(privacy_group_id, sender.view)
        return _standing(privacy_group_id, sender.view, changes, members)

    async def _standing(self, privacy_group_id: str, newest: Iterable[Change]) -> GroupStanding:
        async with self._places:
            sender = await self._sender(privacy_group_id)
        view = None if sender is None or not sender.view.exists else sender.view
        return _standing(privacy_group_id, view, [c for c in newest if c.privacy_group_id == privacy_group_id])

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
    if len(seen) < 2:
        return None
    shown = {(frozenset(member.participants), member.version, member.state_root) for member in seen}
    return all(member.exists for member in seen) and len(shown) == 1
