"""Scenarios of preflight and of what operators ask."""

from orchestrator.membership import facts
from orchestrator.membership.model import Kind, State
from tests.fakes.scenarios.adding import add_is_undone_and_parked
from tests.fakes.scenarios.driving import daemon_of, done, until
from tests.fakes.simulated_daemon import SimulatedDaemon


def operators_requests() -> SimulatedDaemon:
    """A change is cancelled in the queue or parked, is parked in the queue, and fails there by its deadline."""
    daemon = daemon_of("k1", "k2")
    queued, parked, late = (daemon.accept(Kind.ADD_MEMBERS, (key,)) for key in ("k3", "k4", "k5"))
    daemon.ask(queued, facts.CancelRequested())
    daemon.ask(parked, facts.ParkRequested(detail="maintenance"))
    daemon.ask(parked, facts.CancelRequested())
    daemon.ask(late, facts.DeadlinePassed(deadline=daemon.now))
    states = [daemon.store[change].state for change in (queued, parked, late)]
    assert states == [State.CANCELLED, State.CANCELLED, State.FAILED]
    return daemon


def preflight_ends() -> SimulatedDaemon:
    """Preflight sends a change back, fails it, parks it, or is cancelled in it."""
    daemon = daemon_of("k1", "k2")
    unknown = daemon_of()
    until(unknown, unknown.accept(Kind.ADD_MEMBERS, ("k3",)), State.FAILED)
    daemon.world.conditions.surveys = lambda key: facts.MemberSurvey(
        enclave_key=key, node=key, head=0, besu_version=(25, 5, 0), validator=False
    )
    until(daemon, daemon.accept(Kind.ADD_MEMBERS, ("k3",)), State.PARKED)
    change = daemon.accept(Kind.REMOVE_MEMBERS, ("k2",))
    daemon.world.conditions.hindrance = "node_unreachable"
    until(daemon, change, State.PREFLIGHT)
    daemon.ask(change, facts.CancelRequested())
    daemon.walked |= unknown.walked
    return daemon


def a_parked_change_is_closed() -> SimulatedDaemon:
    """An addition that was undone and parked is closed: it fails, with what the operator said."""
    daemon = add_is_undone_and_parked()
    (parked,) = (change for change in daemon.store.values() if change.state is State.PARKED)
    assert parked.transacted
    daemon.ask(parked.change_id, facts.CancelRequested(detail="not wanted any more"))
    closed = daemon.store[parked.change_id]
    assert closed.reason is not None
    assert (closed.state, closed.reason.slug) == (State.FAILED, "closed_by_operator")
    return daemon


def deadlines_and_parks_in_every_state() -> SimulatedDaemon:
    """What has sent nothing ends at its deadline, what is proven then is parked, and each can be parked by a person."""
    daemon = daemon_of("k1", "k2")
    deadline = facts.DeadlinePassed(deadline=daemon.now)
    unfinished = {
        State.CREATING: Kind.CREATE_GROUP,
        State.LOCKING: Kind.ADD_MEMBERS,
        State.REMOVING: Kind.REMOVE_MEMBERS,
    }
    for state, kind in unfinished.items():
        other = daemon_of() if kind is Kind.CREATE_GROUP else daemon_of("k1", "k2")
        members = {Kind.CREATE_GROUP: ("k1", "k2"), Kind.ADD_MEMBERS: ("k3",), Kind.REMOVE_MEMBERS: ("k2",)}[kind]
        change = other.accept(kind, members)
        until(other, change, state)
        other.ask(change, deadline)
        assert (other.store[change].state, done(other)) == (State.FAILED, [])
        daemon.walked |= other.walked
    for request, end in ((deadline, State.FAILED), (facts.ParkRequested(), State.PARKED)):
        change = daemon.accept(Kind.ADD_MEMBERS, ("k3",))
        daemon.world.conditions.hindrance = "node_unreachable"
        until(daemon, change, State.PREFLIGHT)
        daemon.ask(change, request)
        daemon.world.conditions.hindrance = None
        assert daemon.store[change].state is end
        daemon.world.conditions.lagging = {"k2", "k3"}
        change = daemon.accept(Kind.ADD_MEMBERS, ("k2",))
        until(daemon, change, State.VERIFYING)
        daemon.work()
        daemon.ask(change, request)
        assert daemon.store[change].state is State.PARKED
    change = daemon.accept(Kind.ADD_MEMBERS, ("k3",))
    until(daemon, change, State.REPLAYING)
    daemon.work()
    daemon.ask(change, facts.ParkRequested())
    assert daemon.store[change].state is State.PARKED
    return daemon


SCENARIOS = (
    a_parked_change_is_closed,
    deadlines_and_parks_in_every_state,
    operators_requests,
    preflight_ends,
)
