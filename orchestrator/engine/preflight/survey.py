"""What preflight reads: the group, the account and the members, before anything is sent."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from orchestrator.engine.history.forecaster import Forecaster, Question
from orchestrator.engine.history.splits import split_before
from orchestrator.engine.nodes.fleet import Fleet, Sender, confirmed_head
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError, NodePort
from orchestrator.membership.cure import Split
from orchestrator.membership.damage.divergence import namesakes
from orchestrator.membership.facts import MemberSurvey, Surveyed
from orchestrator.membership.forecast.verdict import Forecast
from orchestrator.membership.heads import BEHIND_BLOCKS
from orchestrator.membership.model import Change, Kind
from orchestrator.membership.proof.comparison import same_state
from orchestrator.membership.reasons.table import Reason
from orchestrator.membership.repair import ADDING, looked_at, withdraws


async def survey(fleet: Fleet, change: Change, forecaster: Forecaster) -> Surveyed:
    """Look at everything that preflight's rules ask for.

    Args:
        fleet: The nodes.
        change: The change in preflight.
        forecaster: Forecasts what new members' nodes make of the group's history.

    Raises:
        NodeError: The node to send through does not answer.
        StoreError: What is kept of histories can't be read or written.
    """
    await fleet.ask_those_behind(BEHIND_BLOCKS)
    seen = await _survey(fleet, change, forecaster)
    if fleet.newest_head() - seen.head > BEHIND_BLOCKS:
        # The word of somebody else was waited for: now it is known, and what was seen before is old.
        await fleet.ask_those_behind(BEHIND_BLOCKS)
        seen = await _survey(fleet, change, forecaster)
    return seen


async def _survey(fleet: Fleet, change: Change, forecaster: Forecaster) -> Surveyed:
    split = await split_before(fleet, change)
    leaving: frozenset[str] = frozenset()
    if change.kind is Kind.REMOVE_MEMBERS:
        leaving = frozenset(change.members)
    elif change.kind is Kind.SET_MEMBERS:
        leaving = fleet.keys() - set(change.members)
    if change.repair is not None and looked_at(change):
        leaving |= frozenset(change.repair.members)
    # Who has the stale bundle, or may have it, does not send.
    avoided = leaving if split is None else leaving | (fleet.keys() - split.well)
    candidates = change.members if change.kind is Kind.CREATE_GROUP else ()
    home = fleet.home_of(change.privacy_group_id)
    sender, ahead = await asyncio.gather(
        fleet.sender_for(change.privacy_group_id, candidates, avoided), _standing_ahead(home, change)
    )
    if split is not None and sender.enclave_key not in split.well:
        detail = f"no node of a member answers that refused {split.pmt_hash}"
        raise NodeError(Reason(slug="node_unreachable", detail=detail))
    repairables = await _repairables(fleet, change, sender, split)
    forecast = await _forecast(fleet, change, forecaster, sender, leaving, repairables, split)
    if forecast is not None and forecast.sender is not None and forecast.sender.node != sender.watcher.node.name:
        sender = await fleet.sender_for(change.privacy_group_id, (), avoided, prefer=forecast.sender.node)
        if sender.watcher.node.name != forecast.sender.node:
            # What was forecast of one node's bundle says nothing of another's.
            raise NodeError(Reason(slug="node_unreachable", detail=f"node {forecast.sender.node} does not answer now"))
    node = sender.watcher.node
    traits = await node.traits()
    keys = dict.fromkeys((*change.members, *sender.view.participants))
    new = _newcomers(forecast)
    known = ahead if sender.watcher is home else None
    (syncing, abi, owner), members = await asyncio.gather(
        _standing(node, change, exists=sender.view.exists) if known is None else _given(known),
        asyncio.gather(*(_survey_member(fleet, change, sender, key, repairables.get(key), new) for key in keys)),
    )
    if sender.view.exists and (abi is None or owner is None):
        # The view shows the group at a block, the newest state does not: a replica behind the address is late.
        detail = f"node {node.name} shows the group at block {sender.head.number}, and then no contract of it"
        raise NodeError(Reason(slug="not_known_here", detail=detail))
    # Both heads of this moment: what came while others were asked makes nobody be behind. Nodes that have nothing to do
    # with the group may say what they want.
    present = await sender.watcher.current()
    newest = confirmed_head(watcher for watcher in map(fleet.hosting, keys) if watcher is not None)
    heard = await node.enclave_knows()
    if heard is not None:
        members = [replace(member, unheard=member.enclave_key not in heard) for member in members]
    return Surveyed(
        node=node.name,
        head=sender.head.number,
        head_hash=sender.head.block_hash,
        newest_head=sender.head.number + max(newest - present.number, 0),
        syncing=syncing,
        view=sender.view,
        abi=abi,
        native_abi=traits.native_abi,
        besu_version=traits.besu_version,
        owner=owner,
        sender_key=sender.enclave_key,
        members=tuple(members),
        forecast=forecast,
    )


async def _forecast(
    fleet: Fleet,
    change: Change,
    forecaster: Forecaster,
    sender: Sender,
    leaving: frozenset[str],
    repairables: Mapping[str, "Repairable"],
    split: Split | None,
) -> Forecast | None:
    present = sender.view.participants
    again = tuple(key for key, found in repairables.items() if found.differs and key in present)
    absent = tuple(key for key in change.members if key not in present)
    to_add = (*again, *absent) if split is not None else again or absent
    adds = change.kind in ADDING and not withdraws(change)
    if not adds or not sender.view.exists or not to_add:
        return None
    staying = [key for key in present if key not in leaving and fleet.hosting(key) is not None]
    if split is not None:
        staying = [key for key in staying if key in split.well]
    return await forecaster.forecast(
        Question(
            privacy_group_id=change.privacy_group_id,
            to_add=to_add,
            participants=present,
            leaving=tuple(key for key in present if key in leaving),
            # The node that was sent through before, when it is as good as any.
            senders=tuple(sorted(staying, key=lambda key: key != sender.enclave_key)),
            shown=(sender.watcher.node.name, sender.view.block_number, sender.view.state_root),
            stale_pmt="" if split is None else split.pmt_hash,
        )
    )


def _newcomers(forecast: Forecast | None) -> frozenset[str]:
    """Return whose nodes were seen, for the forecast, to have no state of any group with this id."""
    if forecast is None:
        return frozenset()
    unseen = {item.enclave_key for item in forecast.unseen}
    return frozenset(r.enclave_key for r in forecast.replays if r.blocks and not r.former) - unseen


@dataclass(frozen=True, slots=True)
class Repairable:
    """How a member that is to be repaired stands; see `orchestrator.membership.facts.MemberSurvey`."""

    agrees: bool | None
    moved_block: int | None

    @property
    def differs(self) -> bool:
        """Whether it is to be removed and added again."""
        return self.agrees is False and self.moved_block is None


async def _repairables(fleet: Fleet, change: Change, sender: Sender, split: Split | None) -> dict[str, Repairable]:
    """Look at what a repair is about: whether the members still differ, and whether somebody changed them since."""
    repair = change.repair
    if repair is None or not looked_at(change) or not sender.view.exists:
        return {}
    group = change.privacy_group_id
    moved: dict[str, int] = {}
    since = repair.since_block if split is None else repair.removed_block or split.block_number
    if since < sender.head.number:
        for log in await sender.watcher.node.memberships([group], since + 1, sender.head.number):
            moved[log.member] = log.block_number
    agreeing = await asyncio.gather(*(_agrees(fleet, group, sender, key) for key in repair.members))
    return {key: Repairable(agrees, moved.get(key)) for key, agrees in zip(repair.members, agreeing, strict=True)}


async def _agrees(fleet: Fleet, group: str, sender: Sender, key: str) -> bool | None:
    watcher = fleet.hosting(key)
    if watcher is None:
        return None
    try:
        common = min((await watcher.current()).number, sender.head.number)
        blocks = await asyncio.gather(watcher.node.block(common), sender.watcher.node.block(common))
        if blocks[0].block_hash != blocks[1].block_hash:
            return None
        (mine,), (expected,) = await asyncio.gather(
            watcher.node.roots(group, [common]), sender.watcher.node.roots(group, [common])
        )
    except NodeError:
        return None
    return same_state(mine, expected)


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


async def _survey_member(
    fleet: Fleet, change: Change, sender: Sender, key: str, repairable: Repairable | None, new: frozenset[str]
) -> MemberSurvey:
    watcher = fleet.hosting(key)
    if watcher is None:
        return MemberSurvey(enclave_key=key)
    try:
        traits = await watcher.node.traits()
        trouble = await watcher.node.enclave_trouble()
        head = (await watcher.current()).number
        joins = key in change.members and key not in (*sender.view.participants, *new) and sender.view.exists
        other = joins and await _is_of_another(watcher.node, sender, change.privacy_group_id, key, head)
    except NodeError:
        return MemberSurvey(enclave_key=key, node=watcher.node.name)
    return MemberSurvey(
        enclave_key=key,
        node=watcher.node.name,
        head=head,
        besu_version=traits.besu_version,
        validator=traits.validator,
        of_another_group=other,
        enclave_trouble=trouble,
        agrees=repairable.agrees if repairable is not None else None,
        moved_block=repairable.moved_block if repairable is not None else None,
    )


async def _is_of_another(newcomer: NodePort, sender: Sender, group: str, key: str, head: int) -> bool:
    """Whether the node's state is a group of its own that was given the same id."""
    # Not the view at once: a tenant that is no member may ask for the root alone (docs/besu.md#multi-tenancy).
    if not (await newcomer.root_if_any(group, head)).exists:
        return False
    theirs = (await newcomer.view(group, head)).participants
    return bool(namesakes({key: theirs}, sender.view.participants))
