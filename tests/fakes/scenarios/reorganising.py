"""Scenarios of additions that a reorganisation takes back."""

from orchestrator.membership import facts
from orchestrator.membership.attempt import Action
from orchestrator.membership.model import Kind, State
from tests.fakes.scenarios.driving import act, daemon_of, done, until
from tests.fakes.simulated_daemon import SimulatedDaemon


def _floating_with_its_lock() -> SimulatedDaemon:
    """An addition that is in a pool, while a reorganisation has taken its lock back into one, and what burns it."""
    daemon = daemon_of("k1", "k2", confirmations=2)
    chain = daemon.world.chain
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",))
    until(daemon, change, State.ADDING)
    while daemon.store[change].in_flight is None:
        if not daemon.work():
            chain.mine([])
    chain.final -= 2
    chain.reorganise(len(chain.blocks) - 1)
    for _ in range(4):
        chain.mine([])
    until(daemon, change, State.LOCKING, mine=False)
    daemon.work()
    assert [public.burns for public in chain.pool] == [False, False, True]
    return daemon


def add_that_comes_back_splits_the_group() -> SimulatedDaemon:
    """An addition that comes back with its lock, and is mined after somebody undid that one, is left to a person."""
    daemon = _floating_with_its_lock()
    (change,) = daemon.store
    daemon.world.chain.mine(["0xa1"])
    act(daemon, Action.UNLOCK)
    daemon.world.chain.mine(["0xa2"])
    assert daemon.store[change].state is State.LOCKING
    parked = until(daemon, change, State.PARKED)
    assert parked.reason is not None
    assert parked.reason.slug == "group_split"
    return daemon


def add_comes_back_with_its_lock() -> SimulatedDaemon:
    """An addition that floats when its lock is taken back is burnt; if it is mined before, it is an addition."""
    daemon = _floating_with_its_lock()
    chain = daemon.world.chain
    (change,) = daemon.store
    chain.mine(["0xa1"])
    chain.mine([])
    chain.mine(["0xa2"])
    until(daemon, change, State.REPLAYING)
    until(daemon, change, State.SUCCEEDED)
    assert done(daemon) == [Action.LOCK, Action.ADD]
    return daemon


def add_is_rolled_back() -> SimulatedDaemon:
    """An addition that a reorganisation takes back is sent again, as the same bytes."""
    daemon = daemon_of("k1", "k2", confirmations=2)
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",))
    until(daemon, change, State.REPLAYING)
    daemon.world.chain.reorganise(1)
    daemon.world.chain.lose([marker.pmt_hash for marker in daemon.world.chain.pool])
    daemon.world.chain.mine()
    until(daemon, change, State.ADDING)
    until(daemon, change, State.SUCCEEDED)
    adds = [attempt.raw for attempt, _ in daemon.world.sends if attempt.action is Action.ADD]
    assert len(adds) == 2
    assert len(set(adds)) == 1
    return daemon


def lock_comes_back_after_the_end() -> SimulatedDaemon:
    """A lock of ours that a deep reorganisation brings back is undone by the next change, and never another's."""
    daemon = daemon_of("k1", "k2", confirmations=2)
    chain = daemon.world.chain
    until(daemon, daemon.accept(Kind.ADD_MEMBERS, ("k3",)), State.SUCCEEDED)
    locked = next(block.number for block in chain.blocks if block.state.locked_by is not None)
    chain.final = locked
    chain.reorganise(len(chain.blocks))
    chain.lose([marker.pmt_hash for marker in chain.pool])
    chain.mine([])
    assert chain.head.state.locked_by is not None
    change = daemon.accept(Kind.ADD_MEMBERS, ("k4",))
    until(daemon, change, State.UNLOCKING)
    until(daemon, change, State.SUCCEEDED)
    assert done(daemon) == [Action.LOCK, Action.UNLOCK, Action.LOCK, Action.ADD]
    return daemon


def addition_is_not_left_before_it_is_deep() -> SimulatedDaemon:
    """A change that is cancelled while its addition can be taken back stays with it: the lock would come back alone."""
    daemon = daemon_of("k1", "k2", confirmations=2)
    chain = daemon.world.chain
    daemon.world.conditions.lagging = {"k3"}
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",))
    until(daemon, change, State.REPLAYING)
    daemon.ask(change, facts.CancelRequested())
    daemon.work()
    chain.reorganise(1)
    chain.lose([marker.pmt_hash for marker in chain.pool])
    chain.mine([])
    until(daemon, change, State.ADDING)
    parked = until(daemon, change, State.PARKED, State.FAILED)
    assert parked.lock_block is None
    assert chain.head.state.locked_by is None
    return daemon


def followers_addition_is_rolled_back() -> SimulatedDaemon:
    """The followers of a rolled back turn look anew, and find it done when their lead has brought it back."""
    daemon = daemon_of("k1", "k2", confirmations=2)
    lead, other = (daemon.accept(Kind.ADD_MEMBERS, (key,)) for key in ("k3", "k4"))
    until(daemon, other, State.REPLAYING)
    daemon.world.chain.reorganise(1)
    daemon.world.chain.mine([])
    until(daemon, lead, State.SUCCEEDED)
    until(daemon, other, State.SUCCEEDED)
    assert done(daemon) == [Action.LOCK, Action.ADD]
    return daemon


def lock_is_rolled_back_before_the_add() -> SimulatedDaemon:
    """A lock that a reorganisation takes back is taken anew, with its private nonce."""
    daemon = daemon_of("k1", "k2", confirmations=2)
    chain = daemon.world.chain
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",))
    until(daemon, change, State.ADDING)
    daemon.work()
    daemon.work()
    chain.reorganise(1)
    chain.lose([marker.pmt_hash for marker in chain.pool])
    chain.mine()
    chain.mine()
    until(daemon, change, State.LOCKING, mine=False)
    until(daemon, change, State.SUCCEEDED)
    assert done(daemon) == [Action.LOCK, Action.ADD]
    return daemon


def lock_is_rolled_back_while_it_is_undone() -> SimulatedDaemon:
    """An unlocked group is no proof that the lock is undone: it may float."""
    daemon = daemon_of("k1", "k2", confirmations=2)
    chain = daemon.world.chain
    daemon.world.conditions.unknown_keys = {"k3"}
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",))
    until(daemon, change, State.UNLOCKING)
    chain.reorganise(2)
    until(daemon, change, State.LOCKING, mine=False)
    until(daemon, change, State.FAILED)
    assert done(daemon) == [Action.LOCK, Action.UNLOCK]
    assert chain.head.state.locked_by is None
    return daemon


SCENARIOS = (
    add_comes_back_with_its_lock,
    add_that_comes_back_splits_the_group,
    add_is_rolled_back,
    followers_addition_is_rolled_back,
    lock_is_rolled_back_before_the_add,
    lock_is_rolled_back_while_it_is_undone,
    lock_comes_back_after_the_end,
    addition_is_not_left_before_it_is_deep,
)
