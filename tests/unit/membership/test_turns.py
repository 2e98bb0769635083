"""Adds that share a lock: one member's fault is found by halving, and everybody else goes through."""

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.membership.attempt import Action
from orchestrator.membership.model import Kind, State
from tests.fakes.simulated_chain import DAEMON, SimulatedChain
from tests.fakes.simulated_daemon import SimulatedDaemon


def run(daemon: SimulatedDaemon, blocks: int) -> None:
    """Work until everything rests, for at most so many blocks."""
    for _ in range(blocks):
        while daemon.work():
            pass
        if not daemon.active and not daemon.queued():
            return
        daemon.world.chain.mine()
    raise AssertionError(f"not at rest after {blocks} blocks: {daemon.active}")


def test_twenty_additions_cost_two_transactions() -> None:
    """The adds that wait share one lock and one `addParticipants`; each change is proven by itself."""
    daemon = SimulatedDaemon(SimulatedChain(("k1", "k2")), "k1")
    ids = [daemon.accept(Kind.ADD_MEMBERS, (f"n{n}",)) for n in range(20)]
    run(daemon, 10)
    assert [t.action for t in daemon.world.chain.executed(DAEMON)] == [Action.LOCK, Action.ADD]
    assert {daemon.store[change].state for change in ids} == {State.SUCCEEDED}


def test_a_batch_is_bounded() -> None:
    """More than a batch takes more than one turn."""
    daemon = SimulatedDaemon(SimulatedChain(("k1", "k2")), "k1")
    for n in range(45):
        daemon.accept(Kind.ADD_MEMBERS, (f"n{n}",))
    run(daemon, 30)
    assert [len(t.members) for t in daemon.world.chain.executed(DAEMON) if t.action is Action.ADD] == [20, 20, 5]


@settings(max_examples=25, deadline=None)
@given(size=st.integers(2, 20), data=st.data())
def test_everybody_good_goes_through_in_bounded_turns(size: int, data: st.DataObject) -> None:
    """A key that no enclave knows fails its own change only; halving finds it in a few turns."""
    bad = data.draw(st.sets(st.integers(0, size - 1), max_size=3))
    daemon = SimulatedDaemon(SimulatedChain(("k1", "k2")), "k1")
    daemon.world.conditions.unknown_keys = {f"n{n}" for n in bad}
    ids = [daemon.accept(Kind.ADD_MEMBERS, (f"n{n}",)) for n in range(size)]
    run(daemon, 250)
    ended = {n: daemon.store[change].state for n, change in enumerate(ids)}
    assert ended == {n: State.FAILED if n in bad else State.SUCCEEDED for n in range(size)}
    chain = daemon.world.chain
    locks = sum(t.action is Action.LOCK for t in chain.executed(DAEMON))
    depth = size.bit_length()
    assert locks <= 1 + 2 * depth * max(1, len(bad)), f"{locks} turns for {size} changes"
    assert chain.head.state.locked_by is None


def test_a_member_that_is_lost_does_not_hold_up_the_others_of_its_turn() -> None:
    """Each change of a shared turn is proven, or parked, by its own members."""
    daemon = SimulatedDaemon(SimulatedChain(("k1", "k2")), "k1")
    daemon.world.conditions.lost = {"n1"}
    ids = [daemon.accept(Kind.ADD_MEMBERS, (f"n{n}",)) for n in range(3)]
    run(daemon, 20)
    assert [daemon.store[change].state for change in ids] == [State.SUCCEEDED, State.PARKED, State.SUCCEEDED]


def test_one_changes_deadline_does_not_end_its_turn_for_the_others() -> None:
    """The lead that is out of time takes its lock back; the others try again without it."""
    daemon = SimulatedDaemon(SimulatedChain(("k1", "k2")), "k1")
    hasty = daemon.accept(Kind.ADD_MEMBERS, ("n1",), deadline_seconds=5)
    patient = daemon.accept(Kind.ADD_MEMBERS, ("n2",))
    while daemon.store[hasty].state is not State.ADDING:
        if not daemon.work():
            daemon.world.chain.mine()
    daemon.now = daemon.store[hasty].deadline or daemon.now
    run(daemon, 30)
    assert daemon.store[hasty].state is State.FAILED
    assert daemon.store[patient].state is State.SUCCEEDED
    actions = [t.action for t in daemon.world.chain.executed(DAEMON)]
    assert actions == [Action.LOCK, Action.UNLOCK, Action.LOCK, Action.ADD]
