"""Scenarios of members that lost their addition: the change that made it removes and adds them again, once."""

from orchestrator.membership import facts
from orchestrator.membership.attempt import Action
from orchestrator.membership.model import Change, Kind, State
from tests.fakes.scenarios.driving import act, daemon_of, done, until
from tests.fakes.simulated_daemon import SimulatedDaemon


def lost_addition() -> tuple[SimulatedDaemon, Change]:
    daemon = daemon_of("k1", "k2")
    daemon.world.conditions.lost = {"k3"}
    return daemon, until(daemon, daemon.accept(Kind.ADD_MEMBERS, ("k3",)), State.PARKED)


def lost_addition_is_repaired() -> SimulatedDaemon:
    """Between the removal and the addition nothing else of the group is done, also after a crash."""
    daemon, parked = lost_addition()
    daemon.ask(parked.change_id, facts.RepairRequested())
    other = daemon.accept(Kind.REMOVE_MEMBERS, ("k2",))
    until(daemon, parked.change_id, State.REMOVING)
    daemon.world.conditions.lost = set()
    until(daemon, parked.change_id, State.LOCKING)
    daemon.crash()
    repaired = until(daemon, parked.change_id, State.SUCCEEDED)
    assert repaired.repair is not None
    assert repaired.repair.removed_block is not None
    until(daemon, other, State.SUCCEEDED)
    again = [Action.REMOVE, Action.LOCK, Action.ADD]
    assert done(daemon) == [Action.LOCK, Action.ADD, *again, Action.REMOVE]
    return daemon


def addition_is_lost_twice() -> SimulatedDaemon:
    """There is no second repair; the reason names both."""
    daemon, parked = lost_addition()
    daemon.ask(parked.change_id, facts.RepairRequested())
    until(daemon, parked.change_id, State.REMOVING)
    again = until(daemon, parked.change_id, State.PARKED)
    assert again.reason is not None
    assert "lost for the second time" in again.reason.detail
    assert "k3" in daemon.world.chain.head.state.participants
    return daemon


def removed_by_somebody_is_left_out() -> SimulatedDaemon:
    """A repair that was asked for before a person's removal, and is done after it, does nothing."""
    daemon, parked = lost_addition()
    daemon.ask(parked.change_id, facts.RepairRequested())
    act(daemon, Action.REMOVE, "k3")
    overtaken = until(daemon, parked.change_id, State.PARKED)
    assert overtaken.reason is not None
    assert overtaken.reason.slug == "repair_overtaken"
    assert done(daemon) == [Action.LOCK, Action.ADD]
    return daemon


SCENARIOS = (lost_addition_is_repaired, addition_is_lost_twice, removed_by_somebody_is_left_out)
