"""One deep audit: all groups that the nodes hold, and their past. Asks nodes, changes nothing.

A group's history is read by the readers of the forecast, which keep it: what a first audit read, a later one, or the
daemon, has. So an audit that ran out of calls goes on where it was left.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from orchestrator.engine.audit.divergence_point import first_difference, lacking
from orchestrator.engine.audit.stale_additions import executed_alone, stale_additions
from orchestrator.engine.history.examinations import ExaminedBlocks
from orchestrator.engine.history.groups import GroupHistories, ReadHistory
from orchestrator.engine.history.holdings import Holdings, read_holdings
from orchestrator.engine.history.members import SeenMember, most_trusted
from orchestrator.engine.history.newcomers import NewcomerReader
from orchestrator.engine.history.ports import HistoryStore
from orchestrator.engine.history.replays import NodeReplays
from orchestrator.engine.history.roots import NodeRoots
from orchestrator.engine.history.senders import SenderReader
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.membership.damage.divergence import agreed_members
from orchestrator.membership.damage.findings import (
    Damage,
    DamageFinding,
    differing_finding,
    former_finding,
    ranked_findings,
    sender_findings,
    unextendable_findings,
)
from orchestrator.membership.forecast.agreement import disagreement
from orchestrator.membership.forecast.blocks import Flaw
from orchestrator.membership.forecast.newcomers import departure
from orchestrator.membership.forecast.senders import SenderStanding, standing
from orchestrator.membership.model import Verdict

MOST_CALLS = 500_000
"""JSON-RPC calls of one audit; groups that are left out come first in the next."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepReport:
    """What a deep audit saw.

    Attributes:
        block_number: The block at which members were compared; None when no node answers.
        findings: Worst first.
        groups: Groups that were looked at.
        blocks: Blocks of these groups that were examined.
        account_twice: How many of them have an account twice.
        skipped: By node, why it was not looked at.
        left_out: Groups that there were no calls left for.
        reached: The last group that was looked at when some were left out.
    """

    block_number: int | None
    findings: tuple[DamageFinding, ...] = ()
    groups: int = 0
    blocks: int = 0
    account_twice: int = 0
    skipped: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    reached: str = ""


class DeepAudit:
    """Looks at all groups and their past.

    Args:
        fleet: The nodes; their watchers need not run.
        store: Keeps what is read.
        calls: Tells how many JSON-RPC calls were made.
        on_progress: Told the groups done, all groups, and the next group.
        most_calls: See `MOST_CALLS`.
    """

    def __init__(
        self,
        fleet: Fleet,
        store: HistoryStore,
        *,
        calls: Callable[[], int],
        on_progress: Callable[[int, int, str], None] = lambda _done, _all, _group: None,
        most_calls: int = MOST_CALLS,
    ) -> None:
        self._fleet = fleet
        self._calls = calls
        self._on_progress = on_progress
        self._most_calls = most_calls
        self._histories = GroupHistories(store, ExaminedBlocks(store))
        self._replays = NodeReplays(store)
        self._roots = NodeRoots()
        self._senders = SenderReader(self._roots)
        # One set of readers for all groups: a node's replays and roots are read once, however many groups it has.
        self._newcomers = NewcomerReader(fleet, self._replays, self._roots)
        self._examined: dict[int, bool] = {}

    async def run(self, known_groups: Iterable[str] = (), after: str = "") -> DeepReport:
        """Look at everything.

        Args:
            known_groups: Ids of groups that are known otherwise, such as from the store.
            after: Begin behind this group id and go round.

        Raises:
            StoreError: What is kept can't be read or written.
        """
        skipped: dict[str, str] = {}
        network = await read_holdings(self._fleet, self._replays, known_groups, skipped)
        # These need no group to be read: a node that stands is the worst news, and it is why others may be unread.
        findings = list(network.standing_still)
        if not network.seen:
            return DeepReport(block_number=None, skipped=skipped, findings=tuple(findings))
        order = sorted(network.listings, key=lambda group: (group <= after, group))
        done = 0
        for group in order:
            if self._calls() >= self._most_calls:
                break
            self._on_progress(done, len(order), group)
            try:
                findings += await self._group(group, network)
            # One group that can't be read says nothing of the next.
            except NodeError as error:
                findings.append(DamageFinding(damage=Damage.UNREAD, detail=str(error), privacy_group_id=group))
            done += 1
        self._on_progress(done, len(order), "")
        left_out = tuple(order[done:])
        return DeepReport(
            block_number=network.at,
            findings=ranked_findings(findings),
            groups=done,
            blocks=len(self._examined),
            account_twice=sum(self._examined.values()),
            skipped=skipped,
            left_out=left_out,
            reached=order[done - 1] if left_out and done else "",
        )

    async def _group(self, group: str, network: Holdings) -> list[DamageFinding]:
        listed = network.listings[group]
        participants = agreed_members(listed)
        members = self._hosted(participants, network)
        if not members:
            names = ", ".join(sorted({w.node.name for key in listed if (w := self._fleet.hosting(key)) is not None}))
            detail = f"it is held by {names}; no node of a member can be seen"
            return [
                DamageFinding(
                    damage=Damage.UNSEEN, detail=detail, privacy_group_id=group, members=tuple(sorted(listed))
                )
            ]
        roots: dict[str, str] = {}
        for key, member in members.items():
            (view,) = await member.watcher.node.roots(group, [network.at])
            roots[key] = view.state_root
        differing = disagreement(network.at, roots)
        odd = () if differing is None else differing.odd
        able = [member for key, member in members.items() if roots[key]]
        if not able:
            return []
        reference = most_trusted(able, odd)
        read = await self._history(group, reference)
        findings: list[DamageFinding] = []
        if read is None:
            return [_unread(group, "its history")]
        self._examined.update(
            (e.number, any(flaw.flaw is Flaw.ACCOUNT_TWICE for flaw in e.flaws)) for e in read.examinations.values()
        )
        findings += unextendable_findings(group, read.examinations.values())
        if differing is not None:
            findings += await self._differing(group, network, members, roots, odd, decided=differing.decided, read=read)
        stale = await stale_additions(self._roots, group, network.at, members, differs=differing is not None)
        if differing is not None and not stale:
            stale = await executed_alone(group, members)
        if differing is not None and stale:
            # Sender and new member may be the larger side: who is odd, and what repairs it, is another question then.
            return [*(f for f in findings if f.damage is Damage.UNEXTENDABLE), *stale]
        findings += stale
        # Without a true history nothing can be said of bundles and returns, which are measured by it.
        if differing is None or differing.decided:
            findings += await self._bundles(group, network, members, odd, read)
            findings += await self._former(group, network, participants, read, reference)
        return findings

    def _hosted(self, participants: Sequence[str], network: Holdings) -> dict[str, SeenMember]:
        found = {}
        for key in participants:
            watcher = self._fleet.hosting(key)
            if watcher is not None and watcher.node.name in network.seen:
                seen = network.seen[watcher.node.name]
                found[key] = SeenMember(enclave_key=key, watcher=watcher, head=seen.head, record=seen.record)
        return found

    async def _history(self, group: str, reference: SeenMember) -> ReadHistory | None:
        first_hand = reference.record.first_hand
        # Read in parts, each kept: an audit that ends here goes on from there the next time.
        while self._calls() < self._most_calls:
            read = await self._histories.read(group, reference.watcher, reference.head, first_hand=first_hand)
            if read.complete:
                return read
        return None

    async def _differing(
        self,
        group: str,
        network: Holdings,
        members: Mapping[str, SeenMember],
        roots: Mapping[str, str],
        odd: Sequence[str],
        *,
        decided: bool,
        read: ReadHistory,
    ) -> list[DamageFinding]:
        at = network.at
        if not decided:
            detail = f"at block {at} their states differ, and none is that of most"
            return [
                DamageFinding(
                    damage=Damage.UNDECIDED,
                    detail=detail + await self._lacks(group, at, members, roots),
                    privacy_group_id=group,
                    members=tuple(odd),
                    block_number=at,
                )
            ]
        findings = []
        staying = [key for key in members if key not in odd]
        for key in odd:
            # As if it were added again: the question is whether it may come back, and that is what the forecast of an
            # addition answers.
            facts = await self._whole(partial(self._newcomers.read, read.history, [key], staying, (), at, ask=False))
            if facts is None:
                findings.append(_unread(group, f"member {key} differs; its roots"))
                continue
            name = members[key].watcher.node.name
            findings.append(differing_finding(group, key, name, departure(read.history, facts[0]), at))
        return findings

    async def _lacks(self, group: str, at: int, members: Mapping[str, SeenMember], roots: Mapping[str, str]) -> str:
        """Return, for a person, from which block on two members differ and what each of them lacks there."""
        keys = list(members)
        # Any two that differ: none of them is the measure here.
        one, other = next((a, b) for a in keys for b in keys if roots[a] != roots[b])
        nodes = {key: members[key].watcher.node for key in keys}
        verdict = Verdict.DIVERGED
        first = await first_difference(nodes[one], nodes[other], group, at, verdict)
        lacked = await lacking(nodes, first)
        words = [f"{key} lacks the private receipt of {', '.join(names)}" for key, names in lacked.items()]
        return f"; they part in block {first}" + "".join(f"; {word}" for word in words)

    async def _bundles(
        self,
        group: str,
        network: Holdings,
        members: Mapping[str, SeenMember],
        odd: Sequence[str],
        read: ReadHistory,
    ) -> tuple[DamageFinding, ...]:
        standings: list[SenderStanding] = []
        unread: list[DamageFinding] = []
        for key, member in members.items():
            if key in odd:
                continue
            facts = await self._whole(partial(self._senders.read, read.history, [member], network.at))
            if facts is None:
                unread.append(_unread(group, f"the roots of node {member.watcher.node.name}"))
            standings += [standing(read.history, one) for one in facts or ()]
        return (*unread, *sender_findings(group, standings))

    async def _whole(self, ask: Callable[[], Awaitable[T | None]]) -> T | None:
        """Ask until all is read: the readers read a bounded part at a time; None when there are no calls left."""
        before = -1
        # A look that made no call will get no further by the next one either.
        while before < self._calls() < self._most_calls:
            before = self._calls()
            found = await ask()
            if found is not None:
                return found
        return None

    async def _former(
        self, group: str, network: Holdings, participants: Sequence[str], read: ReadHistory, reference: SeenMember
    ) -> list[DamageFinding]:
        findings = []
        for key in network.listings[group]:
            watcher = self._fleet.hosting(key)
            shared = watcher is not None and any(k in participants for k in watcher.node.enclave_keys)
            # The node is what a return depends on, not the key (docs/besu.md#what-a-replay-needs, 8): one look each, by
            # its first.
            if watcher is None or key in participants or shared or key != watcher.node.enclave_keys[0]:
                continue
            logs = reference.record.logs
            facts = await self._whole(
                partial(self._newcomers.read, read.history, [key], participants, logs, network.at, ask=False)
            )
            if facts is None:
                findings.append(_unread(group, f"the roots of node {watcher.node.name}"))
                continue
            if not facts[0].holds:
                continue
            known = (*network.seen[watcher.node.name].record.logs, *logs)
            ever = any(log.privacy_group_id == group and log.member == key and log.added for log in known)
            findings.append(former_finding(group, key, watcher.node.name, departure(read.history, facts[0]), ever=ever))
        return findings


def _unread(group: str, what: str) -> DamageFinding:
    detail = f"{what} could not be read to the end: there were no calls left"
    return DamageFinding(damage=Damage.UNREAD, detail=detail, privacy_group_id=group)
