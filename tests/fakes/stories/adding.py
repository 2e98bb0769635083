"""Stories of members that are added: what comes before the lock and in it."""

from datetime import timedelta

from orchestrator.membership import facts
from orchestrator.membership.model import Action, Kind, State
from tests.fakes.simulated_daemon import SimulatedDaemon
from tests.fakes.stories.telling import act, daemon_of, done, until


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


def deadline_comes_while_the_lock_floats() -> SimulatedDaemon:
    """A lock that is on its way is awaited and undone: it can't be called back."""
    daemon = daemon_of("k1", "k2")
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",), deadline_seconds=60)
    until(daemon, change, State.LOCKING)
    daemon.work()
    daemon.work()
    daemon.now += timedelta(seconds=61)
    daemon.work()
    assert daemon.store[change].state is State.LOCKING
    ended = until(daemon, change, State.FAILED)
    assert ended.reason is not None
    assert ended.reason.slug == "deadline_passed"
    assert done(daemon) == [Action.LOCK, Action.UNLOCK]
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


def add_gets_through_after_all() -> SimulatedDaemon:
    """An addition and the unlock that undoes it have one private nonce: whichever executes, the group is unlocked."""
    daemon = daemon_of("k1", "k2")
    chain = daemon.world.chain
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",), deadline_seconds=60)
    until(daemon, change, State.ADDING)
    daemon.work()
    daemon.work()
    daemon.now += timedelta(seconds=61)
    until(daemon, change, State.UNLOCKING)
    daemon.work()
    daemon.work()
    assert [marker.transaction.action for marker in chain.pool] == [Action.ADD, Action.UNLOCK]
    assert len({marker.transaction.private_nonce for marker in chain.pool}) == 1
    chain.mine()
    parked = until(daemon, change, State.PARKED)
    assert parked.reason is not None
    assert parked.reason.slug == "replay_overdue"
    daemon.ask(change, facts.RetryRequested())
    until(daemon, change, State.SUCCEEDED)
    assert done(daemon) == [Action.LOCK, Action.ADD]
    return daemon


def add_is_lost_on_the_way() -> SimulatedDaemon:
    """An addition that no block holds within its budget is undone."""
    daemon = daemon_of("k1", "k2")
    chain = daemon.world.chain
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",))
    until(daemon, change, State.ADDING)
    for _ in range(40):
        if daemon.store[change].state is not State.ADDING:
            break
        if not daemon.work():
            chain.lose([marker.pmt_hash for marker in chain.pool])
            chain.mine()
    assert daemon.store[change].state is State.UNLOCKING
    until(daemon, change, State.SUCCEEDED)
    return daemon


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


STORIES = (
    add,
    add_of_a_member_is_only_proven,
    add_waits_for_a_foreign_lock_and_is_parked,
    lock_is_refused_for_now,
    lock_can_not_be_sent,
    deadline_comes_while_the_lock_floats,
    add_is_undone_and_tried_again,
    add_is_undone_and_fails,
    add_is_undone_and_parked,
    add_gets_through_after_all,
    add_is_lost_on_the_way,
    member_loses_the_group,
)
