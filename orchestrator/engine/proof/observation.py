"""What a proof reads: the members' nodes at the effect's block and the blocks after it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.attestations import Attestations
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.engine.proof.bystanders import BystanderReader
from orchestrator.engine.proof.early_roots import EarlyRoots
from orchestrator.engine.proof.replay_tracker import ReplayTracker
from orchestrator.membership.attestation.verdicts import sighting_of
from orchestrator.membership.besu_lines import LOSES_ADDED_GROUPS
from orchestrator.membership.facts import Bystanders, ConvergenceObserved, Sighting
from orchestrator.membership.model import Change, Effect, GroupView, MemberProgress, Verdict
from orchestrator.membership.proof.comparison import (
    SETTLED_BLOCKS,
    TROUBLES,
    in_trouble,
    needs_further_blocks,
    proof_end,
    watched,
)

TICK_SECONDS = 1.0
"""How long to wait for a block before a replay that holds its node's head still is looked at again."""

FIRST_LOOK_SECONDS = 0.25
"""How long a block may take from one node to the others before it is taken for a replay that is worth watching."""

PROOF_TICK_SECONDS = 10.0
"""How long to wait for the last block of a proof before telling how far each node is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofRules:
    """What a deployment asks of a proof.

    Attributes:
        proof_blocks: Blocks after the effect's at which members are compared again.
        confirmations: How deep the effect's block must be.
        stalled_after_seconds: After how long without movement a replay is called stalled.
        verdict_blocks: Blocks after the proof's last for which a speaker's word about a new member is waited for.
    """

    proof_blocks: int = 3
    confirmations: int = 0
    stalled_after_seconds: float = 60.0
    verdict_blocks: int = 30


async def _by_nobody(_node: str, _group: str, _block: int) -> str:
    return ""


class Observer:
    """Compares the members' nodes.

    Args:
        fleet: The nodes.
        tracker: Remembers replays.
        rules: What the proof needs.
        clock: Time.
        others: Reads the other groups of new members' nodes.
        attestations: What others say of their nodes; None when nobody is configured to.
        refused: The rule by which a guard before a node, by its name, refused a group at a block; "" for none.
    """

    def __init__(
        self,
        fleet: Fleet,
        tracker: ReplayTracker,
        rules: ProofRules,
        clock: Clock,
        others: BystanderReader,
        attestations: Attestations | None = None,
        refused: Callable[[str, str, int], Awaitable[str]] = _by_nobody,
    ) -> None:
        self._refused = refused
        self._others = others
        self._attestations = attestations
        self._early = EarlyRoots()
        self._fleet = fleet
        self._tracker = tracker
        self._rules = rules
        self._clock = clock

    async def observe(self, change: Change) -> ConvergenceObserved:
        """Wait until something can have changed, then look at every member's node.

        Raises:
            NodeError: No old member's node answers.
        """
        effect = change.effect
        if effect is None:
            raise ValueError(f"change {change.change_id} has no effect to be observed")
        reference = await self._reference(change)
        # Before the first look only the import is waited for, which takes moments.
        if change.progress:
            await self._wait_for_news(change, effect, reference)
        else:
            await self._wait_for_import(change, effect)
        head = await reference.current()
        # On a chain that forks the effect's block may be another one by now.
        canonical = await reference.block(effect.block_number) if head.number >= effect.block_number else None
        last = self._last_block(change, effect)
        newest = await self._newest_block(change, effect)
        # Side by side: one that hangs costs the look its time-out, not each member's.
        sights = (self._sight(change, effect, key, reference, last, newest) for key in watched(change))
        others = self._bystanders(change, effect, head.number, last)
        sightings, bystanders = await asyncio.gather(asyncio.gather(*sights), others)
        return ConvergenceObserved(
            effect_block_hash=canonical.block_hash if canonical is not None else None,
            head=head.number,
            sightings=tuple(sightings),
            proof_blocks=self._rules.proof_blocks,
            confirmations=self._rules.confirmations,
            stalled_after_seconds=self._rules.stalled_after_seconds,
            bystanders=bystanders,
            awaited=tuple(
                sighting.enclave_key
                for sighting in sightings
                if sighting.node is None
                and sighting.attested_by is None
                and self._awaits(change, sighting.enclave_key, head.number, last)
            ),
        )

    async def _bystanders(self, change: Change, effect: Effect, head: int, last: int) -> Bystanders | None:
        """What the new members' nodes show of their other groups at the end of the proof; None before."""
        plan = change.plan
        replayed = needs_further_blocks(change) and plan is not None and plan.to_add and plan.participants
        if not replayed:
            return Bystanders()
        hosts = [host for key in change.members if (host := self._fleet.hosting(key)) is not None]
        # Before its last block is there, a replay may still be rewriting what a node shows of its other groups.
        if head < last or any(host.head is None or host.head.number < last for host in hosts):
            return None
        try:
            return await self._others.read(change, effect, last)
        except NodeError:
            return None

    async def _reference(self, change: Change) -> ChainWatcher:
        """An old member's node: the one the change was sent through, or another that answers."""
        plan = change.plan
        names = [plan.node] if plan is not None else []
        old = (self._fleet.hosting(key) for key in (plan.participants if plan is not None else ()))
        names += [watcher.node.name for watcher in old if watcher is not None]
        failure: NodeError | None = None
        for name in dict.fromkeys(names):
            try:
                watcher = self._fleet.named(name)
                await watcher.current()
            except NodeError as error:
                failure = error
            else:
                return watcher
        if failure is not None:
            raise failure
        raise ValueError(f"change {change.change_id} has no old member to compare with")

    async def _wait_for_news(self, change: Change, effect: Effect, reference: ChainWatcher) -> None:
        """Wait for what can change the verdict.

        While a replay holds a node's head still, time is news. Once all are in sync at the effect's block, only the
        last block of the proof is: the roots at the blocks before it are read when they come.
        """
        observed = [entry for entry in change.progress if entry.verdict is not Verdict.UNOBSERVED]
        spoken_for = any(self._speaks(change, entry.enclave_key) for entry in change.progress)
        behind = [e.enclave_key for e in observed if e.in_sync_through is None or e.verdict in TROUBLES]
        held = [w for w in map(self._fleet.hosting, behind) if w is not None and _is_before(w, effect)]
        if held and not spoken_for:
            await held[0].wait_beyond(effect.block_number - 1, TICK_SECONDS)
            return
        # What somebody else says comes by a message, and a difference ends when the newest blocks agree: both may
        # happen at any block.
        if spoken_for or behind:
            newest = reference.head.number if reference.head is not None else 0
            await reference.wait_beyond(newest, TICK_SECONDS)
            return
        through = min((entry.in_sync_through or 0 for entry in observed), default=0)
        last = max(self._last_block(change, effect), effect.block_number + self._rules.confirmations)
        hosts = dict.fromkeys(self._fleet.hosting(entry.enclave_key) for entry in observed)
        nodes = [watcher for watcher in hosts if watcher is not None]
        for number in range(max(through + 1, effect.block_number + 1), last + 1):
            for watcher in nodes:
                if not await watcher.wait_beyond(number - 1, PROOF_TICK_SECONDS):
                    return
            if number < last:
                # At once, before a replay of another group rewrites what the node shows of it
                # (docs/besu.md#how-replay-damages-other-groups, 1).
                await self._early.read(nodes, change.privacy_group_id, number)

    async def _wait_for_import(self, change: Change, effect: Effect) -> None:
        """Let the effect's block reach the other nodes: it comes to all of them within moments."""
        for watcher in dict.fromkeys(map(self._fleet.hosting, watched(change))):
            if watcher is not None and not await watcher.wait_beyond(effect.block_number - 1, FIRST_LOOK_SECONDS):
                return

    def _last_block(self, change: Change, effect: Effect) -> int:
        return proof_end(change, effect, self._rules.proof_blocks)

    async def _sight(
        self, change: Change, effect: Effect, key: str, reference: ChainWatcher, last: int, newest: int
    ) -> Sighting:
        watcher = self._fleet.hosting(key)
        if watcher is None:
            said = await self._testified(change, effect, key, reference, last)
            return said if said is not None else Sighting(enclave_key=key, node=None, head=None)
        node, group = watcher.node, change.privacy_group_id
        before = next((entry for entry in change.progress if entry.enclave_key == key), None)
        try:
            head = watcher.head or await watcher.refresh()
            # A node in a replay answers, and its head is the block before (docs/besu.md#http-and-websocket, 3).
            if head.number < effect.block_number:
                return await self._replaying(change, effect, watcher, reference, key, before)
            views = await self._views(watcher, change, effect, before, min(head.number, last), newest)
        except NodeError:
            replayed, total = (before.blocks_replayed, before.blocks_total) if before is not None else (0, 0)
            return Sighting(enclave_key=key, node=node.name, head=None, blocks_replayed=replayed, blocks_total=total)
        self._tracker.forget(node.name, group)
        total = before.blocks_total if before is not None else 0
        there = all(view.exists for view in views)
        try:
            # It would forget the group again however often it is added: no repair is begun for it.
            forgetful = not there and (await node.traits()).besu_version == LOSES_ADDED_GROUPS
        except NodeError:
            forgetful = False
        # A guard is asked only about what is missing: it knows nothing of what it passed.
        lost = before is not None and before.verdict in TROUBLES
        refused = await self._refused(node.name, group, effect.block_number) if lost else ""
        return Sighting(
            enclave_key=key,
            node=node.name,
            head=head.number,
            views=views,
            blocks_replayed=total if there else 0,
            blocks_total=total,
            forgetful=forgetful,
            refused=refused,
        )

    def _speaks(self, change: Change, key: str) -> bool:
        """Whether the word of somebody else may be had of a member: they speak of what joins, and only we can't see."""
        joins = change.plan is not None and key in change.plan.to_add and needs_further_blocks(change)
        unseen = self._fleet.hosting(key) is None
        return joins and unseen and self._attestations is not None and self._attestations.expects(key)

    def _awaits(self, change: Change, key: str, head: int, last: int) -> bool:
        return self._speaks(change, key) and head < last + self._rules.verdict_blocks

    async def _testified(
        self, change: Change, effect: Effect, key: str, reference: ChainWatcher, last: int
    ) -> Sighting | None:
        """What is believed of a member whose node we have no access to, if anything."""
        if self._attestations is None or not self._speaks(change, key):
            return None
        signed = self._attestations.newest(change.privacy_group_id, key)
        if signed is None:
            return None
        head = (await reference.current()).number
        # Blocks that the reference does not have yet can't be compared; a later look finds them.
        hashes: dict[int, str] = {}
        for root in signed.verdict.roots:
            if effect.block_number <= root.block_number <= min(head, last):
                hashes[root.block_number] = (await reference.block(root.block_number)).block_hash
        return sighting_of(
            signed,
            chain_id=(await reference.node.traits()).chain_id,
            hashes=hashes,
            first=effect.block_number,
            last=last,
            partial=self._awaits(change, key, head, last),
        )

    async def _replaying(
        self,
        change: Change,
        effect: Effect,
        watcher: ChainWatcher,
        reference: ChainWatcher,
        key: str,
        before: MemberProgress | None,
    ) -> Sighting:
        joins = change.plan is not None and key in change.plan.to_add and change.plan.participants
        head = watcher.head.number if watcher.head is not None else None
        # An old member's node that is behind replays nothing.
        if not joins or before is None:  # most replays are over before the next look: only then are they followed
            return Sighting(enclave_key=key, node=watcher.node.name, head=head)
        group = change.privacy_group_id
        lock_block = effect.block_number - 1
        known = await self._tracker.poll(watcher.node, reference.node, group, lock_block, self._clock.now())
        return Sighting(
            enclave_key=key,
            node=watcher.node.name,
            head=head,
            blocks_replayed=known.replayed,
            blocks_total=known.total,
            transactions_replayed=known.transactions_replayed,
            transactions_total=known.transactions_total,
        )

    async def _views(
        self,
        watcher: ChainWatcher,
        change: Change,
        effect: Effect,
        before: MemberProgress | None,
        last: int,
        newest: int,
    ) -> tuple[GroupView, ...]:
        """The state root, which stands for the whole state; where it differs at the effect's block, that in words.

        Later blocks are read on all nodes from the same block on, so that each finds its like on the reference. What
        is read late is the past, which a replay may have rewritten since: then the newest block is read, too, and once
        a member differs, the newest ones only.
        """
        group = change.privacy_group_id
        if in_trouble(change.progress):
            return await watcher.node.roots(group, range(max(effect.block_number, newest - SETTLED_BLOCKS), newest + 1))
        if before is None or before.in_sync_through is None:
            # The witness's view at the effect's block was read when the effect was found.
            if effect.witness == watcher.node.name:
                return (effect.view,)
            at = effect.block_number
            root = self._fleet.seen.at(watcher, group, at) or (await watcher.node.roots(group, [at]))[0]
            same = root.exists and root.state_root == effect.view.state_root
            return (effect.view if same else await watcher.node.view(group, effect.block_number),)
        seen = [entry.in_sync_through for entry in change.progress if entry.verdict is not Verdict.UNOBSERVED]
        common = min(effect.block_number - 1 if through is None else through for through in seen)
        if common < effect.block_number:
            return ()
        later = [*range(common + 1, last + 1), *([newest] if newest > last else [])]
        return await self._early.roots(watcher, group, later) if later else ()

    async def _newest_block(self, change: Change, effect: Effect) -> int:
        """Return the newest block of all the nodes that have the effect's."""
        hosts = list(dict.fromkeys(w for key in watched(change) if (w := self._fleet.hosting(key)) is not None))
        if in_trouble(change.progress):
            await asyncio.gather(*(host.refresh() for host in hosts), return_exceptions=True)
        heads = [host.head.number for host in hosts if host.head is not None and not _is_before(host, effect)]
        return min(heads, default=effect.block_number)


def _is_before(watcher: ChainWatcher, effect: Effect) -> bool:
    return watcher.head is None or watcher.head.number < effect.block_number
