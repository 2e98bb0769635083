from hypothesis import given
from hypothesis import strategies as st

from orchestrator.store.units.replica_shares import GRACE_MICROSECONDS, allotted


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(0, 200))
def test_claims_one_after_the_other_leave_all_about_even(held: list[int], due: int) -> None:
    """Whatever replicas hold and in whatever order they claim, nothing waits, and nobody is given what others lack."""
    left = due
    for place, mine in enumerate(held):
        allotment = allotted(replicas=len(held), mine=mine, others=sum(held) - mine, due=left, patience=None)
        if not allotment.waited:
            taken = min(allotment.limit, left)
            held[place] += taken
            left -= taken
            assert held[place] <= -(-(sum(held) + left) // len(held))
    if left:  # who has more than its part keeps it: the others' parts are full
        assert all(mine >= (sum(held) + left) // len(held) for mine in held)
    if due >= max(held) * len(held):
        assert max(held) - min(held) <= 1 + left


@given(st.integers(2, 9), st.integers(0, 300), st.integers(0, 300), st.integers(1, 500))
def test_something_due_is_always_somebodys(replicas: int, mine: int, others: int, due: int) -> None:
    """Nothing that is due is out of reach: a replica takes some of it at once, or after half a second."""
    allotment = allotted(replicas=replicas, mine=mine, others=others, due=due, patience=None)
    assert 1 <= allotment.limit <= due + mine + others
    assert allotment.waited in (0, GRACE_MICROSECONDS)
    lame = allotted(replicas=replicas, mine=mine, others=others, due=due, patience=8_000_000)
    assert lame.limit >= 1
    assert lame.waited == 8_000_000
