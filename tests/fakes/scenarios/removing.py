"""Scenarios of members that are removed, of desired sets, and of locks that are broken on request."""

from orchestrator.membership.attempt import Action
from orchestrator.membership.model import Kind, State
from tests.fakes.scenarios.driving import act, daemon_of, done, until
from tests.fakes.simulated_daemon import SimulatedDaemon


def remove_two() -> SimulatedDaemon:
    """Members are removed one by one; the proof is the remaining members'."""
    daemon = daemon_of("k1", "k2", "k3")
    change = until(daemon, daemon.accept(Kind.REMOVE_MEMBERS, ("k2", "k3")), State.SUCCEEDED)
    assert done(daemon) == [Action.REMOVE, Action.REMOVE]
    assert [entry.enclave_key for entry in change.progress] == ["k1"]
    return daemon


def remove_does_not_go() -> SimulatedDaemon:
    """A removal is tried again, fails or is parked by its reason."""
    daemon = daemon_of("k1", "k2", "k3", "k4")
    change = daemon.accept(Kind.REMOVE_MEMBERS, ("k2",))
    daemon.world.conditions.refusal = ("node_error", True)
    until(daemon, change, State.REMOVING)
    until(daemon, change, State.QUEUED)
    until(daemon, change, State.SUCCEEDED)
    for slug, end in (("transaction_rejected", State.FAILED), ("unauthorized", State.PARKED)):
        daemon.world.conditions.refusal = (slug, True)
        until(daemon, daemon.accept(Kind.REMOVE_MEMBERS, ("k3",)), end)
    return daemon


def remove_is_rolled_back() -> SimulatedDaemon:
    """When an earlier removal of the same change is taken back with the last, both are done again."""
    daemon = daemon_of("k1", "k2", "k3", confirmations=2)
    change = daemon.accept(Kind.REMOVE_MEMBERS, ("k2", "k3"))
    until(daemon, change, State.VERIFYING)
    daemon.world.chain.reorganise(2)
    daemon.world.chain.mine([])
    daemon.world.chain.mine([])
    until(daemon, change, State.REMOVING)
    until(daemon, change, State.SUCCEEDED)
    assert daemon.world.chain.head.state.participants == ("k1",)
    return daemon


def set_members() -> SimulatedDaemon:
    """A desired set adds first, proves that, and removes then, also whom somebody else brought in meanwhile."""
    daemon = daemon_of("k1", "k2")
    change = daemon.accept(Kind.SET_MEMBERS, ("k1", "k3"))
    until(daemon, change, State.REPLAYING)
    act(daemon, Action.REMOVE, "k2")
    until(daemon, change, State.SUCCEEDED)
    assert daemon.world.chain.head.state.participants == ("k1", "k3")
    return daemon


def set_members_is_looked_at_anew() -> SimulatedDaemon:
    """A set that somebody else changed before the proof is not what was asked: it is looked at anew."""
    daemon = daemon_of("k1", "k2", "k4")
    change = daemon.accept(Kind.SET_MEMBERS, ("k1", "k2", "k3"))
    until(daemon, change, State.LOCKING)
    until(daemon, change, State.REMOVING)
    act(daemon, Action.REMOVE, "k3")
    until(daemon, change, State.QUEUED)
    until(daemon, change, State.SUCCEEDED)
    assert set(daemon.world.chain.head.state.participants) == {"k1", "k2", "k3"}
    return daemon


def unlock() -> SimulatedDaemon:
    """Only an operator's explicit request breaks a lock that is not ours."""
    daemon = daemon_of("k1", "k2")
    act(daemon, Action.LOCK)
    until(daemon, daemon.accept(Kind.UNLOCK_GROUP), State.SUCCEEDED)
    assert done(daemon) == [Action.UNLOCK]
    until(daemon, daemon.accept(Kind.UNLOCK_GROUP), State.SUCCEEDED)
    assert done(daemon) == [Action.UNLOCK]
    return daemon


def unlock_does_not_go() -> SimulatedDaemon:
    """An unlock on request is tried again, fails or is parked by its reason: the lock is not ours."""
    daemon = daemon_of("k1", "k2")
    act(daemon, Action.LOCK)
    for slug, end in (
        ("transaction_rejected", State.FAILED),
        ("unauthorized", State.PARKED),
        ("node_error", State.QUEUED),
    ):
        change = daemon.accept(Kind.UNLOCK_GROUP)
        daemon.world.conditions.refusal = (slug, True)
        until(daemon, change, State.UNLOCKING)
        until(daemon, change, end)
    until(daemon, change, State.SUCCEEDED)
    return daemon


def unlock_is_rolled_back() -> SimulatedDaemon:
    """An unlock that a reorganisation takes back is sent again."""
    daemon = daemon_of("k1", "k2", confirmations=1)
    chain = daemon.world.chain
    act(daemon, Action.LOCK)
    change = daemon.accept(Kind.UNLOCK_GROUP)
    until(daemon, change, State.VERIFYING)
    chain.final -= 1
    chain.reorganise(2)
    chain.mine([])
    chain.mine([])
    until(daemon, change, State.UNLOCKING, mine=False)
    until(daemon, change, State.SUCCEEDED)
    return daemon


SCENARIOS = (
    remove_two,
    remove_does_not_go,
    remove_is_rolled_back,
    set_members,
    set_members_is_looked_at_anew,
    unlock,
    unlock_does_not_go,
    unlock_is_rolled_back,
)
