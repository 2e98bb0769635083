"""Scenarios of members that are added: what comes before the lock and in it."""

from datetime import timedelta

from orchestrator.membership import facts
from orchestrator.membership.attempt import Action, AttemptStatus
from orchestrator.membership.model import Kind, State
from orchestrator.membership.reasons.table import Reason
from tests.fakes.scenarios.driving import act, daemon_of, done, until
from tests.fakes.simulated_chain import PrivateTransaction, Stuck
from tests.fakes.simulated_daemon import SimulatedDaemon


def add() -> SimulatedDaemon:
    """An addition is a lock and an `addParticipants`, which unlocks by itself."""
    daemon = daemon_of("k1", "k2")
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",))
    until(daemon, change, State.SUCCEEDED)
    assert done(daemon) == [Action.LOCK, Action.ADD]
    return daemon


def add_of_a_member_is_only_proven() -> SimulatedDaemon:
    """What is so already is proven without a transaction, and looked at anew when its block goes away."""
    daemon = daemon_of("k1", "k2", confirmations=1)
    daemon.world.chain.mine()
    change = daemon.accept(Kind.ADD_MEMBERS, ("k2",))
    until(daemon, change, State.VERIFYING)
    daemon.world.chain.reorganise(1)
    daemon.world.chain.mine()
    until(daemon, change, State.QUEUED)
    until(daemon, change, State.SUCCEEDED)
    assert done(daemon) == []
    return daemon


def add_waits_for_a_foreign_lock_and_is_parked() -> SimulatedDaemon:
    """A foreign lock is waited for, then a person is asked, who hears for how long it was waited."""
    daemon = daemon_of("k1", "k2")
    act(daemon, Action.LOCK)
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",))
    reason = until(daemon, change, State.PARKED).reason
    assert reason is not None
    assert reason.slug == "locked_by_other"
    assert "9 times in a row since 2026-" in reason.detail
    act(daemon, Action.UNLOCK)
    daemon.ask(change, facts.RetryRequested())
    until(daemon, change, State.SUCCEEDED)
    return daemon


def lock_is_refused_for_now() -> SimulatedDaemon:
    """A foreign lock that comes first in the block lets ours fail; the change waits."""
    daemon = daemon_of("k1", "k2")
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",))
    until(daemon, change, State.LOCKING)
    daemon.work()
    foreign = act(daemon, Action.LOCK, mined=False)
    daemon.work()
    daemon.world.chain.mine([foreign])
    daemon.world.chain.mine()
    until(daemon, change, State.QUEUED)
    act(daemon, Action.UNLOCK)
    until(daemon, change, State.SUCCEEDED)
    assert done(daemon) == [Action.LOCK, Action.ADD]
    return daemon


def lock_can_not_be_sent() -> SimulatedDaemon:
    """A lock that the node rejects ends the change; one that needs a person parks it."""
    daemon = daemon_of("k1", "k2")
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",))
    daemon.world.conditions.refusal = ("transaction_rejected", True)
    until(daemon, change, State.FAILED)
    change = daemon.accept(Kind.ADD_MEMBERS, ("k4",))
    daemon.world.conditions.refusal = ("unauthorized", True)
    until(daemon, change, State.PARKED)
    assert done(daemon) == []
    return daemon


def lock_is_burnt_at_the_deadline() -> SimulatedDaemon:
    """A lock that is on its way is taken back: the change ends when what burns its marker is mined, not before."""
    daemon = _lock_on_its_way()
    (change,) = daemon.store
    chain = daemon.world.chain
    daemon.world.conditions.burns_arrive = False
    for _ in range(5):
        daemon.work()
        chain.mine([])
        assert daemon.store[change].state is State.LOCKING, "its marker may still be mined"
    daemon.world.conditions.burns_arrive = True
    ended = until(daemon, change, State.FAILED)
    assert ended.reason is not None
    assert ended.reason.slug == "deadline_passed"
    assert ended.attempt is not None
    assert ended.attempt.status is AttemptStatus.BURNT
    assert done(daemon) == []
    return daemon


def lock_is_mined_before_what_burns_it() -> SimulatedDaemon:
    """Either may win: a lock that is mined although it was given up is undone."""
    daemon = _lock_on_its_way()
    (change,) = daemon.store
    daemon.work()
    daemon.world.chain.mine(["0xa1"])
    ended = until(daemon, change, State.FAILED)
    assert ended.reason is not None
    assert ended.reason.slug == "deadline_passed"
    assert done(daemon) == [Action.LOCK, Action.UNLOCK]
    return daemon


def _lock_on_its_way() -> SimulatedDaemon:
    """A change whose deadline has passed since its lock was broadcast."""
    daemon = daemon_of("k1", "k2")
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",), deadline_seconds=60)
    until(daemon, change, State.LOCKING)
    daemon.work()
    daemon.work()
    daemon.now += timedelta(seconds=61)
    daemon.work()
    assert daemon.store[change].state is State.LOCKING
    return daemon


def somebody_unlocks_in_the_locks_block() -> SimulatedDaemon:
    """A lock that somebody undoes in its own block is followed by no addition: the group is as if it never was."""
    daemon = daemon_of("k1", "k2")
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",))
    until(daemon, change, State.LOCKING)
    daemon.work()
    daemon.work()
    chain = daemon.world.chain
    ours = chain.head.state.private_nonce
    unlock = PrivateTransaction(action=Action.UNLOCK, members=(), private_nonce=ours + 1, client="other")
    chain.mine(["0xa1", chain.submit(unlock)])
    until(daemon, change, State.UNLOCKING, mine=False)
    until(daemon, change, State.SUCCEEDED)
    assert done(daemon) == [Action.LOCK, Action.LOCK, Action.ADD]
    return daemon


def another_addition_goes_first() -> SimulatedDaemon:
    """An addition that gives way undoes its lock before anything of it was broadcast, and comes again."""
    daemon = daemon_of("k1", "k2")
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",))
    until(daemon, change, State.ADDING)
    daemon.ask(change, facts.GaveWay(reason=Reason(slug="newcomer_busy")))
    assert daemon.store[change].state is State.UNLOCKING
    until(daemon, change, State.SUCCEEDED)
    assert done(daemon) == [Action.LOCK, Action.UNLOCK, Action.LOCK, Action.ADD]
    return daemon


def add_is_undone_and_tried_again() -> SimulatedDaemon:
    """An enclave that does not answer while the group is locked costs one lock, not the change."""
    daemon = daemon_of("k1", "k2")
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",))
    until(daemon, change, State.ADDING)
    daemon.world.conditions.hindrance = "enclave_unreachable"
    until(daemon, change, State.UNLOCKING, mine=False)
    daemon.world.conditions.hindrance = None
    until(daemon, change, State.QUEUED)
    until(daemon, change, State.SUCCEEDED)
    assert done(daemon) == [Action.LOCK, Action.UNLOCK, Action.LOCK, Action.ADD]
    return daemon


def add_is_undone_and_fails() -> SimulatedDaemon:
    """A key that no enclave knows is found out under the lock; the group is unlocked before the change fails."""
    daemon = daemon_of("k1", "k2")
    daemon.world.conditions.unknown_keys = {"k3"}
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",))
    until(daemon, change, State.FAILED)
    assert done(daemon) == [Action.LOCK, Action.UNLOCK]
    return daemon


def add_is_undone_and_parked() -> SimulatedDaemon:
    """A token that runs out under the lock parks the change once the group is unlocked."""
    daemon = daemon_of("k1", "k2")
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",))
    until(daemon, change, State.ADDING)
    daemon.work()
    daemon.world.conditions.refusal = ("unauthorized", True)
    until(daemon, change, State.PARKED)
    assert done(daemon) == [Action.LOCK, Action.UNLOCK]
    return daemon


def add_is_burnt_before_the_unlock() -> SimulatedDaemon:
    """No unlock is signed while the addition can be mined: it would part the members."""
    daemon = daemon_of("k1", "k2")
    chain = daemon.world.chain
    change = _given_up_on_its_way(daemon)
    chain.later_replaces = False  # a network that is older than 23.10.2: the first one stays in the pools
    chain.lose(["0xa2"])
    for _ in range(3):
        daemon.work()
        assert [public.burns for public in chain.pool] == [True]
        chain.mine([])
    ended = until(daemon, change, State.FAILED)
    assert ended.reason is not None
    assert ended.reason.slug == "deadline_passed"
    assert done(daemon) == [Action.LOCK, Action.UNLOCK]
    return daemon


def add_gets_through_after_all() -> SimulatedDaemon:
    """An addition that is mined before what burns it is an addition: it unlocks the group, and the members are in."""
    daemon = daemon_of("k1", "k2")
    chain = daemon.world.chain
    change = _given_up_on_its_way(daemon)
    daemon.work()
    assert [public.burns for public in chain.pool] == [False, True]
    chain.mine(["0xa2"])
    parked = until(daemon, change, State.PARKED)
    assert parked.reason is not None
    assert parked.reason.slug == "replay_overdue"
    daemon.ask(change, facts.RetryRequested())
    until(daemon, change, State.SUCCEEDED)
    assert done(daemon) == [Action.LOCK, Action.ADD]
    return daemon


def add_is_lost_on_the_way() -> SimulatedDaemon:
    """An addition that no block holds within its budget is taken back, and tried again."""
    daemon = daemon_of("k1", "k2")
    chain = daemon.world.chain
    change = _on_its_way(daemon)
    for _ in range(40):
        if daemon.store[change].state is not State.ADDING:
            break
        if not daemon.work():
            chain.lose([public.pmt_hash for public in chain.pool])
            chain.mine()
    assert daemon.store[change].state is State.UNLOCKING
    until(daemon, change, State.SUCCEEDED)
    assert done(daemon) == [Action.LOCK, Action.UNLOCK, Action.LOCK, Action.ADD]
    return daemon


def add_stays_in_one_pool() -> SimulatedDaemon:
    """A marker that one node keeps to itself is broadcast through the others, too: the same one, mined once."""
    daemon = daemon_of("k1", "k2")
    change = _on_its_way(daemon, Stuck.UNTIL_WIDELY)
    until(daemon, change, State.SUCCEEDED)
    markers = {attempt.marker for attempt, _ in daemon.world.sends if attempt.action is Action.ADD}
    assert len(markers) == 1
    assert done(daemon) == [Action.LOCK, Action.ADD]
    return daemon


def add_is_never_offered_by_a_pool() -> SimulatedDaemon:
    """A marker that no pool offers is signed again with more gas, under the same account nonce."""
    daemon = daemon_of("k1", "k2")
    change = _on_its_way(daemon, Stuck.UNTIL_RENEWED)
    until(daemon, change, State.SUCCEEDED)
    markers = {attempt.marker for attempt, _ in daemon.world.sends if attempt.action is Action.ADD}
    assert (len(markers), len({marker.account for marker in markers})) == (2, 1)
    assert done(daemon) == [Action.LOCK, Action.ADD]
    return daemon


def somebody_unlocks_before_the_addition_is_sent() -> SimulatedDaemon:
    """An addition is not broadcast to a group that is not as our lock left it."""
    daemon = daemon_of("k1", "k2")
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",))
    until(daemon, change, State.ADDING)
    daemon.work()
    act(daemon, Action.UNLOCK)
    again = until(daemon, change, State.QUEUED)
    assert again.reason is not None
    assert again.reason.slug == "group_moved"
    assert Action.ADD not in {attempt.action for attempt, _ in daemon.world.sends}
    until(daemon, change, State.SUCCEEDED)
    assert done(daemon) == [Action.LOCK, Action.LOCK, Action.ADD]
    return daemon


def somebody_unlocks_under_the_addition() -> SimulatedDaemon:
    """A foreign unlock under our lock is answered by burning the addition at once; then it is tried again."""
    daemon = daemon_of("k1", "k2")
    chain = daemon.world.chain
    change = _on_its_way(daemon)
    act(daemon, Action.UNLOCK)
    until(daemon, change, State.UNLOCKING, mine=False)
    assert chain.used("account of a2") is False
    until(daemon, change, State.SUCCEEDED)
    assert done(daemon) == [Action.LOCK, Action.LOCK, Action.ADD]
    assert not [outcome for outcome in chain.outcomes if outcome.apart is not None]
    return daemon


def the_addition_wins_and_parts_the_members() -> SimulatedDaemon:
    """A marker that is mined before what burns it, after a foreign unlock, has split the group: a person is told."""
    daemon = daemon_of("k1", "k2")
    chain = daemon.world.chain
    change = _on_its_way(daemon)
    act(daemon, Action.UNLOCK)
    until(daemon, change, State.UNLOCKING, mine=False)
    daemon.work()
    chain.mine(["0xa2"])
    _is_split(daemon, change)
    return daemon


def somebody_unlocks_in_the_additions_block() -> SimulatedDaemon:
    """Nobody can prevent a foreign unlock in the addition's own block, before it; the split is told."""
    daemon = daemon_of("k1", "k2")
    change = _on_its_way(daemon)
    unlock = act(daemon, Action.UNLOCK, mined=False)
    daemon.world.chain.mine([unlock, "0xa2"])
    _is_split(daemon, change)
    return daemon


def _is_split(daemon: SimulatedDaemon, change: str) -> None:
    assert [outcome.apart.participants for outcome in daemon.world.chain.outcomes if outcome.apart is not None] == [
        ("k1", "k2", "k3")
    ]
    parked = until(daemon, change, State.PARKED)
    assert parked.reason is not None
    assert (parked.reason.slug, parked.reason.members) == ("group_split", ("k3",))
    assert parked.lock_block is None


def _given_up_on_its_way(daemon: SimulatedDaemon) -> str:
    """An addition whose deadline passes while its marker waits to be mined."""
    change = _on_its_way(daemon, deadline_seconds=60)
    daemon.now += timedelta(seconds=61)
    until(daemon, change, State.UNLOCKING, mine=False)
    return change


def _on_its_way(daemon: SimulatedDaemon, stuck: Stuck | None = None, deadline_seconds: float | None = None) -> str:
    """A change whose addition is in a pool; returns its id."""
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",), deadline_seconds)
    until(daemon, change, State.ADDING)
    daemon.world.conditions.stuck = stuck
    for _ in range(5):
        if daemon.store[change].in_flight is not None:
            break
        if not daemon.work():
            daemon.world.chain.mine()
    assert "0xa2" in {public.pmt_hash for public in daemon.world.chain.pool}
    return change


def member_loses_the_group() -> SimulatedDaemon:
    """A member whose node has not got the group is no success: a person is asked."""
    daemon = daemon_of("k1", "k2")
    daemon.world.conditions.lost = {"k3"}
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",))
    parked = until(daemon, change, State.PARKED)
    assert parked.reason is not None
    assert (parked.reason.slug, parked.reason.members) == ("member_missing", ("k3",))
    daemon.ask(change, facts.RetryRequested())
    until(daemon, change, State.VERIFYING)
    until(daemon, change, State.PARKED)
    return daemon


SCENARIOS = (
    add,
    add_of_a_member_is_only_proven,
    add_waits_for_a_foreign_lock_and_is_parked,
    lock_is_refused_for_now,
    lock_can_not_be_sent,
    lock_is_burnt_at_the_deadline,
    lock_is_mined_before_what_burns_it,
    add_is_undone_and_tried_again,
    another_addition_goes_first,
    somebody_unlocks_in_the_locks_block,
    add_is_undone_and_fails,
    add_is_undone_and_parked,
    add_is_burnt_before_the_unlock,
    add_gets_through_after_all,
    add_is_lost_on_the_way,
    add_stays_in_one_pool,
    add_is_never_offered_by_a_pool,
    somebody_unlocks_before_the_addition_is_sent,
    somebody_unlocks_under_the_addition,
    the_addition_wins_and_parts_the_members,
    somebody_unlocks_in_the_additions_block,
    member_loses_the_group,
)
