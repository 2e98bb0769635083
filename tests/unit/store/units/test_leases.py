from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.store.units.leases import Shares, shared_out

SOURCES = ("/a", "/b", "/c", "/d")


@st.composite
def _cases(draw: st.DrawFn) -> tuple[dict[str, list[str]], Shares]:
    waiting = {
        source: [f"{source}{number}" for number in range(draw(st.integers(0, 12)))]
        for source in draw(st.permutations(SOURCES))
    }
    held = draw(st.dictionaries(st.sampled_from(SOURCES), st.integers(0, 12)))
    most = draw(st.none() | st.integers(1, 12))
    return waiting, Shares(limit=draw(st.integers(0, 20)), held=held, most_of_source=most)


@given(_cases())
def test_lanes_are_shared_out_evenly(case: tuple[dict[str, list[str]], Shares]) -> None:
    """Each source's oldest lanes are taken; none has two more than another that still waits, or more than its share."""
    waiting, shares = case
    chosen = shared_out(waiting, shares)
    assert len(chosen) == len(set(chosen)) <= shares.limit
    of_source = {source: [group for group in chosen if group in groups] for source, groups in waiting.items()}
    has = Counter(shares.held)
    for source, taken in of_source.items():
        assert taken == waiting[source][: len(taken)]
        has[source] += len(taken)
        if taken and shares.most_of_source is not None:
            assert has[source] <= shares.most_of_source
    hungry = [
        source
        for source, groups in waiting.items()
        if len(of_source[source]) < len(groups)
        and (shares.most_of_source is None or has[source] < shares.most_of_source)
    ]
    for source in hungry:
        assert len(chosen) == shares.limit  # nothing is left lying while there is room
        for other, taken in of_source.items():
            assert not taken or has[other] <= has[source] + 1
