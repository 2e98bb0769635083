"""What the engine's executor does, on a simulated chain: each command becomes one fact.

The caller decides what sends come to and what each look at a member's node shows; the rest follows from the chain.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from orchestrator.membership import facts
from orchestrator.membership.commands import Command, Observe, Send, Settle, Sign, Survey
from orchestrator.membership.model import Action, Attempt, Change, Effect, GroupView
from orchestrator.membership.reading import read
from orchestrator.membership.reasons import Reason
from orchestrator.membership.replay import last_proof_block, watched
from orchestrator.membership.signals import Signal
from tests.fakes.simulated_chain import PrivateTransaction, SimulatedChain
from tests.fakes.surveys import a_forecast

DAEMON = "daemon"
PROOF_BLOCKS = 2

Refusal = tuple[str, bool]
"""What a send fails with: the reason's slug, and whether the node refused for certain."""


@dataclass(slots=True)
class Conditions:
    """What the world outside does at the next step.

    Attributes:
        refusal: What the next send fails with.
        arrives: Whether a send whose answer is lost got through.
        hindrance: What keeps the next command from being done.
        unknown_keys: Members whose enclave nobody knows: an addition of them is refused.
        unobserved: Members whose node we have no access to.
        lost: Members whose node lost the group.
        lagging: Members whose node has not reached the effect's block.
        surveys: Gives what is known of a key before anything is sent.
    """

    refusal: Refusal | None = None
    arrives: bool = False
    hindrance: str | None = None
    unknown_keys: set[str] = field(default_factory=set)
    unobserved: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    lagging: set[str] = field(default_factory=set)
    surveys: Callable[[str], facts.MemberSurvey] = field(default=lambda key: facts.MemberSurvey(enclave_key=key))


class SimulatedWorld:
    """Does commands.

    Args:
        chain: The chain.
        sender: The enclave key of the node that is sent through.

    Attributes:
        conditions: What happens to the next commands.
        sends: Each attempt that was sent, with the bytes that were stored for it before.
        arrived: Ids of the attempts that reached the pool.
        agreed: (member, block hash) pairs at which a member's node was seen with the group's true state.
    """

    def __init__(self, chain: SimulatedChain, sender: str) -> None:
        self.chain = chain
        self.sender = sender
        self.conditions = Conditions()
        self.sends: list[tuple[Attempt, bytes | None]] = []
        self.arrived: set[str] = set()
        self.agreed: set[tuple[str, str]] = set()
        self._signed = 0

    def do(self, change: Change, command: Command, stored: Sequence[Attempt], now: datetime) -> facts.Fact | None:
        """Do a command; returns None when it waits for something that has not happened yet.

        Args:
            change: The change.
            command: What the rules want done for it.
            stored: The change's attempts, as committed.
            now: The present time.
        """
        if self.conditions.hindrance is not None:
            return facts.Hindered(reason=Reason(slug=self.conditions.hindrance))
        match command:
            case Survey():
                return self._survey(change)
            case Sign():
                return self._sign(change, command)
            case Send(attempt=attempt):
                return self._send(attempt, stored)
            case Settle(attempt=attempt, search=search):
                return self._settle(attempt, search=search)
            case Observe():
                return self._observe(change, now)
            case _:
                raise AssertionError(f"nobody knows how to do {command}")

    def _survey(self, change: Change) -> facts.Surveyed:
        head = self.chain.head
        view = self.chain.view(head.number)
        return facts.Surveyed(
            node="node1",
            head=head.number,
            head_hash=head.block_hash,
            newest_head=head.number,
            syncing=False,
            view=view,
            abi="bytes" if view.exists else None,
            native_abi="bytes",
            besu_version=(23, 10, 3),
            owner=True if view.exists else None,
            sender_key=self.sender,
            members=tuple(self.conditions.surveys(key) for key in dict.fromkeys((*change.members, *view.participants))),
            forecast=a_forecast(),
        )

    def _sign(self, change: Change, command: Sign) -> facts.Fact | None:
        head = self.chain.head
        count = head.state.private_nonce
        if command.action is Action.UNLOCK and head.state.locked_by is None:
            plan = change.plan
            ours = plan is not None and plan.lock_nonce is not None and count <= plan.lock_nonce
            if not ours and self.chain.deep.state.locked_by is not None:
                return None  # unlocked, but not yet for good
            effect = Effect(block_number=head.number, block_hash=head.block_hash, view=self.chain.view(head.number))
            return facts.AttemptSettled(effect=effect, private_nonce=count)
        self._signed += 1
        transaction = PrivateTransaction(
            action=command.action, members=command.members, private_nonce=count, client=DAEMON
        )
        attempt = Attempt(
            attempt_id=f"a{self._signed}",
            action=command.action,
            members=command.members,
            node="node1",
            private_nonce=count,
            raw=transaction.raw,
            since_block=head.number,
        )
        return facts.AttemptSigned(attempt=attempt)

    def _send(self, attempt: Attempt, stored: Sequence[Attempt]) -> facts.Fact:
        self.sends.append((attempt, next((a.raw for a in stored if a.attempt_id == attempt.attempt_id), None)))
        head = self.chain.head
        transaction = PrivateTransaction(
            action=attempt.action, members=attempt.members, private_nonce=attempt.private_nonce, client=DAEMON
        )
        refusal, self.conditions.refusal = self.conditions.refusal, None
        if refusal is not None:
            if not refusal[1] and self.conditions.arrives:
                self.chain.submit(transaction)
                self.arrived.add(attempt.attempt_id)
            return facts.SendFailed(reason=Reason(slug=refusal[0]), certain=refusal[1], head=head.number)
        if head.state.private_nonce > attempt.private_nonce:
            reason = Reason(slug="private_nonce_used")
            return facts.SendFailed(reason=reason, certain=True, head=head.number)
        if attempt.action is Action.ADD and self.conditions.unknown_keys & set(attempt.members):
            return facts.SendFailed(reason=Reason(slug="enclave_key_unknown"), certain=True, head=head.number)
        self.arrived.add(attempt.attempt_id)
        return facts.AttemptSent(pmt_hash=self.chain.submit(transaction), head=head.number)

    def _settle(self, attempt: Attempt, *, search: bool) -> facts.Fact | None:
        chain, head = self.chain, self.chain.head
        count = head.state.private_nonce
        mined = chain.outcomes(attempt.raw)
        found = {o.marker.pmt_hash for o in mined if o.block_number > attempt.since_block} if search else set()
        known = [o for o in mined if o.marker.pmt_hash in found | set(attempt.pmt_hashes)]
        executed = next((o for o in known if o.executed), None)
        used_deep = chain.deep.state.private_nonce > attempt.private_nonce
        if executed is None and used_deep:
            executed = next((o for o in mined if o.executed), None)
        if executed is not None:
            view = chain.view(executed.block_number)
            if not _fulfils(view, attempt):
                return facts.AttemptSettled(effect=None, reason=Reason(slug="group_moved"), private_nonce=count)
            if attempt.action is not Action.UNLOCK or executed.block_number <= chain.final:
                return facts.AttemptSettled(effect=self._effect(executed.block_number, view), private_nonce=count)
        elif used_deep:
            reason = Reason(slug="wrong_private_nonce")
            return facts.AttemptSettled(effect=None, reason=reason, private_nonce=count)
        elif known and {o.marker.pmt_hash for o in known} >= found | set(attempt.pmt_hashes):
            last = known[-1]
            if last.block_number <= chain.final:
                view = chain.view(last.block_number)
                if attempt.action is not Action.LOCK and _fulfils(view, attempt):
                    return facts.AttemptSettled(effect=self._effect(last.block_number, view), private_nonce=count)
                reason = Reason(slug=last.reason or "execution_refused")
                return facts.AttemptSettled(effect=None, reason=reason, private_nonce=count)
        looked = attempt.seen_block if attempt.seen_block is not None else attempt.sent_block
        if looked is not None and looked >= head.number:
            return None
        return facts.AttemptUnmined(head=head.number, found=tuple(sorted(found)), private_nonce=count)

    def _effect(self, number: int, view: GroupView) -> Effect:
        return Effect(block_number=number, block_hash=self.chain.blocks[number].block_hash, view=view)

    def _observe(self, change: Change, now: datetime) -> facts.ConvergenceObserved | None:
        effect, head = change.effect, self.chain.head.number
        if effect is None:
            raise AssertionError("nothing to observe")
        there = self.chain.blocks[effect.block_number].block_hash if effect.block_number <= head else None
        observed = facts.ConvergenceObserved(
            effect_block_hash=there,
            head=head,
            sightings=(),
            proof_blocks=PROOF_BLOCKS,
            confirmations=self.chain.confirmations,
        )
        last = min(head, last_proof_block(effect, change, observed))
        sightings = tuple(self._sight(key, effect.block_number, last) for key in watched(change))
        observed = replace(observed, sightings=sightings)
        read_again = read(change, observed, now)
        if read_again[0] is Signal.NOTED and read_again[1].progress == change.progress:
            return None  # nothing new
        return observed

    def _sight(self, key: str, first: int, last: int) -> facts.Sighting:
        world = self.conditions
        if key in world.unobserved:
            return facts.Sighting(enclave_key=key, node=None, head=None)
        if key in world.lagging:
            return facts.Sighting(enclave_key=key, node=key, head=first - 1, blocks_replayed=1, blocks_total=2)
        views = [self.chain.view(number) for number in range(first, last + 1)]
        if key in world.lost:
            views = [GroupView(block_number=view.block_number, exists=False) for view in views]
        else:
            self.agreed |= {(key, self.chain.blocks[number].block_hash) for number in range(first, last + 1)}
        return facts.Sighting(enclave_key=key, node=key, head=last, views=tuple(views))


def _fulfils(view: GroupView, attempt: Attempt) -> bool:
    members = set(view.participants)
    match attempt.action:
        case Action.CREATE:
            return view.exists and members >= set(attempt.members)
        case Action.LOCK:
            return view.locked
        case Action.ADD:
            return members >= set(attempt.members) and not view.locked
        case Action.REMOVE:
            return view.exists and members.isdisjoint(attempt.members)
        case Action.UNLOCK:
            return view.exists and not view.locked
