"""Doing what the rules want: each command becomes calls on nodes, and what came of it becomes one fact."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from orchestrator.engine.bundling import BundlingBook
from orchestrator.engine.fleet import Fleet
from orchestrator.engine.history.forecaster import Forecaster
from orchestrator.engine.node_ports import Contract, Head, NodeError, Signers
from orchestrator.engine.nonces import NonceBook
from orchestrator.engine.observing import Observer
from orchestrator.engine.ports import Clock
from orchestrator.engine.settling import SILENCE_SECONDS, is_pooled, settle
from orchestrator.engine.surveying import survey
from orchestrator.engine.watcher import ChainWatcher, silence
from orchestrator.membership.commands import Command, Observe, Pause, Send, Settle, Sign, Survey
from orchestrator.membership.errors import ImpossibleStepError
from orchestrator.membership.facts import (
    AttemptSent,
    AttemptSettled,
    AttemptSigned,
    AttemptUnmined,
    Fact,
    Hindered,
    SendFailed,
)
from orchestrator.membership.model import Action, Attempt, Change, Effect, State
from orchestrator.membership.reasons import Reason
from orchestrator.membership.retry import POOLED_WITHIN_BLOCKS, RESEND_AFTER_BLOCKS

CONFIRMATION_ROUNDS = 3
"""How often a refusal is looked at again when it looks different each time, before it is waited for anew."""


@dataclass(frozen=True, slots=True)
class Executor:
    """Does commands.

    Attributes:
        fleet: The nodes.
        signers: The accounts.
        contract: The management contract's codec.
        observer: Compares members for the proof.
        forecaster: Forecasts what new members' nodes make of a group's history.
        clock: Time.
        new_id: Makes unique ids.
        confirmations: How deep what ends a turn without an effect must be.
        nonces: Private nonces that were read on the way.
        bundling: What earlier additions took.
    """

    fleet: Fleet
    signers: Signers
    contract: Contract
    observer: Observer
    forecaster: Forecaster
    clock: Clock
    new_id: Callable[[], str]
    confirmations: int = 0
    nonces: NonceBook = field(default_factory=NonceBook)
    bundling: BundlingBook = field(default_factory=BundlingBook)

    async def perform(self, change: Change, command: Command) -> Fact:
        """Do a command and return what was observed; a node's failure is a fact, too.

        Args:
            change: The change as it was last committed.
            command: What the rules want done for it.
        """
        if isinstance(command, Pause):
            await self.clock.sleep(command.seconds)
            command = command.then
        try:
            match command:
                case Survey():
                    if change.account not in self.signers.accounts:
                        return Hindered(reason=Reason(slug="account_unavailable", detail=change.account))
                    surveyed, _ = await asyncio.gather(
                        survey(self.fleet, change, self.forecaster), self._read_nonce_ahead(change)
                    )
                    taken = self.bundling.last(surveyed.node, change.privacy_group_id)
                    return replace(surveyed, bundling_seconds=taken)
                case Sign():
                    return await self._sign(change, command)
                case Send(attempt=attempt):
                    return await self._send(change.privacy_group_id, attempt)
                case Settle(attempt=attempt, search=search):
                    return await self._settle(change, attempt, search=search)
                case Observe():
                    return await self.observer.observe(change)
                case _:
                    raise ImpossibleStepError(f"nobody knows how to do {command}")
        except NodeError as error:
            return Hindered(reason=error.reason)

    async def _read_nonce_ahead(self, change: Change) -> None:
        """Read the private nonce along with the survey, where the group was sent through before."""
        home = self.fleet.home_of(change.privacy_group_id)
        if home is None or home.head is None or not home.subscribed:
            return
        read_at, name = home.head.block_hash, home.node.name
        with contextlib.suppress(NodeError):
            private_nonce = await home.node.private_nonce(change.privacy_group_id, change.account)
            self.nonces.remember(name, change.privacy_group_id, change.account, read_at, private_nonce)

    async def _sign(self, change: Change, command: Sign) -> Fact:
        plan = change.plan
        if plan is None:
            raise ImpossibleStepError(f"change {change.change_id} signs without a plan")
        if change.account not in self.signers.accounts:
            return Hindered(reason=Reason(slug="account_unavailable", detail=change.account))
        watcher = await self._sending_node(change, command)
        node = watcher.node
        head = await watcher.current()
        if command.action is Action.UNLOCK:
            head = await self._outlast_addition(watcher, change, head)
            # Somebody may have unlocked it already; a second unlock would only fail.
            view = await node.view(change.privacy_group_id, head.number)
            if view.exists and not view.locked:
                await self._check_depth(watcher, change, head)
                effect = Effect(block_number=head.number, block_hash=head.block_hash, view=view)
                return await self._with_private_nonce(change, node.name, AttemptSettled(effect=effect))
        if command.action is Action.UNLOCK and plan.unlock_by_empty_add:
            payload = self.contract.unlock_by_empty_add(plan.abi)
        else:
            payload = self.contract.payload(command.action, command.members, plan.abi)
        private_nonce = self.nonces.take(node.name, change.privacy_group_id, change.account, head.block_hash)
        if private_nonce is None:
            private_nonce = await node.private_nonce(change.privacy_group_id, change.account)
        traits = await node.traits()
        sender_key = _sender_key(node.enclave_keys, plan.participants or command.members)
        raw = self.signers.sign(
            account=change.account,
            chain_id=traits.chain_id,
            private_nonce=private_nonce,
            privacy_group_id=change.privacy_group_id,
            private_from=sender_key,
            payload=payload,
        )
        attempt = Attempt(
            attempt_id=self.new_id(),
            action=command.action,
            members=command.members,
            node=node.name,
            private_nonce=private_nonce,
            raw=raw,
            since_block=head.number,
        )
        return AttemptSigned(attempt=attempt)

    async def _outlast_addition(self, watcher: ChainWatcher, change: Change, head: Head) -> Head:
        """Wait while a PMT of an addition that is given up may be mined: after the unlock it would part the members."""
        add = change.attempt
        if add is None or not add.live or add.action is not Action.ADD or add.sent_block is None:
            return head
        while head.number < add.since_block + POOLED_WITHIN_BLOCKS:
            if head.number >= add.sent_block + RESEND_AFTER_BLOCKS and not await is_pooled(self.fleet, watcher, add):
                break
            newer = await watcher.wait_beyond(head.number, SILENCE_SECONDS)
            if newer is None:
                raise silence(watcher.node.name)
            head = newer
            if not (await watcher.node.lock_view(change.privacy_group_id, head.number)).locked:
                break
        return head

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
        plan = change.plan
        if plan is None:
            raise ImpossibleStepError(f"change {change.change_id} sends without a plan")
        try:
            watcher = self.fleet.named(plan.node)
            if command.action is Action.UNLOCK or not watcher.subscribed:
                await watcher.refresh()
        except NodeError:
            if command.action is not Action.UNLOCK:
                raise
            sender = await self.fleet.sender_for(change.privacy_group_id, (), plan.to_remove)
            watcher = sender.watcher
        # Reading the private nonce and bundling the history happen at this node's head: it must have the lock.
        lock_block = change.lock_block or 0
        if (await watcher.current()).number < lock_block and not await watcher.wait_beyond(
            lock_block - 1, SILENCE_SECONDS
        ):
            raise silence(watcher.node.name)
        return watcher

    async def _settle(self, change: Change, attempt: Attempt, *, search: bool) -> Fact:
        fact = await settle(self.fleet, change, attempt, search=search, depth=self.confirmations)
        if self.confirmations and isinstance(fact, AttemptSettled) and _ends_a_turn(attempt, fact):
            fact = await self._confirmed(change, attempt, fact)
        fact = await self._with_private_nonce(change, attempt.node, fact)
        if isinstance(fact, AttemptSettled) and fact.effect is not None and fact.private_nonce is not None:
            group, read_at = change.privacy_group_id, fact.effect.block_hash
            self.nonces.remember(attempt.node, group, change.account, read_at, fact.private_nonce)
        return fact

    async def _confirmed(self, change: Change, attempt: Attempt, fact: Fact) -> Fact:
        """Look again until the same is seen so many blocks later.

        After a refusal or an undone lock nobody looks at the attempt any more: a reorganisation could bring it back.
        """
        watcher = self.fleet.named(attempt.node)
        for _ in range(CONFIRMATION_ROUNDS):
            head = await watcher.refresh()
            if await watcher.wait_beyond(head.number + self.confirmations - 1, SILENCE_SECONDS) is None:
                raise silence(watcher.node.name)
            again = await settle(self.fleet, change, attempt, search=True, depth=self.confirmations)
            if again == fact or not isinstance(again, AttemptSettled):
                return again
            fact = again
        return AttemptUnmined(head=(await watcher.refresh()).number)

    async def _with_private_nonce(self, change: Change, node: str, fact: Fact) -> Fact:
        """Tell the rules the private nonce along where a reorganisation may have taken our lock back."""
        watcher = self.fleet.named(node)
        held = change.plan is not None and change.plan.lock_nonce is not None
        possible = self.confirmations > 0 or watcher.reorganisations > 0
        if not held or not possible or change.state not in (State.ADDING, State.UNLOCKING):
            return fact
        if not isinstance(fact, AttemptSettled | AttemptUnmined):
            return fact
        return replace(fact, private_nonce=await watcher.node.private_nonce(change.privacy_group_id, change.account))

    async def _send(self, privacy_group_id: str, attempt: Attempt) -> Fact:
        watcher = self.fleet.named(attempt.node)
        head = await watcher.current()
        begun_at = self.clock.now()
        try:
            pmt_hash = await watcher.node.send(attempt.raw)
        except NodeError as error:
            return SendFailed(reason=error.reason, certain=error.certain, head=_newest(watcher, head))
        seconds = max((self.clock.now() - begun_at).total_seconds(), 0.0)
        if attempt.action is Action.ADD:
            self.bundling.remember(attempt.node, privacy_group_id, seconds)
        return AttemptSent(pmt_hash=pmt_hash, head=_newest(watcher, head), seconds=seconds)


def _newest(watcher: ChainWatcher, head: Head) -> int:
    """The head after a send, which takes blocks where a long history is bundled (PROTOCOL.md, Replay, measured)."""
    return head.number if watcher.head is None else max(head.number, watcher.head.number)


def _ends_a_turn(attempt: Attempt, fact: AttemptSettled) -> bool:
    return fact.effect is None or attempt.action is Action.UNLOCK


def _sender_key(hosted: tuple[str, ...], members: tuple[str, ...]) -> str:
    return next((key for key in hosted if key in members), hosted[0])
