"""Doing what the rules want: each command becomes calls on nodes, and what came of it becomes one fact."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from orchestrator.engine.attempts.restored import Restoration, concerns, hindrance
from orchestrator.engine.attempts.settlement import SILENCE_SECONDS, burn, settle
from orchestrator.engine.attempts.submission import Sending
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import silence
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.engine.preflight.survey import survey
from orchestrator.engine.proof.observation import Observer
from orchestrator.membership.attempt import Action, Attempt
from orchestrator.membership.commands import Burn, Command, Observe, Renew, Send, Settle, Sign, Survey
from orchestrator.membership.errors import ImpossibleStepError
from orchestrator.membership.facts import (
    AttemptBurnt,
    AttemptSettled,
    AttemptUnmined,
    Fact,
    Hindered,
    Surveyed,
)
from orchestrator.membership.model import Change, Kind, State
from orchestrator.membership.reasons.table import Reason

CONFIRMATION_ROUNDS = 3
"""How often a refusal is looked at again when it looks different each time, before it is waited for anew."""


BURN_FORMS = 3
"""How many forms what burns a marker takes in turns: a pool that shelved one takes the next in its place."""


BEGINS = frozenset({Action.CREATE, Action.LOCK, Action.REMOVE})
"""What may be the first transaction of a change; all others follow one that is seen on the chain."""


@dataclass(frozen=True, slots=True)
class Executor:
    """Does commands.

    Attributes:
        sending: Signs and broadcasts; it also names the nodes, the accounts and what is remembered of them.
        observer: Compares members for the proof.
        locks: Reads the newest locks that were signed for a group from the store.
        succeeded: Reads from it the newest change that succeeded in a group.
        restoration: That the store was restored from a backup; None for one that never was.
    """

    sending: Sending
    observer: Observer
    locks: Callable[[str], Awaitable[Sequence[Attempt]]]
    succeeded: Callable[[str], Awaitable[Sequence[Change]]]
    restoration: Restoration | None = None

    @property
    def _fleet(self) -> Fleet:
        return self.sending.fleet

    @property
    def _confirmations(self) -> int:
        return self.sending.confirmations

    async def perform(self, change: Change, command: Command) -> Fact:
        """Do a command and return what was observed; a node's failure is a fact, too.

        Args:
            change: The change as it was last committed.
            command: What the rules want done for it.
        """
        try:
            match command:
                case Survey():
                    return await self._survey(change)
                case Sign():
                    return await self._sign(change, command)
                case Renew(attempt=attempt):
                    return self.sending.renew(attempt)
                case Send():
                    return await self.sending.send(change, command)
                case Settle(attempt=attempt):
                    return await self._settle(change, attempt)
                case Burn(attempt=attempt):
                    return await self._burn(change, attempt)
                case Observe():
                    return await self.observer.observe(change)
                case _:
                    raise ImpossibleStepError(f"nobody knows how to do {command}")
        except NodeError as error:
            return Hindered(reason=error.reason)

    async def _survey(self, change: Change) -> Fact:
        if change.account not in self.sending.signers.accounts:
            return Hindered(reason=Reason(slug="account_unavailable", detail=change.account))
        await self._recall_members(change)
        surveyed, _ = await asyncio.gather(
            survey(self._fleet, change, self.sending.forecaster), self._read_nonce_ahead(change)
        )
        # A restored store may not know that this change was done, and undone since: what the group is now does not tell
        # that from one that never was.
        if self.restoration is not None and concerns(self.restoration, change):
            node = self._fleet.named(surveyed.node).node
            reason = await hindrance(self.restoration, change, node, surveyed.view)
            if reason is not None:
                return Hindered(reason=reason)
        if surveyed.view.locked and change.kind is not Kind.UNLOCK_GROUP:
            # One of ours may come back by a reorganisation after its change has ended; nobody else would ever undo it.
            surveyed = replace(surveyed, own_lock=await self._own_lock(change, surveyed))
        surveyed = await self.sending.doubts.look(change, await self.sending.doubts.measured(change, surveyed))
        # After the forecast, which says on whose nodes this one would run into an addition that is under way.
        if surveyed.forecast is not None:
            reason = await self.sending.additions.busy(change, surveyed.forecast)
            if reason is not None:
                return Hindered(reason=reason)
        taken = self.sending.bundling.last(surveyed.node, change.privacy_group_id)
        return replace(surveyed, bundling_seconds=taken)

    async def _recall_members(self, change: Change) -> None:
        """Know after a restart who a group's members were: else whoever answers first may show it as its own."""
        group = change.privacy_group_id
        if change.kind is Kind.CREATE_GROUP or self._fleet.knows(group):
            return
        for done in await self.succeeded(group):
            if done.effect is not None:
                self._fleet.remember_members(group, done.effect.view.participants)

    async def _own_lock(self, change: Change, surveyed: Surveyed) -> int | None:
        """Look whether the lock that holds the group is one of ours, by its own private receipt."""
        node = self._fleet.named(surveyed.node).node
        locks = [lock for lock in await self.locks(change.privacy_group_id) if lock.marker.ours]
        if not locks:
            return None
        # Under a lock nothing else executes: the one that holds the group is the last that the account's count has
        # (docs/besu.md#nonces, 1).
        used = await node.private_nonce(change.privacy_group_id, change.account)
        for lock in locks:
            if lock.private_nonce + 1 == used and any(
                outcome.executed for outcome in await node.outcomes(lock.pmt_hashes)
            ):
                return lock.private_nonce
        return None

    async def _sign(self, change: Change, command: Sign) -> Fact:
        begins = command.action in BEGINS or change.kind is Kind.UNLOCK_GROUP
        if self.restoration is not None and concerns(self.restoration, change) and begins:
            watcher = self._fleet.named(change.plan.node if change.plan is not None else "")
            view = await watcher.node.view(change.privacy_group_id, (await watcher.refresh()).number)
            reason = await hindrance(self.restoration, change, watcher.node, view)
            if reason is not None:
                return Hindered(reason=reason)
        fact = await self.sending.sign(change, command)
        # Nothing was signed: the group is not locked by us any more. The nonce tells whether our lock was rolled back.
        if isinstance(fact, AttemptSettled):
            node = change.plan.node if change.plan is not None else ""
            return await self._with_private_nonce(change, node, fact)
        return fact

    async def _read_nonce_ahead(self, change: Change) -> None:
        """Read the private nonce along with the survey, where the group was sent through before."""
        home = self._fleet.home_of(change.privacy_group_id)
        # A head that no subscription keeps new may be older than what is read now, and this is kept under the head's
        # hash.
        if home is None or home.head is None or not home.subscribed:
            return
        read_at, name = home.head.block_hash, home.node.name
        with contextlib.suppress(NodeError):
            private_nonce = await home.node.private_nonce(change.privacy_group_id, change.account)
            self.sending.nonces.remember(name, change.privacy_group_id, change.account, read_at, private_nonce)

    async def _settle(self, change: Change, attempt: Attempt) -> Fact:
        fact = await self._deep(change, attempt, await settle(self._fleet, change, attempt))
        return await self._with_private_nonce(change, attempt.node, fact)

    async def _burn(self, change: Change, attempt: Attempt) -> Fact:
        forms = [self.sending.markers.burn(attempt.marker, n) for n in range(BURN_FORMS)] if attempt.marker.ours else []
        fact = await burn(self._fleet, change, attempt, forms, self._confirmations)
        if fact is None:
            return AttemptBurnt(head=self._newest(attempt))
        return await self._deep(change, attempt, fact)

    async def _deep(self, change: Change, attempt: Attempt, fact: Fact) -> Fact:
        """Let what ends a batch be so deep as is configured."""
        if isinstance(fact, AttemptSettled) and fact.effect is not None and self._confirmations == 0:
            fact = replace(fact, effect=replace(fact.effect, deep=True))
        # Of all other effects a proof follows, which waits for the depth itself.
        ends = isinstance(fact, AttemptSettled) and (fact.effect is None or attempt.action is Action.UNLOCK)
        return await self._confirmed(change, attempt, fact) if self._confirmations and ends else fact

    async def _confirmed(self, change: Change, attempt: Attempt, fact: Fact) -> Fact:
        """Look again until the same is seen so many blocks later.

        After a refusal or an undone lock nobody looks at the attempt any more: a reorganisation could bring it back.
        """
        watcher = self._fleet.named(attempt.node)
        for _ in range(CONFIRMATION_ROUNDS):
            head = await watcher.refresh()
            if await watcher.wait_beyond(head.number + self._confirmations - 1, SILENCE_SECONDS) is None:
                raise silence(watcher.node.name)
            again = await settle(self._fleet, change, attempt)
            # The same block and the same state so many blocks later; else a reorganisation came in between.
            if again == fact or not isinstance(again, AttemptSettled):
                return again
            fact = again
        return AttemptUnmined(head=(await watcher.refresh()).number)

    async def _with_private_nonce(self, change: Change, node: str, fact: Fact) -> Fact:
        """Tell the rules the private nonce along where a reorganisation may have taken our lock back."""
        watcher = self._fleet.named(node)
        held = change.plan is not None and change.plan.lock_nonce is not None
        # Where no block ever went away it would be one more call inside the lock window.
        possible = self._confirmations > 0 or watcher.reorganisations > 0
        if not held or not possible or change.state not in (State.ADDING, State.UNLOCKING):
            return fact
        if not isinstance(fact, AttemptSettled | AttemptUnmined):
            return fact
        return replace(fact, private_nonce=await watcher.node.private_nonce(change.privacy_group_id, change.account))

    def _newest(self, attempt: Attempt) -> int:
        head = self._fleet.named(attempt.node).head
        return head.number if head is not None else attempt.since_block
