"""Stories of preflight and of what operators ask."""

from orchestrator.membership import facts
from orchestrator.membership.model import Kind, State
from tests.fakes.simulated_daemon import SimulatedDaemon
from tests.fakes.stories.adding import add_is_undone_and_parked
from tests.fakes.stories.telling import daemon_of, until


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


STORIES = (
    a_parked_change_is_closed,
    operators_requests,
    preflight_ends,
)
