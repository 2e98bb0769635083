"""Changes that are done together: in order, under one lock, and each with an end of its own."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.membership import facts
from orchestrator.membership.attempt import Action
from orchestrator.membership.batch import Batch, Scope, advance, next_batch, next_step
from orchestrator.membership.model import Change, Kind, State
from tests.fakes.changes import a_change
from tests.fakes.clock import START
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


@st.composite
def queues(draw: st.DrawFn) -> list[Change]:
    """Changes of one group, as they were accepted."""
    size = draw(st.integers(1, 12))
    kinds = st.sampled_from([Kind.ADD_MEMBERS, Kind.ADD_MEMBERS, Kind.REMOVE_MEMBERS, Kind.SET_MEMBERS])
    return [
        a_change(
            str(n),
            kind=draw(kinds),
            members=(f"n{n}",),
            account=draw(st.sampled_from(["0x1", "0x2"])),
            batch_limit=draw(st.integers(1, 5)),
        )
        for n in range(size)
    ]


@given(queue=queues())
@example(queue=[a_change(str(n), members=(f"n{n}",), batch_limit=limit) for n, limit in enumerate((5, 2, 5))])
def test_nothing_is_overtaken(queue: list[Change]) -> None:
    """A batch is the front of the queue: one change, or adds of one account, as many as all of them allow."""
    batch = next_batch(queue).changes
    assert list(batch) == queue[: len(batch)]
    if len(batch) > 1:
        assert {change.kind for change in batch} == {Kind.ADD_MEMBERS}
        assert len({change.account for change in batch}) == 1
        assert len(batch) <= min(change.batch_limit for change in batch)


@given(queue=queues())
def test_a_claim_moves_all_and_names_one_lead(queue: list[Change]) -> None:
    """Each change of a batch leaves the queue in one commit; the first one leads until they share a lock."""
    batch = next_batch(queue)
    todo = next_step(batch, START)
    assert todo is not None
    claim = facts.Claimed(lead_id="change-0", batch=len(batch.changes))
    assert (todo.scope, todo.known) == (Scope.CLAIM, claim)
    claimed = batch.after(advance(batch, todo, claim, START))
    assert {(change.state, change.lead_id) for change in claimed.changes} == {(State.PREFLIGHT, "change-0")}
    look = next_step(claimed, START)
    assert look is not None
    assert (look.scope, look.change.members) == (Scope.SURVEY, tuple(c.members[0] for c in batch.changes))


def test_a_batch_that_rests_has_nothing_to_do() -> None:
    """Whoever drives it takes the next one."""
    assert next_step(Batch(changes=()), START) is None


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
