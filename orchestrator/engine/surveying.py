"""Preflight's eyes: the group, the account and the members, read before anything is sent."""

import asyncio
from collections.abc import Iterable

from orchestrator.engine.fleet import Fleet, Sender
from orchestrator.engine.node_ports import NodeError, NodePort
from orchestrator.engine.watcher import ChainWatcher
from orchestrator.membership.divergence import namesakes
from orchestrator.membership.facts import MemberSurvey, Surveyed
from orchestrator.membership.model import Change, Kind
from orchestrator.membership.reasons import Reason


async def survey(fleet: Fleet, change: Change) -> Surveyed:
    """Look at everything that preflight's rules ask for.

    Args:
        fleet: The nodes.
        change: The change in preflight.

    Raises:
        NodeError: The node to send through does not answer.
    """
    leaving: Iterable[str] = ()
    if change.kind is Kind.REMOVE_MEMBERS:
        leaving = change.members
    elif change.kind is Kind.SET_MEMBERS:
        leaving = fleet.keys() - set(change.members)
    candidates = change.members if change.kind is Kind.CREATE_GROUP else ()
    home = fleet.home_of(change.privacy_group_id)
    sender, ahead = await asyncio.gather(
        fleet.sender_for(change.privacy_group_id, candidates, leaving), _standing_ahead(home, change)
    )
    node = sender.watcher.node
    traits = await node.traits()
    keys = dict.fromkeys((*change.members, *sender.view.participants))
    known = ahead if sender.watcher is home else None
    (syncing, abi, owner), members = await asyncio.gather(
        _standing(node, change, exists=sender.view.exists) if known is None else _given(known),
        asyncio.gather(*(_survey_member(fleet, change, sender, key) for key in keys)),
    )
    if sender.view.exists and (abi is None or owner is None):
        # The view shows the group at a block, the newest state does not: a replica behind the address is late.
        detail = f"node {node.name} shows the group at block {sender.head.number}, and then no contract of it"
        raise NodeError(Reason(slug="not_known_here", detail=detail))
    return Surveyed(
        node=node.name,
        head=sender.head.number,
        head_hash=sender.head.block_hash,
        newest_head=max(fleet.newest_head(), sender.head.number),
        syncing=syncing,
        view=sender.view,
        abi=abi,
        native_abi=traits.native_abi,
        besu_version=traits.besu_version,
        owner=owner,
        sender_key=sender.enclave_key,
        members=tuple(members),
    )


Standing = tuple[bool, str | None, bool | None]
"""Whether the node syncs, the dialect of the group's contract, and whether the account owns the group."""


async def _standing(node: NodePort, change: Change, *, exists: bool) -> Standing:
    if not exists:
        return await node.syncing(), None, None
    return await asyncio.gather(
        node.syncing(),
        node.abi(change.privacy_group_id),
        node.owns(change.privacy_group_id, change.account),
    )


async def _standing_ahead(home: ChainWatcher | None, change: Change) -> Standing | None:
    """Ask the node that had the group in the moment in which its view is read: nearly always it still is the one."""
    if home is None:
        return None
    try:
        return await _standing(home.node, change, exists=True)
    except NodeError:
        return None


async def _given(known: Standing) -> Standing:
    return known


async def _survey_member(fleet: Fleet, change: Change, sender: Sender, key: str) -> MemberSurvey:
    watcher = fleet.hosting(key)
    if watcher is None:
        return MemberSurvey(enclave_key=key)
    try:
        traits = await watcher.node.traits()
        trouble = await watcher.node.enclave_trouble()
        head = (await watcher.current()).number
        joins = key in change.members and key not in sender.view.participants and sender.view.exists
        # The state root, since a tenant that is no member may ask for nothing else (docs/besu.md#multi-tenancy).
        holds = joins and (await watcher.node.roots(change.privacy_group_id, [head]))[0].exists
        clean = await _clean(watcher.node, sender, change.privacy_group_id, head) if holds else None
        other = holds and not clean and await _is_of_another(watcher.node, sender, change.privacy_group_id, key, head)
    except NodeError:
        return MemberSurvey(enclave_key=key, node=watcher.node.name)
    return MemberSurvey(
        enclave_key=key,
        node=watcher.node.name,
        head=head,
        besu_version=traits.besu_version,
        validator=traits.validator,
        holds_state=holds,
        clean_prefix=clean,
        of_another_group=other,
        enclave_trouble=trouble,
    )


async def _is_of_another(newcomer: NodePort, sender: Sender, group: str, key: str, head: int) -> bool:
    """Whether the node's state is a group of its own that was given the same id."""
    theirs = (await newcomer.view(group, head)).participants
    return bool(namesakes({key: theirs}, sender.view.participants))


async def _clean(newcomer: NodePort, sender: Sender, group: str, head: int) -> bool:
    if newcomer.name == sender.watcher.node.name:
        return True  # two tenants of one node share its state: nothing is replayed
    return await is_clean_prefix(newcomer, sender.watcher.node, group, min(head, sender.head.number))


async def is_clean_prefix(newcomer: NodePort, healthy: NodePort, group: str, newest: int) -> bool:
    """Return whether a node's old state of a group is a prefix of the group's history.

    Its root has stood still since the last block of the group that it executed; at that block a healthy member had the
    same root, if the newcomer executed the same history (docs/besu.md#former-members, 2). A node that lost an
    addition one block later fell back to the state before it (docs/besu.md#how-members-silently-diverge, 1): that is a
    prefix, too.

    Args:
        newcomer: The node, which has state for the group.
        healthy: A node that has the whole history.
        group: The group.
        newest: A block that both nodes have.

    Raises:
        NodeError: A node does not answer.
    """
    (last,) = await newcomer.roots(group, [newest])
    low, high = 0, newest  # the root differs at `low` (or the group is not there), and is the last one at `high`
    while high - low > 1:
        middle = (low + high) // 2
        (seen,) = await newcomer.roots(group, [middle])
        if seen.exists and seen.state_root == last.state_root:
            high = middle
        else:
            low = middle
    blocks = range(max(high - 2, 0), high + 1)
    seen_there = await newcomer.roots(group, blocks)
    expected = await healthy.roots(group, blocks)
    if not expected[-1].exists:
        return False
    if expected[-1].state_root == last.state_root:
        return True
    fell_back = len(blocks) == 3 and seen_there[1].state_root == expected[1].state_root
    return fell_back and expected[0].exists and expected[0].state_root == last.state_root
