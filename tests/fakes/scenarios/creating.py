"""Scenarios of groups that are created."""

from orchestrator.membership.attempt import Action
from orchestrator.membership.model import Kind, State
from tests.fakes.scenarios.driving import daemon_of, done, until
from tests.fakes.simulated_daemon import SimulatedDaemon


def create() -> SimulatedDaemon:
    """A group is created by one transaction, without a lock."""
    daemon = daemon_of()
    until(daemon, daemon.accept(Kind.CREATE_GROUP, ("k1", "k2")), State.SUCCEEDED)
    assert done(daemon) == [Action.CREATE]
    return daemon


def create_is_tried_again_when_a_node_fails() -> SimulatedDaemon:
    """A creation that was refused for now goes back to the queue and is done later."""
    daemon = daemon_of()
    change = daemon.accept(Kind.CREATE_GROUP, ("k1", "k2"))
    until(daemon, change, State.CREATING)
    daemon.world.conditions.refusal = ("enclave_unreachable", True)
    until(daemon, change, State.QUEUED)
    until(daemon, change, State.SUCCEEDED)
    assert done(daemon) == [Action.CREATE]
    return daemon


def create_fails_when_the_transaction_is_rejected() -> SimulatedDaemon:
    """A creation that can't be sent fails."""
    daemon = daemon_of()
    change = daemon.accept(Kind.CREATE_GROUP, ("k1", "k2"))
    daemon.world.conditions.refusal = ("transaction_rejected", True)
    until(daemon, change, State.FAILED)
    return daemon


def create_is_parked_when_a_person_has_to_act() -> SimulatedDaemon:
    """A token that ran out parks the creation."""
    daemon = daemon_of()
    change = daemon.accept(Kind.CREATE_GROUP, ("k1", "k2"))
    daemon.world.conditions.refusal = ("unauthorized", True)
    until(daemon, change, State.PARKED)
    return daemon


def create_is_rolled_back() -> SimulatedDaemon:
    """A creation that a reorganisation takes back is sent again, as the same bytes."""
    daemon = daemon_of(confirmations=2)
    change = daemon.accept(Kind.CREATE_GROUP, ("k1", "k2"))
    until(daemon, change, State.VERIFYING)
    daemon.world.chain.reorganise(1)
    daemon.world.chain.lose([marker.pmt_hash for marker in daemon.world.chain.pool])
    until(daemon, change, State.CREATING)
    until(daemon, change, State.SUCCEEDED)
    assert len({attempt.raw for attempt, _ in daemon.world.sends}) == 1
    return daemon


SCENARIOS = (
    create,
    create_is_tried_again_when_a_node_fails,
    create_fails_when_the_transaction_is_rejected,
    create_is_parked_when_a_person_has_to_act,
    create_is_rolled_back,
)
