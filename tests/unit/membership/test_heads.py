"""Which block counts as the newest."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.membership.heads import confirmed, newest

heads = st.lists(st.integers(1, 50), max_size=6)


def test_without_a_head_there_is_none() -> None:
    """Nodes that show nothing make no block the newest."""
    assert confirmed([]) == newest([]) == 0
    assert confirmed([7]) == newest([7]) == 7


@given(heads.filter(lambda shown: len(shown) >= 2))
def test_two_nodes_have_the_confirmed_block(shown: list[int]) -> None:
    """At least two nodes have the confirmed block, and at most one claims a later one."""
    assert sum(head >= confirmed(shown) for head in shown) >= 2
    assert sum(head > confirmed(shown) for head in shown) <= 1


@given(heads.filter(lambda shown: len(shown) >= 3), st.integers(51, 99))
def test_one_node_moves_the_newest_by_nothing_that_two_others_lack(shown: list[int], claimed: int) -> None:
    """Of three or more one that overstates its head is outvoted; of two the later head counts."""
    assert newest([*shown, claimed]) == max(shown)
    assert newest([shown[0], claimed]) == claimed
