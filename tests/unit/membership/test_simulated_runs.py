"""Whatever the network does and whenever the daemon dies, the rules keep their promises.

The daemon of `tests.fakes.simulated_daemon` drives changes of one group with the real rules. Hypothesis decides what is
asked, what broadcasts come to, which markers are mined in which order, kept by a pool or lost, what other clients of
the owner account do under our lock, which blocks are taken back, when the process dies and how time passes.

The simulated chain and world raise `HarmError` where the daemon does what damages a group: anything but a burn signed
while an addition can be mined, an addition broadcast too near to its lock or to a group that moved, two markers of one
addition mined.
"""

from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from orchestrator.membership import facts
from orchestrator.membership.attempt import Action, Attempt, AttemptStatus
from orchestrator.membership.errors import RefusedRequestError
from orchestrator.membership.machine import next_command
from orchestrator.membership.model import ACTION_OF, ENDED, RESTING, Change, Kind, State
from orchestrator.membership.proof.comparison import watched
from orchestrator.membership.repair import repair_of
from tests.fakes.simulated_chain import DAEMON, PrivateTransaction, SimulatedChain, Stuck
from tests.fakes.simulated_daemon import SimulatedDaemon
from tests.fakes.simulated_world import PROOF_BLOCKS

KEYS = ("k1", "k2", "k3", "k4", "k5", "k6")
STRANGER = "kx"
"""A key whose enclave nobody knows."""

REFUSALS = ("enclave_unreachable", "node_error", "node_unreachable", "unauthorized", "transaction_rejected")
HINDRANCES = ("node_unreachable", "no_head", "enclave_error", "unauthorized")
MOST_CHANGES = 10
TURN = frozenset({State.LOCKING, State.ADDING, State.UNLOCKING})
TURNS = (State.PREFLIGHT, State.CREATING, State.LOCKING, State.ADDING, State.REMOVING, State.UNLOCKING)


class SimulatedRuns(RuleBasedStateMachine):
    """One group, the daemon that changes it, and a world that does not care."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = SimulatedChain()
        self.daemon = SimulatedDaemon(self.chain, KEYS[0])
        self.ends: dict[str, Change] = {}
        self.others_acted = False
        self.seen_sends = 0
        self.told: set[str] = set()

    @initialize(
        confirmations=st.integers(0, 2),
        exists=st.sampled_from([True, True, True, False]),
        unobserved=st.sets(st.sampled_from(KEYS[2:]), max_size=1),
        later_replaces=st.booleans(),
    )
    def begin(self, confirmations: int, exists: bool, unobserved: set[str], later_replaces: bool) -> None:
        self.chain = SimulatedChain(KEYS[:2] if exists else (), confirmations)
        self.chain.later_replaces = later_replaces
        self.chain.unseen = unobserved
        self.daemon = SimulatedDaemon(self.chain, KEYS[0])
        self.daemon.world.conditions.unknown_keys = {STRANGER}
        self.daemon.world.conditions.unobserved = unobserved
        self.daemon.on_step += [
            self.an_ended_change_never_moves,
            self.succeeded_only_after_proof_on_every_observed_member,
            self.cancelled_only_before_the_first_transaction,
            self.a_repair_that_removed_somebody_ends_well_or_not_at_all,
            self.what_is_given_up_can_not_be_mined,
            self.parted_members_are_told_of,
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
        """The next broadcast fails, whenever it comes, and some steps follow."""
        conditions = self.daemon.world.conditions
        conditions.refusal, conditions.arrives = (slug, certain), arrives
        sends = len(self.daemon.world.sends)
        for _ in range(20):
            if len(self.daemon.world.sends) > sends:
                break
            if not self.daemon.work():
                self.chain.mine()
        conditions.refusal = None
        for _ in range(steps):
            self.daemon.work()

    @rule(stuck=st.sampled_from(Stuck), steps=st.integers(1, 8))
    def work_while_a_pool_keeps_markers(self, stuck: Stuck, steps: int) -> None:
        for _ in range(steps):
            self.daemon.world.conditions.stuck = stuck
            self.daemon.work()
            self.chain.mine()
        self.daemon.world.conditions.stuck = None

    @rule(steps=st.integers(1, 4))
    def work_while_no_burn_arrives(self, steps: int) -> None:
        self.daemon.world.conditions.burns_arrive = False
        for _ in range(steps):
            self.daemon.work()
            self.chain.mine([])
        self.daemon.world.conditions.burns_arrive = True

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
        waiting = [public.pmt_hash for public in self.chain.pool]
        order = data.draw(st.permutations(waiting)) if waiting else []
        self.chain.mine(order[: data.draw(st.integers(0, len(order)))])

    @precondition(lambda self: self.chain.pool)
    @rule(data=st.data())
    def lose_pending(self, data: st.DataObject) -> None:
        self.chain.lose(data.draw(st.sets(st.sampled_from([public.pmt_hash for public in self.chain.pool]))))

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
            self.chain.lose([public.pmt_hash for public in self.chain.pool])

    @rule(state=st.sampled_from(TURNS), steps=st.integers(0, 2), before_commit=st.booleans())
    def die_in_the_middle(self, state: State, steps: int, before_commit: bool) -> None:
        self._work_until(state, steps)
        self.die(before_commit)

    @rule(state=st.sampled_from(TURNS), steps=st.integers(0, 2), before_commit=st.booleans())
    def give_up_in_the_middle(self, state: State, steps: int, before_commit: bool) -> None:
        self._work_until(state, steps)
        for change in self.daemon.active:
            if change.state in ACTION_OF and change.leads and change.repair is None:
                self.daemon.ask(change.change_id, facts.CancelRequested())
        self.daemon.work()
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

    @rule(
        actions=st.lists(st.sampled_from([Action.UNLOCK, Action.LOCK, Action.REMOVE]), min_size=1, max_size=3),
        seen=st.integers(0, 3),
        wins=st.booleans(),
    )
    def another_client_acts_under_our_addition(self, actions: list[Action], seen: int, wins: bool) -> None:
        """It unlocks the group while our addition waits to be mined; then the addition or its burn wins."""
        floats = self._float_an_addition()
        for action in (Action.UNLOCK, *actions):
            self.another_client_of_the_owner_acts(action, KEYS[1], at_once=True)
        for _ in range(seen):
            self.daemon.work()
        ours = {a.marker.account for a in floats}
        names = [p.pmt_hash for p in self.chain.pool if p.account in ours and p.burns is not wins]
        self.chain.mine(names)

    @rule(data=st.data(), operator=st.booleans(), steps=st.integers(0, 6), wins=st.booleans(), dies=st.booleans())
    def an_addition_is_given_up(self, data: st.DataObject, operator: bool, steps: int, wins: bool, dies: bool) -> None:
        """By its deadline, by an operator, or since no block holds it; what wins is mined at last."""
        floats = self._float_an_addition()
        adding = [c for c in self.daemon.active if c.state is State.ADDING and c.leads and c.repair is None]
        if adding and operator:
            self.daemon.ask(adding[0].change_id, facts.CancelRequested())
        elif adding and adding[0].deadline is not None and data.draw(st.booleans()):
            self.daemon.now = max(self.daemon.now, adding[0].deadline)
        else:
            for _ in range(14):
                self.daemon.work()
                self.chain.mine([])
        if dies:
            self.die(before_commit=data.draw(st.booleans()))
        for _ in range(steps):
            self.daemon.work()
            self.chain.mine([])
        ours = {a.marker.account for a in floats}
        self.chain.mine([p.pmt_hash for p in self.chain.pool if p.account in ours and p.burns is not wins])

    def _float_an_addition(self) -> list[Attempt]:
        """Work until an addition waits to be mined, whatever is asked for; it is asked for one where that is not."""
        if len(self.daemon.store) < MOST_CHANGES and not self.daemon.active and not self.daemon.queued():
            missing = [key for key in KEYS if key not in self.chain.head.state.participants]
            self.daemon.accept(Kind.ADD_MEMBERS, missing[:1] or [STRANGER], 120)
        for _ in range(60):
            floats = [a for a in self.daemon.world.can_be_mined() if a.action is Action.ADD]
            if floats:
                return floats
            if not self.daemon.work():
                offered = [p.pmt_hash for p in self.chain.pool if p.burns or p.transaction.action is not Action.ADD]
                self.chain.mine(offered)
        return []

    @precondition(lambda self: self.chain.head.state.participants)
    @rule(heals=st.booleans(), steps=st.integers(0, 40), dies=st.sampled_from(["not", "before a commit", "after one"]))
    def an_addition_gets_lost_and_is_repaired(self, heals: bool, steps: int, dies: str) -> None:
        """Whatever else goes on; the daemon may die on the way."""
        lost = self._lose_an_addition()
        if lost is None:
            return
        self.daemon.ask(lost.change_id, facts.RepairRequested())
        for _ in range(steps):
            if not self.daemon.work():
                self.chain.mine()
            repair = self.daemon.store[lost.change_id].repair
            if heals and repair is not None and repair.removed_block is not None:
                self.daemon.world.conditions.lost = set()
        if dies != "not":
            self.die(before_commit=dies == "before a commit")

    def _lose_an_addition(self) -> Change | None:
        """Work until the addition of a member whose node loses the group is parked for it; None where that can't be."""
        missing = [key for key in KEYS[2:] if key not in self.chain.head.state.participants]
        if not missing or len(self.daemon.store) >= MOST_CHANGES:
            return None
        self.daemon.world.conditions.lost = set(missing[:1])
        change_id = self.daemon.accept(Kind.ADD_MEMBERS, missing[:1])
        for _ in range(80):
            change = self.daemon.store[change_id]
            if repair_of(change) is not None:
                return change
            if change.state in RESTING and change.state is not State.QUEUED:
                return None
            if not self.daemon.work():
                self.chain.mine()
        return None

    @rule(seconds=st.integers(1, 300))
    def time_passes(self, seconds: int) -> None:
        self.daemon.now += timedelta(seconds=seconds)

    @rule(lost=st.sets(st.sampled_from(KEYS[2:]), max_size=1), lagging=st.sets(st.sampled_from(KEYS[1:]), max_size=1))
    def members_nodes_fare(self, lost: set[str], lagging: set[str]) -> None:
        self.daemon.world.conditions.lost = lost
        self.daemon.world.conditions.lagging = lagging

    @precondition(lambda self: any(c.state not in ENDED for c in self.daemon.store.values()))
    @rule(
        data=st.data(),
        request=st.sampled_from(
            [facts.CancelRequested(), facts.RetryRequested(), facts.ParkRequested(), facts.RepairRequested()]
        ),
    )
    def an_operator_asks(self, data: st.DataObject, request: facts.Fact) -> None:
        going_on = [c.change_id for c in self.daemon.store.values() if c.state not in ENDED]
        try:
            self.daemon.ask(data.draw(st.sampled_from(going_on)), request)
        except RefusedRequestError:
            return

    # --- what must hold --------------------------------------------------------------------------------------------

    def an_ended_change_never_moves(self, before: Change, after: Change) -> None:
        assert before.state not in ENDED, f"{before.change_id} moved from {before.state} to {after.state}"

    def a_repair_that_removed_somebody_ends_well_or_not_at_all(self, _before: Change, after: Change) -> None:
        if after.state not in ENDED or after.repair is None or after.repair.removed_block is None:
            return
        assert after.state is State.SUCCEEDED, "the member would be left out"

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
            signed = {a.marker.account for a in self.daemon.attempts.get(after.change_id, [])}
            assert not signed & self.daemon.world.arrived.keys(), "it had sent a transaction"

    def what_is_given_up_can_not_be_mined(self, before: Change, _after: Change) -> None:
        """An attempt that is void or burnt has had no effect, and has none later; so has a change that failed."""
        if self.chain.reorganised:
            return
        for attempt in self.daemon.attempts.get(before.change_id, []):
            account = attempt.marker.account
            if attempt.status not in (AttemptStatus.VOID, AttemptStatus.BURNT):
                continue
            assert self.chain.used(account) or account not in self.daemon.world.arrived, f"{attempt} can be mined"
            effects = [o for o in self.chain.outcomes if o.public.account == account and (o.executed or o.apart)]
            assert not effects, f"{attempt} has had {effects}"

    def parted_members_are_told_of(self, before: Change, after: Change) -> None:
        if after.state in RESTING and before.state not in RESTING and not self.chain.reorganised:
            ours = {a.marker.account for a in self.daemon.attempts.get(after.change_id, [])} - self.told
            parted = [o for o in self.chain.outcomes if o.apart is not None and o.public.account in ours]
            if parted:
                assert after.state is State.PARKED
                assert after.reason is not None
                assert after.reason.slug == "group_split"
            self.told |= ours

    @invariant()
    def an_attempt_is_stored_with_its_marker_before_it_is_sent(self) -> None:
        for attempt, stored in self.daemon.world.sends[self.seen_sends :]:
            assert stored is not None
            assert (stored.raw, stored.marker, stored.pmt_hashes) == (attempt.raw, attempt.marker, attempt.pmt_hashes)
        self.seen_sends = len(self.daemon.world.sends)

    @invariant()
    def members_are_parted_by_foreign_hands_only(self) -> None:
        for outcome in self.chain.outcomes:
            assert outcome.apart is None or self.others_acted or self.chain.reorganised

    @invariant()
    def one_transaction_of_ours_is_on_its_way(self) -> None:
        if not self.chain.reorganised:
            assert len(self.daemon.world.can_be_mined()) <= 1

    @invariant()
    def a_failed_addition_or_creation_has_had_no_effect(self) -> None:
        if self.chain.reorganised:
            return
        done = {o.public.account for o in self.chain.outcomes if o.executed}
        for change in self.daemon.store.values():
            if change.state is State.FAILED and change.kind in (Kind.ADD_MEMBERS, Kind.CREATE_GROUP):
                made = [a for a in self.daemon.attempts.get(change.change_id, []) if a.marker.account in done]
                assert not [a for a in made if a.action in (Action.ADD, Action.CREATE)], f"{change} failed after {made}"

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
        ours = [p.transaction for p in self.chain.pool if not p.burns and p.transaction.client == DAEMON]
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
        for _ in range(500):
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


TestSimulatedRuns = SimulatedRuns.TestCase
TestSimulatedRuns.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
