"""Forecasting an addition: who is asked for what, and at which block. The rules are in `membership.forecast`."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from orchestrator.engine.history.examinations import ExaminedBlocks
from orchestrator.engine.history.groups import GroupHistories, ReadHistory
from orchestrator.engine.history.members import SeenMember, most_trusted
from orchestrator.engine.history.newcomers import NewcomerReader, OtherSide
from orchestrator.engine.history.ports import HistoryStore
from orchestrator.engine.history.replays import NodeReplays
from orchestrator.engine.history.returns import ReturnReader
from orchestrator.engine.history.roots import NodeRoots
from orchestrator.engine.history.senders import SenderReader
from orchestrator.engine.history.splits import way_trouble
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Block, Head, NodeError
from orchestrator.engine.ports.records import OwnAdditions
from orchestrator.membership.forecast.agreement import disagreement
from orchestrator.membership.forecast.histories import GroupHistory
from orchestrator.membership.forecast.newcomers import NewcomerFacts
from orchestrator.membership.forecast.outlook import ForecastFacts, forecast
from orchestrator.membership.forecast.verdict import Forecast, Unseen
from orchestrator.membership.heads import BEHIND_BLOCKS
from orchestrator.membership.model import Change
from orchestrator.membership.reasons.table import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a forecast is asked of.

    Attributes:
        privacy_group_id: The group.
        to_add: Enclave keys of the members to add.
        participants: The members before.
        leaving: Members that are removed along with it: they don't send, and what they show does not count.
        senders: Members that may send, best first; empty for all whose nodes can be seen.
        through: A block that has to be looked at, such as the one after the lock's; 0 for none.
        shown: What a node showed a moment ago, which need not be asked again: its name, the block and the group's root.
        stale_pmt: Marker of a stale addition that those who are added executed and the others refused; empty for none.
        asks_others: Whether those are asked who can see a node that we can't; their answer keeps that node for us.
    """

    privacy_group_id: str
    to_add: tuple[str, ...]
    participants: tuple[str, ...]
    leaving: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    through: int = 0
    shown: tuple[str, int, str] = ("", 0, "")
    stale_pmt: str = ""
    asks_others: bool = True


class Forecaster:
    """Forecasts additions.

    What it costs for a group whose history is known: a root for each member's node, those of the new blocks, and the
    additions since the last time. Older history is read once, a bounded part in each call.

    Args:
        fleet: The nodes.
        store: Keeps what was read.
        others: Asks about nodes of new members that we have no access to; None when nobody is to be asked.
        own: Tells of our own additions which group they were made to; None when nobody can.

    Attributes:
        returns: Tells what additions do to the ways back to groups that the new members' nodes left.
        work: Tells what a group's blocks hold, where a forecast has just looked; None where that is not in memory.
    """

    def __init__(
        self, fleet: Fleet, store: HistoryStore, others: OtherSide | None = None, own: OwnAdditions | None = None
    ) -> None:
        self._fleet = fleet
        self._histories = GroupHistories(store, ExaminedBlocks(store))
        self._replays = NodeReplays(store, own)
        roots = NodeRoots()
        self._senders = SenderReader(roots)
        self._newcomers = NewcomerReader(fleet, self._replays, roots, others)
        self.returns = ReturnReader(fleet, store, self._replays, roots)
        self.work = self._histories.work

    async def forecast(self, question: Question) -> Forecast:
        """Return what is to be expected of an addition.

        Args:
            question: What is asked.

        Raises:
            NodeError: No member's node that can be seen has the block that is asked for, or none that may send answers.
            StoreError: What is kept can't be read or written.
        """
        staying = tuple(key for key in question.participants if key not in question.leaving)
        # Where all others take their place they stay until these are in; who comes back is removed before.
        staying = staying or tuple(key for key in question.participants if key not in question.to_add)
        seen, unseen = await self._members(staying, question)
        members, joining = _arrived(seen, question.privacy_group_id)
        # Roots are compared at a block that all of them have: a node that is a block behind shows an older one and is
        # well.
        at = min((member.head.number for member in members), default=0)
        roots, silent = await self._roots(question, members, at)
        # Who answered for its head and not for its root is not seen: it counts for and against nobody.
        members = tuple(member for member in members if member.enclave_key in roots)
        if not members:
            reason = Reason(slug="node_unreachable", detail="no member's node can be asked for the group's history")
            raise NodeError(reason)
        # The history has to be a healthy member's: read on a damaged node it would call every healthy one odd.
        reference = _reference(members, roots, max(question.through, at))
        read = await self._histories.read(
            question.privacy_group_id,
            reference.watcher,
            reference.head,
            first_hand=reference.record.first_hand,
            shown=roots[reference.enclave_key] if reference.head.number == at else "",
        )
        through = max(question.through, at)
        candidates = _in_order(members, question.senders, through)
        # That no sender could be looked at would otherwise read as that no sender is whole.
        if not candidates:
            # Not seeing a node says nothing of its bundle: it is looked at again.
            said = "; ".join(f"{item.node}: {item.detail}" for item in (*unseen, *silent))
            detail = f"no node that may send the addition could be looked at ({said})"
            raise NodeError(Reason(slug="node_unreachable", detail=detail))
        # Only with the history: which roots are asked for depends on where its blocks are.
        senders = await self._senders.read(read.history, candidates, through)
        complete = _complete(read, through)
        newcomers = await self._newcomers.read(
            read.history,
            question.to_add,
            staying,
            reference.record.logs,
            through,
            ask=complete and question.asks_others,
        )
        newcomers = await self._fallen(question, read.history, newcomers)
        return forecast(
            ForecastFacts(
                history=read.history,
                complete=complete and senders is not None and newcomers is not None,
                examinations=read.examinations,
                compared_at=at,
                member_roots=roots,
                senders=senders or (),
                newcomers=newcomers or (),
                unseen=(*unseen, *joining, *silent),
            )
        )

    async def _fallen(
        self, question: Question, history: GroupHistory, newcomers: Sequence[NewcomerFacts] | None
    ) -> tuple[NewcomerFacts, ...] | None:
        """Look which new members' nodes fell back in such a way that they replay the whole history."""
        if newcomers is None:
            return None
        found = []
        for facts in newcomers:
            watcher = self._fleet.hosting(facts.enclave_key) if question.stale_pmt and facts.holds else None
            if watcher is None:
                found.append(facts)
                continue
            trouble = await way_trouble(watcher, history, question.stale_pmt)
            found.append(replace(facts, starts_over=trouble is None, own_way=trouble or ""))
        return tuple(found)

    async def newcomer(self, history: GroupHistory, enclave_key: str) -> NewcomerFacts | None:
        """Return what the rules need of a member of ours that others want to add to their group.

        Args:
            history: The group's blocks, as they have them.
            enclave_key: The member.

        Returns:
            The facts; None while more is to be read, or when the member is none of ours.

        Raises:
            NodeError: Its node does not answer.
            StoreError: What is kept can't be read or written.
        """
        watcher = self._fleet.hosting(enclave_key)
        if watcher is None:
            return None
        head = (await watcher.current()).number
        view = await watcher.node.view(history.privacy_group_id, head)
        members = tuple(key for key in view.participants if key != enclave_key)
        # Not asking on: the question came from the other side, and would go back and forth.
        found = await self._newcomers.read(history, [enclave_key], members, (), max(head, history.through), ask=False)
        return None if found is None else found[0]

    async def after_lock(self, change: Change, head: Head) -> Forecast:
        """Return the forecast anew once the lock is mined: its own block and all since the survey are looked at.

        Args:
            change: The change whose lock is mined; it has a plan, and the group was just seen as that lock left it.
            head: The sending node's head, at which that was seen.

        Raises:
            NodeError: The sending node does not answer, or no node has the block.
            StoreError: What is kept can't be read or written.
        """
        plan = change.plan
        if plan is None:
            raise ValueError(f"change {change.change_id} has no plan, so that there is nothing to forecast")
        watcher = self._fleet.named(plan.node)
        senders = tuple(key for key in watcher.node.enclave_keys if key in plan.participants)
        question = Question(
            privacy_group_id=change.privacy_group_id,
            to_add=plan.to_add,
            participants=plan.participants,
            leaving=plan.to_remove,
            # The lock was sent through it, and its head has it: another node would bundle what it has, which may be
            # less.
            senders=senders[:1],
            through=head.number,
            shown=(plan.node, head.number, plan.lock_root),
            stale_pmt=change.repair.stale_pmt if change.repair is not None else "",
        )
        return await self.forecast(question)

    async def _members(
        self, keys: Sequence[str], question: Question
    ) -> tuple[tuple[SeenMember, ...], tuple[Unseen, ...]]:
        """Look at the members' nodes; those that we have no access to are not even asked."""
        hosted = [(key, watcher) for key in keys if (watcher := self._fleet.hosting(key)) is not None]
        found = await asyncio.gather(
            *(self._member(key, watcher, question.privacy_group_id) for key, watcher in hosted)
        )
        seen = [item for item in found if isinstance(item, SeenMember)]
        newest = max((question.through, *(member.head.number for member in seen)))
        late = [member for member in seen if newest - member.head.number > BEHIND_BLOCKS]
        unseen = [item for item in found if isinstance(item, Unseen)]
        for member in late:
            detail = f"its node is at block {member.head.number} of {newest}"
            unseen.append(Unseen(enclave_key=member.enclave_key, node=member.watcher.node.name, detail=detail))
        return tuple(member for member in seen if member not in late), tuple(unseen)

    async def _member(self, key: str, watcher: ChainWatcher, about: str) -> SeenMember | Unseen:
        try:
            head = await watcher.current()
            record = await self._replays.of(watcher, head, about)
        except NodeError as error:
            return Unseen(enclave_key=key, node=watcher.node.name, detail=_why(error))
        return SeenMember(enclave_key=key, watcher=watcher, head=head, record=record)

    async def _roots(
        self, question: Question, members: Sequence[SeenMember], at: int
    ) -> tuple[dict[str, str], tuple[Unseen, ...]]:
        """Read the members' roots at one block; a head may be known of a node that does not answer any more.

        Blocks are named by their number, and a reorganisation may replace one between two reads: what differs is read
        once more, and counts only where all nodes have the same block before and after that.

        Raises:
            NodeError: They have not: look again.
        """
        roots, silent = await self._read_roots(question, members, at, question.shown)
        # All agree, whichever block it was: only a difference can come of two branches.
        if len(set(roots.values())) < 2:
            return roots, silent
        before = await _blocks_at(members, at)
        roots, silent = await self._read_roots(question, members, at, ("", 0, ""))
        if len(before | await _blocks_at(members, at)) > 1:
            detail = f"the members' nodes show different blocks {at}: the chain is being reorganised"
            raise NodeError(Reason(slug="not_at_this_block", detail=detail))
        return roots, silent

    async def _read_roots(
        self, question: Question, members: Sequence[SeenMember], at: int, shown: tuple[str, int, str]
    ) -> tuple[dict[str, str], tuple[Unseen, ...]]:
        async def read(member: SeenMember) -> str | Unseen:
            node, number, root = shown
            # It was compared with what the lock left a moment ago: inside the lock window each call counts.
            if root and (node, number) == (member.watcher.node.name, at):
                return root
            try:
                (view,) = await member.watcher.node.roots(question.privacy_group_id, [at])
            except NodeError as error:
                return Unseen(enclave_key=member.enclave_key, node=member.watcher.node.name, detail=_why(error))
            return view.state_root

        found = await asyncio.gather(*(read(member) for member in members))
        roots = {m.enclave_key: root for m, root in zip(members, found, strict=True) if isinstance(root, str)}
        return roots, tuple(item for item in found if isinstance(item, Unseen))


async def _blocks_at(members: Sequence[SeenMember], number: int) -> frozenset[str]:
    """Return the hashes of a block that members' nodes show; those that do not answer show none."""
    found = await asyncio.gather(*(m.watcher.node.block(number) for m in members), return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException) and not isinstance(one, NodeError):
            raise one
    return frozenset(one.block_hash for one in found if isinstance(one, Block))


def _why(error: NodeError) -> str:
    return f"{error.reason.slug.replace('_', ' ')}: {error.reason.detail}"


def _arrived(members: Sequence[SeenMember], privacy_group_id: str) -> tuple[tuple[SeenMember, ...], tuple[Unseen, ...]]:
    """Part the members whose nodes have imported their addition from those that still replay: these don't differ."""
    logs = [log for member in members for log in member.record.logs if log.privacy_group_id == privacy_group_id]
    added = {
        key: max((log.block_number for log in logs if log.added and log.member == key), default=0)
        for key in (member.enclave_key for member in members)
    }
    arrived = tuple(member for member in members if member.head.number >= added[member.enclave_key])
    return arrived, tuple(
        Unseen(
            enclave_key=member.enclave_key,
            node=member.watcher.node.name,
            detail=f"its node is at block {member.head.number} and was added in {added[member.enclave_key]}",
        )
        for member in members
        if member not in arrived
    )


def _reference(members: Sequence[SeenMember], roots: dict[str, str], through: int) -> SeenMember:
    """Choose whose node the history is read on: one that is trusted most, and has the block."""
    found = disagreement(0, roots)
    odd = () if found is None else found.odd
    able = [member for member in members if member.head.number >= through and roots[member.enclave_key]]
    if not able:
        detail = f"no member's node has the group at block {through} yet"
        raise NodeError(Reason(slug="node_behind", detail=detail))
    return most_trusted(able, odd)


def _in_order(members: Sequence[SeenMember], senders: Sequence[str], through: int) -> list[SeenMember]:
    able = [member for member in members if member.head.number >= through]
    if not senders:
        return able
    return sorted((m for m in able if m.enclave_key in senders), key=lambda m: senders.index(m.enclave_key))


def _complete(read: ReadHistory, through: int) -> bool:
    return read.complete or read.history.through >= through
