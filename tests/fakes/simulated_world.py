"""What the engine's executor does, on a simulated chain: each command becomes one fact.

The caller decides what broadcasts come to and what each look at a member's node shows; the rest follows from the chain.
What a daemon must never do raises `HarmError` here, at the moment in which it does it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from orchestrator.engine.attempts.settlement import compared_with_lock
from orchestrator.membership import facts
from orchestrator.membership.attempt import Action, Attempt
from orchestrator.membership.commands import Burn, Command, Observe, Renew, Send, Settle, Sign, Survey
from orchestrator.membership.model import Change, Effect, GroupView, Kind
from orchestrator.membership.proof.comparison import same_state, watched
from orchestrator.membership.reasons.table import Reason
from orchestrator.membership.repair import ADDING
from orchestrator.membership.retry import LOCK_WINDOW_BLOCKS, WIDEN_AFTER_BLOCKS
from orchestrator.membership.triage.attempts import MINED_ALREADY
from orchestrator.membership.triage.facts import read
from orchestrator.membership.triage.signals import Signal
from tests.fakes.changes import a_marker
from tests.fakes.simulated_chain import (
    DAEMON,
    HarmError,
    Outcome,
    Payload,
    PrivateTransaction,
    PublicTransaction,
    SimulatedChain,
    Stuck,
)
from tests.fakes.surveys import a_forecast

PROOF_BLOCKS = 2

Refusal = tuple[str, bool]
"""What a broadcast fails with: the reason's slug, and whether every node refused for certain."""


@dataclass(slots=True)
class Conditions:
    """What the world outside does at the next step.

    Attributes:
        refusal: What the next broadcast of a marker fails with.
        arrives: Whether a broadcast whose answer is lost got through.
        stuck: What the pool that the next marker reaches first does with it.
        burns_arrive: Whether what burns a marker reaches any pool.
        hindrance: What keeps the next command from being done.
        unknown_keys: Members whose enclave nobody knows: an addition of them is refused.
        unobserved: Members whose node we have no access to.
        lost: Members whose node lost the group.
        lagging: Members whose node has not reached the effect's block.
        surveys: Gives what is known of a key before anything is sent.
    """

    refusal: Refusal | None = None
    arrives: bool = False
    stuck: Stuck | None = None
    burns_arrive: bool = True
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
        sends: Each attempt whose marker was broadcast, with what was stored for it before.
        arrived: The attempts of which a marker reached a pool, by the marker's account.
        agreed: (member, block hash) pairs at which a member's node was seen with the group's true state.
    """

    def __init__(self, chain: SimulatedChain, sender: str) -> None:
        self.chain = chain
        self.sender = sender
        self.conditions = Conditions()
        self.sends: list[tuple[Attempt, Attempt | None]] = []
        self.arrived: dict[str, Attempt] = {}
        self.agreed: set[tuple[str, str]] = set()
        self._payloads: dict[bytes, Payload] = {}
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
            case Renew(attempt=attempt):
                return self._renew(attempt)
            case Send():
                return self._send(change, command, stored)
            case Settle(attempt=attempt):
                return self._settle(change, attempt)
            case Burn(attempt=attempt):
                return self._burn(change, attempt)
            case Observe():
                return self._observe(change, now)
            case _:
                raise AssertionError(f"nobody knows how to do {command}")

    def can_be_mined(self) -> list[Attempt]:
        """Return the attempts whose marker was in a pool and is not decided: a cut-off node may still have it."""
        return [attempt for account, attempt in self.arrived.items() if not self.chain.used(account)]

    # --- signing ----------------------------------------------------------------------------------------------------

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
            members=tuple(self._member(change, key) for key in dict.fromkeys((*change.members, *view.participants))),
            forecast=replace(a_forecast(), last_block=self._newest() if change.kind in ADDING else 0),
            own_lock=head.state.private_nonce - 1 if head.state.locked_by == DAEMON else None,
        )

    def _member(self, change: Change, key: str) -> facts.MemberSurvey:
        survey = self.conditions.surveys(key)
        if change.repair is None or not change.repairs or key not in change.repair.members:
            return survey
        return replace(survey, agrees=key not in self.conditions.lost)

    def _sign(self, change: Change, command: Sign) -> facts.Fact | None:
        head = self.chain.head
        early = command.after_block is not None and head.number < command.after_block
        if early and command.action is not Action.UNLOCK:
            return None
        count = head.state.private_nonce
        if command.action is Action.UNLOCK:
            gone = self._unlocked_already(change)
            if gone is not None:
                return gone
        if command.action is Action.ADD:
            moved = self._moved(change)
            if moved is not None:
                return moved
            if self.conditions.unknown_keys & set(command.members):
                return facts.Hindered(reason=Reason(slug="enclave_key_unknown"))
        if self.can_be_mined() and not self.chain.reorganised:
            raise HarmError(f"{command} is signed while {self.can_be_mined()} can be mined")
        payload = self.chain.distribute(
            PrivateTransaction(action=command.action, members=command.members, private_nonce=count, client=DAEMON)
        )
        self._look_for_run(change, command)
        self._payloads[payload.key] = payload
        self._signed += 1
        attempt = Attempt(
            attempt_id=f"a{self._signed}",
            action=command.action,
            members=command.members,
            node="node1",
            private_nonce=count,
            raw=payload.transaction.raw,
            since_block=head.number,
            marker=a_marker(f"a{self._signed}", payload_key=payload.key),
        )
        return facts.AttemptSigned(attempt=attempt)

    def _newest(self, client: str | None = None) -> int:
        """The newest block with an executed transaction of a client's, or of anybody's; 0 for none."""
        done = (o for o in self.chain.outcomes if o.executed and client in (None, o.public.transaction.client))
        return max((outcome.block_number for outcome in done), default=0)

    def _renew(self, attempt: Attempt) -> facts.AttemptSigned:
        marker, hashes = attempt.marker, attempt.pmt_hashes
        gas = marker.gas_limit + 1
        renewed = replace(marker, gas_limit=gas, raw=marker.raw + b"+", pmt_hash=f"{marker.account} with {gas} gas")
        return facts.AttemptSigned(attempt=replace(attempt, marker=renewed, renewed=hashes))

    def _unlocked_already(self, change: Change) -> facts.Fact | None:
        head, plan = self.chain.head, change.plan
        view, count = self.chain.view(head.number), head.state.private_nonce
        ours = (
            change.kind is Kind.UNLOCK_GROUP or plan is None or plan.lock_nonce is None or count <= plan.lock_nonce + 1
        )
        if not view.exists or (view.locked and ours):
            return None
        if not view.locked and self.chain.deep.state.locked_by is not None and self.chain.confirmations > 0:
            return facts.Hindered(reason=Reason(slug="node_behind"))  # unlocked, but not yet for good
        return facts.AttemptSettled(effect=self._effect(head.number, view), private_nonce=count)

    def _moved(self, change: Change) -> facts.GroupMoved | None:
        head = self.chain.head
        if change.plan is None or change.plan.lock_nonce is None:
            raise AssertionError(f"{change.change_id} adds without a lock")
        return compared_with_lock(change.plan, self.chain.view(head.number), head.state.private_nonce)

    # --- sending ----------------------------------------------------------------------------------------------------

    def _send(self, change: Change, command: Send, stored: Sequence[Attempt]) -> facts.Fact | None:
        attempt, head = command.attempt, self.chain.head
        if command.after_block is not None and head.number < command.after_block:
            return None
        if attempt.action is Action.ADD:
            moved = self._moved(change)
            if moved is not None and self._mined(attempt) is None:
                return moved
            self._look_for_harm(attempt)
        self.sends.append((attempt, next((a for a in stored if a.attempt_id == attempt.attempt_id), None)))
        refusal, self.conditions.refusal = self.conditions.refusal, None
        if refusal is not None:
            if not refusal[1] and self.conditions.arrives:
                self._broadcast(attempt, widely=command.widely)
            return facts.SendFailed(reason=Reason(slug=refusal[0]), certain=refusal[1], head=head.number)
        if not self._broadcast(attempt, widely=command.widely):
            return facts.SendFailed(reason=Reason(slug=MINED_ALREADY), certain=True, head=head.number)
        return facts.AttemptSent(head=head.number, nodes=("node1",))

    def _broadcast(self, attempt: Attempt, *, widely: bool) -> bool:
        marker = attempt.marker
        self.arrived.setdefault(marker.account, attempt)
        stuck, self.conditions.stuck = self.conditions.stuck, None
        return self.chain.broadcast(
            PublicTransaction(
                pmt_hash=marker.pmt_hash, account=marker.account, payload=self._payloads[marker.payload_key]
            ),
            widely=widely,
            stuck=stuck,
        )

    def _look_for_run(self, change: Change, command: Sign) -> None:
        """A lock keeps a block from all that we did in the group, a removal from what its change did before."""
        if self.chain.reorganised or command.action not in (Action.LOCK, Action.REMOVE):
            return
        before = self._newest(DAEMON) if command.action is Action.LOCK else self._done_by(change)
        if before and self.chain.head.number <= before:
            raise HarmError(f"{command} is signed at block {before}, which holds the transaction before it")

    def _done_by(self, change: Change) -> int:
        found = self._mined(change.attempt) if change.attempt is not None else None
        return found.block_number if found is not None and found.executed else 0

    def _look_for_harm(self, attempt: Attempt) -> None:
        chain = self.chain
        if chain.reorganised or self._mined(attempt) is not None:
            return
        payload = self._payloads[attempt.marker.payload_key]
        if payload.bundle is None or payload.bundle.root != chain.head.state.root:
            raise HarmError(f"{attempt} is broadcast although the group has moved")
        locks = [o.block_number for o in chain.outcomes if o.executed and o.public.transaction.action is Action.LOCK]
        if chain.head.number + 1 < max(locks, default=0) + LOCK_WINDOW_BLOCKS:
            raise HarmError(f"{attempt} is broadcast at block {chain.head.number}, its lock is in {locks}")

    # --- settling ---------------------------------------------------------------------------------------------------

    def _mined(self, attempt: Attempt) -> Outcome | None:
        outcomes = (self.chain.mined(name) for name in attempt.pmt_hashes)
        return next((outcome for outcome in outcomes if outcome is not None), None)

    def _settle(self, change: Change, attempt: Attempt) -> facts.Fact | None:
        head = self.chain.head.number
        mined = self._mined(attempt)
        if mined is not None:
            return self._settled(change, attempt, mined)
        if attempt.action is Action.ADD:
            moved = self._moved(change)
            if moved is not None:
                return moved
        sent = attempt.sent_block if attempt.sent_block is not None else attempt.since_block
        return self._unmined(change, head) if head >= sent + WIDEN_AFTER_BLOCKS else None

    def _settled(self, change: Change, attempt: Attempt, mined: Outcome) -> facts.Fact | None:
        chain, number = self.chain, mined.block_number
        if not mined.executed and mined.apart is not None:
            # The sender's node says that it executed. Whether anybody can tell otherwise depends on who is left.
            return self._apart(change, attempt, mined)
        if (not mined.executed or attempt.action is Action.UNLOCK) and number > chain.final:
            return None  # what ends a batch has to be deep
        count = chain.head.state.private_nonce
        if not mined.executed:
            reason = Reason(slug=mined.reason or "execution_refused")
            return facts.AttemptSettled(effect=None, reason=reason, private_nonce=count)
        view = chain.view(number)
        if not view.exists:
            raise AssertionError(f"{attempt} executed in block {number}, which shows no group")
        return facts.AttemptSettled(effect=self._effect(number, view), private_nonce=count)

    def _apart(self, change: Change, attempt: Attempt, mined: Outcome) -> facts.AttemptSettled:
        if mined.apart is None:
            raise AssertionError(f"{mined} parted nobody")
        seen = mined.apart.view(mined.block_number)
        effect = self._effect(mined.block_number, seen)
        others = set(change.plan.participants if change.plan is not None else ()) - self.conditions.unobserved
        if others <= {self.sender} or same_state(seen, self.chain.view(mined.block_number)):
            raise AssertionError(f"nobody could tell that {mined} split the group: the chain has to know whom we see")
        return facts.AttemptSettled(effect=effect, reason=Reason(slug="group_split", members=attempt.members))

    def _unmined(self, change: Change, head: int) -> facts.AttemptUnmined:
        held = change.plan is not None and change.plan.lock_nonce is not None
        count = self.chain.head.state.private_nonce if held and self.chain.confirmations > 0 else None
        return facts.AttemptUnmined(head=head, private_nonce=count)

    def _burn(self, change: Change, attempt: Attempt) -> facts.Fact | None:
        chain, account = self.chain, attempt.marker.account
        burning = PublicTransaction(pmt_hash=f"{account} burnt", account=account, payload=None)
        mined, burnt = self._mined(attempt), chain.mined(burning.pmt_hash)
        if mined is not None:
            return self._settled(change, attempt, mined)
        if burnt is not None and burnt.block_number <= chain.final:
            return facts.AttemptBurnt(head=chain.head.number)
        if self.conditions.burns_arrive:
            chain.broadcast(burning)
        looked = attempt.seen_block if attempt.seen_block is not None else attempt.sent_block
        if looked is not None and looked >= chain.head.number:
            return None
        return facts.AttemptUnmined(head=chain.head.number)

    def _effect(self, number: int, view: GroupView) -> Effect:
        shallow = self.chain.confirmations > 0
        return Effect(block_number=number, block_hash=self.chain.blocks[number].block_hash, view=view, deep=not shallow)

    # --- proving ----------------------------------------------------------------------------------------------------

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
        sightings = tuple(self._sight(key, effect.block_number, head) for key in watched(change))
        observed = replace(observed, sightings=sightings)
        signal, after = read(change, observed, now)
        if signal is Signal.UNDECIDED and set(after.progress) == set(change.progress):
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
