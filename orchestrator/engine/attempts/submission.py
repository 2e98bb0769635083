"""From an intent to its marker in a node's pool: sign, distribute, sign the marker, keep off the lock, broadcast."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from orchestrator.engine.attempts.additions_under_way import AdditionsUnderWay
from orchestrator.engine.attempts.block_waits import caught_up, reached
from orchestrator.engine.attempts.broadcast import NodeSigned, is_mined, offered, targets
from orchestrator.engine.attempts.enclave_doubts import EnclaveDoubts, Way, sending_key
from orchestrator.engine.attempts.marker_accounts import MarkerAccounts
from orchestrator.engine.attempts.nonces import NonceBook
from orchestrator.engine.attempts.settlement import SILENCE_SECONDS, moved_under_lock
from orchestrator.engine.history.forecaster import Forecaster
from orchestrator.engine.nodes.bundling_times import BundlingBook
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher, silence
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.nodes import Contract, Head, MarkerAccount, Markers, NodeError
from orchestrator.engine.ports.signers import Signers
from orchestrator.membership.attempt import NODE_MARKER, Action, Attempt
from orchestrator.membership.besu_lines import DISTRIBUTES_HISTORY_SINCE
from orchestrator.membership.commands import Send, Sign
from orchestrator.membership.errors import ImpossibleStepError
from orchestrator.membership.facts import (
    AttemptSent,
    AttemptSettled,
    AttemptSigned,
    Fact,
    GaveWay,
    Hindered,
    SendFailed,
)
from orchestrator.membership.forecast.schedule import PendingMarker, marker_obstacle
from orchestrator.membership.model import Change, Effect, Kind, Plan
from orchestrator.membership.reasons.table import Reason
from orchestrator.membership.retry import NODE_MARKER_BLOCKS
from orchestrator.membership.triage.attempts import MINED_ALREADY

HISTORY_KEY_BYTES = 64
"""Length of the payload key of an addition that brings the group's history (docs/besu.md#markers)."""

UNDER_LOCK = frozenset({Action.ADD, Action.UNLOCK})
"""What is sent while a group is locked."""

OUTBID = "marker_outbid"
"""Reason of a node whose pool keeps another transaction of the marker's account nonce: an earlier form of it."""


@dataclass(frozen=True, slots=True)
class Sending:
    """Signs and broadcasts.

    Attributes:
        fleet: The nodes.
        signers: The accounts.
        markers, marker_accounts: What signs markers, and for whom.
        contract: The management contract's codec.
        forecaster: Forecasts what new members' nodes make of a group's history.
        additions: What else is being added, by all lanes.
        doubts: Tells apart why enclaves don't take something.
        clock: Time.
        new_id: Makes unique ids.
        confirmations: How deep what ends a batch without an effect must be.
        nonces: Private nonces that were read on the way.
        unmoved: The same of groups as our lock left them.
        bundling: What earlier additions took.
        node_markers: By node, the newest marker that it signed for us.
    """

    fleet: Fleet
    signers: Signers
    markers: Markers
    marker_accounts: MarkerAccounts
    contract: Contract
    forecaster: Forecaster
    additions: AdditionsUnderWay
    doubts: EnclaveDoubts
    clock: Clock
    new_id: Callable[[], str]
    confirmations: int = 0
    nonces: NonceBook = field(default_factory=NonceBook)
    unmoved: NonceBook = field(default_factory=NonceBook)
    bundling: BundlingBook = field(default_factory=BundlingBook)
    node_markers: dict[str, NodeSigned] = field(default_factory=dict)

    async def sign(self, change: Change, command: Sign) -> Fact:
        """Sign and distribute a private transaction, and sign its marker.

        Raises:
            NodeError: The node does not answer or refuses.
            LeaseLostError: The lane is not ours any more.
        """
        if change.account not in self.signers.accounts:
            return Hindered(reason=Reason(slug="account_unavailable", detail=change.account))
        watcher = await self._sending_node(change, command)
        way = await self.doubts.way(change, watcher, command.action)
        attempt_id = self.new_id()
        if command.action is not Action.UNLOCK and command.after_block is not None:
            # First of all: an account that is held meanwhile signs nothing for that block.
            await reached(self.fleet, watcher, command.action, command.members, command.after_block)
        # Waited for before anything is looked at: what is seen then is still so when the transaction is distributed.
        account = await self.marker_accounts.take(watcher, attempt_id, urgent=command.action in UNDER_LOCK)
        fact: Fact | None = None
        try:
            fact = await self._sign(change, command, way, attempt_id, account)
        finally:
            if not (isinstance(fact, AttemptSigned) and fact.attempt.marker.ours):
                await self.marker_accounts.give_back(account, attempt_id)
        return fact

    async def _sign(self, change: Change, command: Sign, way: Way, attempt_id: str, account: MarkerAccount) -> Fact:
        plan, watcher, raw = _plan(change), way.watcher, b""
        if command.action is Action.ADD and plan.lock_nonce is not None:
            # Signing may take blocks, elsewhere: what is seen after it is still so when the addition is distributed.
            raw = await self._signed(change, command, watcher, plan.lock_nonce + 1)
        head = await watcher.current()
        over: Fact | None = None
        if command.action is Action.UNLOCK:
            over = await self._unlocked_already(watcher, change, plan, head)
        elif command.action is Action.ADD:
            over = await self._before_adding(watcher, change, head)
        if over is not None:
            return over
        private_nonce = await self._private_nonce(watcher, change, command, head)
        traits = await watcher.node.traits()
        raw = raw or await self._signed(change, command, watcher, private_nonce)
        attempt = Attempt(
            attempt_id=attempt_id,
            action=command.action,
            members=command.members,
            node=watcher.node.name,
            private_nonce=private_nonce,
            raw=raw,
            since_block=head.number,
            marker=NODE_MARKER,
        )
        # Distributed it would bring no history, and the new member's node have nothing (docs/besu.md#markers, 13).
        if command.action is Action.ADD and traits.besu_version < DISTRIBUTES_HISTORY_SINCE:
            return AttemptSigned(attempt=attempt)
        # A distribution hands the whole history to the newcomer's enclave, marker or not (docs/besu.md#disclosure).
        begun_at = self.clock.now()
        payload_key = await way.distribute(raw, command.after_block if command.action in UNDER_LOCK else None)
        seconds = max((self.clock.now() - begun_at).total_seconds(), 0.0)
        if command.action is Action.ADD and len(payload_key) != HISTORY_KEY_BYTES:
            detail = f"node {watcher.node.name} did not take the transaction for an addition and attached no history"
            return Hindered(reason=Reason(slug="contract_of_other_version", detail=detail))
        if command.action is Action.ADD:
            self.bundling.remember(watcher.node.name, change.privacy_group_id, seconds)
            # A block that came meanwhile may be one that the node replays a group for: its record ends before.
            newer = any(node.head is not None and node.head.number > head.number for node in self.fleet.watchers)
            reason = await self.additions.replaying(change, watcher.node.name, head.number) if newer else None
            if reason is not None:
                return Hindered(reason=reason)
        attempt = replace(attempt, marker=self.markers.make(payload_key, traits.chain_id, account))
        return AttemptSigned(attempt=attempt, seconds=seconds)

    async def _signed(self, change: Change, command: Sign, watcher: ChainWatcher, private_nonce: int) -> bytes:
        plan, traits = _plan(change), await watcher.node.traits()
        return await self.signers.sign(
            account=change.account,
            chain_id=traits.chain_id,
            private_nonce=private_nonce,
            privacy_group_id=change.privacy_group_id,
            private_from=sending_key(watcher.node.enclave_keys, plan.participants or command.members),
            payload=self._payload(plan, command),
        )

    async def _before_adding(self, watcher: ChainWatcher, change: Change, head: Head) -> Fact | None:
        """Look at the lock and forecast anew: its own block is replayed, too, and what was mined after it counts."""
        moved = await moved_under_lock(watcher, change, head.number)
        if moved is not None:
            return moved
        group, left = change.privacy_group_id, (_plan(change).lock_nonce or 0) + 1
        self.unmoved.remember(watcher.node.name, group, change.account, head.block_hash, left)
        return await self._unsafe_since(change, head)

    async def _unsafe_since(self, change: Change, head: Head) -> Fact | None:
        """Forecast anew, also behind a block that came since the addition was signed: another one may have come to its
        end with it, and made the new member's node replay."""
        reason = (await self.forecaster.after_lock(change, head)).reason
        return None if reason is None else Hindered(reason=reason)

    def renew(self, attempt: Attempt) -> Fact:
        """Sign an attempt's marker again with one more gas: of both one can be mined."""
        renewed = (*attempt.renewed, attempt.marker.pmt_hash)
        return AttemptSigned(attempt=replace(attempt, marker=self.markers.renew(attempt.marker), renewed=renewed))

    async def send(self, change: Change, command: Send) -> Fact:
        """Broadcast a marker.

        An addition's is broadcast only when the nodes have the block that keeps it two blocks from its lock, and while
        the group is as that lock left it: between two looks of ours somebody may have unlocked it.

        Raises:
            NodeError: The sending node does not answer, or a node does not get the block.
            LeaseLostError: The lane is not ours any more.
        """
        attempt = command.attempt
        watcher = self.fleet.named(attempt.node)
        # Nearer to its lock it does harm there (docs/besu.md#how-replay-damages-other-groups, 2).
        if command.after_block is not None:
            await reached(self.fleet, watcher, attempt.action, attempt.members, command.after_block)
        if attempt.action is Action.ADD and attempt.sent_block is None:
            await caught_up(self.fleet, watcher)
        newer: Head | None = None
        if attempt.action is Action.ADD and change.plan is not None and change.plan.lock_nonce is not None:
            head = await watcher.current()
            # At the head at which it was distributed it was looked at.
            if self.unmoved.take(attempt.node, change.privacy_group_id, change.account, head.block_hash) is None:
                newer = head
                moved = await moved_under_lock(watcher, change, head.number)
                if moved is not None and not await is_mined(watcher, attempt):
                    return moved
        # Asked now that the attempt is stored: of two lanes that do so at the same time at least one sees the other.
        if attempt.action is Action.ADD and attempt.sent_block is None:
            first = await self.additions.precedence(change)
            if first is not None:
                return GaveWay(reason=first.reason) if first.yields else Hindered(reason=first.reason)
            unsafe = await self._unsafe_since(change, newer) if newer is not None else None
            if unsafe is not None:
                return unsafe
        if not attempt.marker.ours:
            return await self._send_by_node(change, watcher, attempt)
        return await self._broadcast(watcher, attempt, widely=command.widely)

    async def _send_by_node(self, change: Change, watcher: ChainWatcher, attempt: Attempt) -> Fact:
        # The node may sign all of its markers with one key: two of them in a block make that block unreplayable.
        last, present = self.node_markers.get(watcher.node.name), await watcher.current()
        pending = last is not None and present.number < last.sent_block + NODE_MARKER_BLOCKS
        if last and pending and (await watcher.node.outcomes([last.pmt_hash]))[0].block_number is None:
            name = watcher.node.name
            reason = marker_obstacle(name, [PendingMarker(account=name, change_id=last.change_id)])
            if reason is not None:
                return Hindered(reason=reason)
        way = await self.doubts.way(change, watcher, attempt.action)
        begun_at = self.clock.now()
        try:
            pmt_hash = await watcher.node.send(attempt.raw)
        except NodeError as error:
            found = await way.blamed(error)
            return SendFailed(reason=found.reason, certain=found.certain, head=(await watcher.current()).number)
        seconds = max((self.clock.now() - begun_at).total_seconds(), 0.0)
        self.bundling.remember(attempt.node, change.privacy_group_id, seconds)
        head = await watcher.current()
        self.node_markers[watcher.node.name] = NodeSigned(pmt_hash, change.change_id, head.number)
        return AttemptSent(head=head.number, nodes=(watcher.node.name,), pmt_hash=pmt_hash)

    async def _broadcast(self, watcher: ChainWatcher, attempt: Attempt, *, widely: bool) -> Fact:
        took: list[str] = []
        refusals: list[NodeError] = []
        first, others = await targets(self.fleet, watcher)
        for nodes in [first, others] if widely else [first, *([other] for other in others)]:
            answers = await offered(nodes, attempt.marker.raw, attempt.marker.pmt_hash)
            offers = [_known_here(error) for error in answers]
            refusals += [error for error in offers if error is not None]
            took += [target.node.name for target, error in zip(nodes, offers, strict=True) if error is None]
            if took and not widely:
                break
        head = watcher.head.number if watcher.head is not None else attempt.since_block
        if took:
            return AttemptSent(head=head, nodes=tuple(took))
        # A spent nonce says most: a block holds the marker, or its burn. Then counts who may have taken it after all.
        used = next((error for error in refusals if error.reason.slug == MINED_ALREADY), None)
        gravest = used or next((error for error in refusals if not error.certain), refusals[0])
        return SendFailed(reason=gravest.reason, certain=gravest.certain, head=head)

    async def _private_nonce(self, watcher: ChainWatcher, change: Change, command: Sign, head: Head) -> int:
        plan = _plan(change)
        if command.action is Action.ADD and plan.lock_nonce is not None:
            return plan.lock_nonce + 1  # the group was just seen as our lock left it
        # Read along with something else at this very head: a call less, and no older than one made now.
        known = self.nonces.take(watcher.node.name, change.privacy_group_id, change.account, head.block_hash)
        if known is not None:
            return known
        return await watcher.node.private_nonce(change.privacy_group_id, change.account)

    def _payload(self, plan: Plan, command: Sign) -> bytes:
        if command.action is Action.UNLOCK and plan.unlock_by_empty_add:
            return self.contract.unlock_by_empty_add(plan.abi)
        return self.contract.payload(command.action, command.members, plan.abi)

    async def _unlocked_already(self, watcher: ChainWatcher, change: Change, plan: Plan, head: Head) -> Fact | None:
        """Somebody may have unlocked the group already; and a lock that came after ours is not ours to undo."""
        view, private_nonce = await asyncio.gather(
            watcher.node.view(change.privacy_group_id, head.number),
            watcher.node.private_nonce(change.privacy_group_id, change.account),
        )
        ours = change.kind is Kind.UNLOCK_GROUP or plan.lock_nonce is None or private_nonce <= plan.lock_nonce + 1
        # A node that shows no group at its head does not know it yet: that is no unlocked one.
        if not view.exists or (view.locked and ours):
            return None
        if view.locked is False:
            await self._check_depth(watcher, change, head)
        effect = Effect(block_number=head.number, block_hash=head.block_hash, view=view, witness=watcher.node.name)
        return AttemptSettled(effect=effect, private_nonce=private_nonce)

    async def _check_depth(self, watcher: ChainWatcher, change: Change, head: Head) -> None:
        """Raise `NodeError` while a group that shows no lock showed one within the confirmations."""
        if self.confirmations == 0:
            return
        then = await watcher.node.view(change.privacy_group_id, max(head.number - self.confirmations, 0))
        if then.exists and then.locked:
            detail = f"the lock was gone less than {self.confirmations} blocks ago"
            raise NodeError(Reason(slug="node_behind", detail=detail))

    async def _sending_node(self, change: Change, command: Sign) -> ChainWatcher:
        """The planned node; another member's when that one does not answer and a lock of ours must not stay."""
        plan = _plan(change)
        try:
            watcher = self.fleet.named(plan.node)
            if command.action is Action.UNLOCK or not watcher.subscribed:
                await watcher.refresh()
        except NodeError:
            if command.action is not Action.UNLOCK:
                raise
            sender = await self.fleet.sender_for(change.privacy_group_id, (), (*plan.to_remove, *plan.to_add))
            watcher = sender.watcher
        # Reading the private nonce and bundling the history happen at this node's head: it must have the lock.
        lock_block = change.lock_block or 0
        if (await watcher.current()).number < lock_block and not await watcher.wait_beyond(
            lock_block - 1, SILENCE_SECONDS
        ):
            raise silence(watcher.node.name)
        return watcher


def _known_here(error: NodeError | None) -> NodeError | None:
    """Return a node's refusal; that its pool keeps another form of the same marker is none."""
    return None if error is not None and error.reason.slug == OUTBID else error


def _plan(change: Change) -> Plan:
    if change.plan is None:
        raise ImpossibleStepError(f"change {change.change_id} signs without a plan")
    return change.plan
