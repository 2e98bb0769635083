"""Whatever the network does and whenever the daemon dies, the rules keep their promises.

The daemon of `tests.fakes.simulated_daemon` drives changes of one group with the real rules. Hypothesis decides what is
asked, what sends come to, which PMTs are mined in which order or never, what other clients of the owner account do,
which blocks are taken back, when the process dies and how time passes.
"""

from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestrator.membership import facts
from orchestrator.membership.errors import RefusedRequestError
from orchestrator.membership.machine import next_command
from orchestrator.membership.model import ENDED, RESTING, Action, Change, Kind, State
from orchestrator.membership.replay import watched
from tests.fakes.simulated_chain import PrivateTransaction, SimulatedChain
from tests.fakes.simulated_daemon import SimulatedDaemon
from tests.fakes.simulated_world import DAEMON, PROOF_BLOCKS

KEYS = ("k1", "k2", "k3", "k4", "k5", "k6")
STRANGER = "kx"
"""A key whose enclave nobody knows."""

REFUSALS = ("enclave_unreachable", "node_error", "node_unreachable", "unauthorized", "transaction_rejected")
HINDRANCES = ("node_unreachable", "no_head", "enclave_error", "unauthorized")
MOST_CHANGES = 10
TURN = frozenset({State.LOCKING, State.ADDING, State.UNLOCKING})
TURNS = (State.PREFLIGHT, State.CREATING, State.LOCKING, State.ADDING, State.REMOVING, State.UNLOCKING)


class SimulatedLives(RuleBasedStateMachine):
    """One group, the daemon that changes it, and a world that does not care."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = SimulatedChain()
        self.daemon = SimulatedDaemon(self.chain, KEYS[0])
        self.ends: dict[str, Change] = {}
        self.others_acted = False
        self.seen_sends = 0

    @initialize(
        confirmations=st.integers(0, 2),
        exists=st.sampled_from([True, True, True, False]),
        unobserved=st.sets(st.sampled_from(KEYS[2:]), max_size=1),
    )
    def begin(self, confirmations: int, exists: bool, unobserved: set[str]) -> None:
        self.chain = SimulatedChain(KEYS[:2] if exists else (), confirmations)
        self.daemon = SimulatedDaemon(self.chain, KEYS[0])
        self.daemon.world.conditions.unknown_keys = {STRANGER}
        self.daemon.world.conditions.unobserved = unobserved
        self.daemon.on_step += [
            self.an_ended_change_never_moves,
            self.succeeded_only_after_proof_on_every_observed_member,
            self.cancelled_only_before_the_first_transaction,
        ]

    # --- what happens ----------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.daemon.store) < MOST_CHANGES)
    @rule(
        kind=st.sampled_from(Kind),
        members=st.lists(st.sampled_from((*KEYS, STRANGER)), min_size=1, max_size=3, unique=True),
        deadline=st.one_of(st.none(), st.integers(1, 120)),
    )
    def request(self, kind: Kind, members: list[str], deadline: int | None) -> None:
        if kind is Kind.UNLOCK_GROUP:
            members = []
        if kind in (Kind.CREATE_GROUP, Kind.SET_MEMBERS):
            members = list(dict.fromkeys([KEYS[0], *members]))
        self.daemon.accept(kind, members, deadline)

    @precondition(lambda self: len(self.daemon.store) < MOST_CHANGES)
    @rule(members=st.lists(st.sampled_from((*KEYS, STRANGER)), min_size=2, max_size=4, unique=True))
    def request_many_adds(self, members: list[str]) -> None:
        for key in members:
            self.daemon.accept(Kind.ADD_MEMBERS, [key])

    @rule(steps=st.integers(1, 10))
    def work(self, steps: int) -> None:
        for _ in range(steps):
            self.daemon.work()

    @rule(steps=st.integers(2, 12))
    def work_and_mine(self, steps: int) -> None:
        for _ in range(steps):
            self.daemon.work()
            self.daemon.work()
            self.chain.mine()

    @rule(slug=st.sampled_from(REFUSALS), certain=st.booleans(), arrives=st.booleans(), steps=st.integers(1, 3))
    def work_while_a_send_fails(self, slug: str, certain: bool, arrives: bool, steps: int) -> None:
        self.daemon.world.conditions.refusal = (slug, certain)
        self.daemon.world.conditions.arrives = arrives
        for _ in range(steps):
            self.daemon.work()
        self.daemon.world.conditions.refusal = None

    @rule(slug=st.sampled_from(HINDRANCES), steps=st.integers(1, 5))
    def work_while_hindered(self, slug: str, steps: int) -> None:
        self.daemon.world.conditions.hindrance = slug
        for _ in range(steps):
            self.daemon.work()
        self.daemon.world.conditions.hindrance = None

    @rule(before_commit=st.booleans())
    def die(self, before_commit: bool) -> None:
        if before_commit:
            self.daemon.dies_before_commit = True
            self.daemon.work()
            self.daemon.dies_before_commit = False
        self.daemon.crash()

    @rule(data=st.data())
    def mine(self, data: st.DataObject) -> None:
        waiting = [marker.pmt_hash for marker in self.chain.pool]
        order = data.draw(st.permutations(waiting)) if waiting else []
        self.chain.mine(order[: data.draw(st.integers(0, len(order)))])

    @precondition(lambda self: self.chain.pool)
    @rule(data=st.data())
    def lose_pending(self, data: st.DataObject) -> None:
        self.chain.lose(data.draw(st.sets(st.sampled_from([marker.pmt_hash for marker in self.chain.pool]))))

    @precondition(lambda self: self.chain.confirmations > 0)
    @rule(depth=st.integers(1, 2))
    def reorganise(self, depth: int) -> None:
        self.chain.reorganise(depth)

    @precondition(lambda self: self.chain.confirmations > 0)
    @rule(
        state=st.sampled_from([State.ADDING, State.UNLOCKING, State.REPLAYING, State.VERIFYING]),
        steps=st.integers(0, 2),
        depth=st.integers(1, 2),
        lost=st.booleans(),
    )
    def reorganise_in_the_middle(self, state: State, steps: int, depth: int, lost: bool) -> None:
        self._work_until(state, steps)
        self.chain.reorganise(depth)
        if lost:
            self.chain.lose([marker.pmt_hash for marker in self.chain.pool])

    @rule(state=st.sampled_from(TURNS), steps=st.integers(0, 2), before_commit=st.booleans())
    def die_in_the_middle(self, state: State, steps: int, before_commit: bool) -> None:
        self._work_until(state, steps)
        self.die(before_commit)

    def _work_until(self, state: State, steps: int) -> None:
        for _ in range(40):
            if any(change.state is state for change in self.daemon.active):
                break
            if not self.daemon.work():
                self.chain.mine()
        for _ in range(steps):
            self.daemon.work()

    @rule(
        action=st.sampled_from([Action.LOCK, Action.UNLOCK, Action.ADD, Action.REMOVE]),
        key=st.sampled_from(KEYS[1:]),
        at_once=st.booleans(),
    )
    def another_client_of_the_owner_acts(self, action: Action, key: str, at_once: bool) -> None:
        members = (key,) if action in (Action.ADD, Action.REMOVE) else ()
        private_nonce = self.chain.head.state.private_nonce
        transaction = PrivateTransaction(action=action, members=members, private_nonce=private_nonce, client="other")
        pmt_hash = self.chain.submit(transaction)
        self.others_acted = True
        if at_once:
            self.chain.mine([pmt_hash])

    @rule(seconds=st.integers(1, 300))
    def time_passes(self, seconds: int) -> None:
        self.daemon.now += timedelta(seconds=seconds)

    @rule(lost=st.sets(st.sampled_from(KEYS[2:]), max_size=1), lagging=st.sets(st.sampled_from(KEYS[1:]), max_size=1))
    def members_nodes_fare(self, lost: set[str], lagging: set[str]) -> None:
        self.daemon.world.conditions.lost = lost
        self.daemon.world.conditions.lagging = lagging

    @precondition(lambda self: any(c.state in (State.QUEUED, State.PARKED) for c in self.daemon.store.values()))
    @rule(
        data=st.data(),
        request=st.sampled_from([facts.CancelRequested(), facts.RetryRequested(), facts.ParkRequested()]),
    )
    def an_operator_asks(self, data: st.DataObject, request: facts.Fact) -> None:
        resting = [c.change_id for c in self.daemon.store.values() if c.state in (State.QUEUED, State.PARKED)]
        try:
            self.daemon.ask(data.draw(st.sampled_from(resting)), request)
        except RefusedRequestError:
            return

    # --- what must hold --------------------------------------------------------------------------------------------

    def an_ended_change_never_moves(self, before: Change, after: Change) -> None:
        assert before.state not in ENDED, f"{before.change_id} moved from {before.state} to {after.state}"

    def succeeded_only_after_proof_on_every_observed_member(self, _before: Change, after: Change) -> None:
        if after.state is not State.SUCCEEDED:
            return
        effect, world = after.effect, self.daemon.world.conditions
        assert effect is not None
        block = self.chain.blocks[effect.block_number]
        assert block.block_hash == effect.block_hash, "the effect's block is not on the chain"
        assert effect.block_number <= self.chain.final, "the effect could be taken back"
        observed = set(watched(after)) - world.unobserved
        assert observed, "nobody was looked at"
        last = effect.block_number + (PROOF_BLOCKS if after.kind in (Kind.ADD_MEMBERS, Kind.SET_MEMBERS) else 0)
        proof = [self.chain.blocks[number].block_hash for number in range(effect.block_number, last + 1)]
        missing = {(key, name) for key in observed for name in proof} - self.daemon.world.agreed
        assert not missing, f"no agreement was seen: {missing}"
        present = set(block.state.participants)
        match after.kind:
            case Kind.CREATE_GROUP | Kind.ADD_MEMBERS:
                assert set(after.members) <= present
            case Kind.REMOVE_MEMBERS:
                assert not set(after.members) & present
            case Kind.SET_MEMBERS:
                assert set(after.members) == present
            case Kind.UNLOCK_GROUP:
                assert block.state.locked_by is None

    def cancelled_only_before_the_first_transaction(self, _before: Change, after: Change) -> None:
        if after.state is State.CANCELLED:
            signed = self.daemon.attempts.get(after.change_id, [])
            assert not [a for a in signed if a.attempt_id in self.daemon.world.arrived], "it had sent a transaction"

    @invariant()
    def an_attempt_is_stored_before_it_is_sent_and_sent_again_as_the_same_bytes(self) -> None:
        for attempt, stored in self.daemon.world.sends[self.seen_sends :]:
            assert stored == attempt.raw
        self.seen_sends = len(self.daemon.world.sends)

    @invariant()
    def never_two_attempts_with_the_same_intent_that_can_both_execute(self) -> None:
        if self.chain.confirmations > 0:
            return  # a reorganisation brings back what was dead; what it does then is judged by its effects
        count = self.chain.head.state.private_nonce
        pending = {marker.transaction for marker in self.chain.pool if marker.transaction.client == DAEMON}
        can = [transaction for transaction in pending if transaction.private_nonce >= count]
        for action in Action:
            nonces = {transaction.private_nonce for transaction in can if transaction.action is action}
            assert len(nonces) <= 1, f"{action}: {nonces} may both execute"

    @invariant()
    def one_live_attempt_in_a_change(self) -> None:
        for stored in self.daemon.attempts.values():
            assert sum(attempt.live for attempt in stored) <= 1

    @invariant()
    def a_group_is_never_left_locked_by_us_at_rest(self) -> None:
        if not self.daemon.active:
            assert self.chain.head.state.locked_by != DAEMON

    @invariant()
    def nothing_of_ours_can_lock_the_group_at_rest(self) -> None:
        if self.daemon.active or self.chain.confirmations > 0:
            return
        state = self.chain.head.state
        ours = [m.transaction for m in self.chain.pool if m.transaction.client == DAEMON]
        assert not [t for t in ours if t.action is Action.LOCK and t.private_nonce >= state.private_nonce]

    @invariant()
    def each_asked_for_effect_happens_at_most_once(self) -> None:
        if self.others_acted:
            return  # what others undo is done again
        done = self.chain.executed(DAEMON)
        for index, transaction in enumerate(done):
            if transaction.action not in (Action.CREATE, Action.ADD, Action.REMOVE):
                continue
            for later in done[index + 1 :]:
                if later.action is transaction.action and set(later.members) & set(transaction.members):
                    between = done[index + 1 : done.index(later)]
                    opposite = Action.ADD if transaction.action is Action.REMOVE else Action.REMOVE
                    undone = [t for t in between if t.action is opposite]
                    assert undone, f"{transaction.action} of {transaction.members} happened twice"

    @invariant()
    def followers_share_the_fate_of_their_lead(self) -> None:
        active = {change.change_id: change for change in self.daemon.active}
        for change in active.values():
            lead = active.get(change.lead_id or "")
            if change.state in TURN and lead is not None:
                assert change.state is lead.state

    @invariant()
    def what_has_nothing_to_do_rests(self) -> None:
        for change in self.daemon.store.values():
            assert (next_command(change) is None) is (change.state in RESTING)

    def teardown(self) -> None:
        """When the world calms down, everything comes to its end in bounded turns, and every lock of ours is gone."""
        daemon, chain = self.daemon, self.chain
        daemon.world.conditions.lagging = set()
        for _ in range(120):
            for _ in range(30):
                if not daemon.work():
                    break
            chain.mine()
            if not daemon.active:
                if not any(change.state is State.QUEUED for change in daemon.store.values()):
                    break
                daemon.now += timedelta(seconds=150)
        left = [change for change in daemon.store.values() if change.state not in ENDED | {State.PARKED}]
        assert not left, left
        chain.mine()
        assert chain.head.state.locked_by != DAEMON
        locks = [t for t in chain.executed() if t.action is Action.LOCK and t.client == DAEMON]
        ends = [t for t in chain.executed() if t.action in (Action.ADD, Action.UNLOCK)]
        assert len(locks) <= len(ends), "a lock of ours has no end"


TestSimulatedLives = SimulatedLives.TestCase
TestSimulatedLives.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
