"""Who differs, and whether that can be told."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.membership.forecast.agreement import disagreement

members = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(("r1", "r2", "r3", "")), min_size=1)


@given(members)
def test_only_a_majority_decides_who_is_odd(roots: dict[str, str]) -> None:
    """Who has what more than half have is right; without such a state all are in question."""
    found = disagreement(9, roots)
    if len(set(roots.values())) == 1:
        assert found is None
        return
    assert found is not None
    assert found.block_number == 9
    most = [root for root, votes in Counter(roots.values()).items() if root and 2 * votes > len(roots)]
    assert found.decided is bool(most)
    assert set(found.odd) == {key for key, root in roots.items() if root not in most}


def test_of_two_nobody_can_tell() -> None:
    """A tie names both, and none as the odd one."""
    found = disagreement(9, {"a": "r1", "b": "r2"})
    assert found is not None
    assert (found.odd, found.decided) == (("a", "b"), False)
