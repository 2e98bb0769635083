"""The capacity guide's formulas say what a simulated network counts, and what must not grow with it does not."""

import pytest

from tests.capacity.formulas import Load, halved_history_calls
from tests.capacity.measuring import LATER, Line, Size, measure
from tests.capacity.scanning import scanned

SMALL = Size(nodes=6, groups=60, members=3, at_once=6, per_block=3, blocks=8)
LARGER = Size(nodes=6, groups=240, members=3, at_once=6)
CLOSE = 0.08
"""How far a formula may be off: what is asked of many nodes at once does not always share a block."""


@pytest.fixture(scope="module")
def small() -> dict[str, Line]:
    return measure(SMALL)


def test_the_formulas_are_those_of_the_guide(small: dict[str, Line]) -> None:
    """Calls, rows, units of work, messages, lanes and blocks: each is what was counted."""
    reckoned = {name: line for name, line in small.items() if line.reckoned is not None}
    assert len(reckoned) >= 20
    off = {name: (line.counted, line.reckoned) for name, line in reckoned.items() if line.off > CLOSE}
    assert off == {}


def test_calls_do_not_grow_with_groups_but_where_it_is_said(small: dict[str, Line]) -> None:
    """With four times the groups an addition asks for as many logs, and an idle block costs the same."""
    larger = measure(LARGER)
    for name in ("idle calls of a block", f"{LATER}: logs asked for, each"):
        assert larger[name].counted == pytest.approx(small[name].counted, rel=CLOSE), name
    for name in (f"{LATER}: calls each", "calls of an audit"):
        assert larger[name].off < CLOSE, name
        assert larger[name].counted > small[name].counted, name


def test_the_sizes_of_the_guide() -> None:
    """What the guide's table says of the largest network."""
    load = Load(nodes=50, groups=100_000, members=3, changes_per_minute=1_000)
    assert (load.held, round(load.lanes), round(load.audit_rounds)) == (6_000, 350, 50)
    assert halved_history_calls(10_000, 100_000) == 50_000


@pytest.mark.parametrize(("one_in", "calls"), [(1_000, 1_700), (200, 6_500), (1, 101_000)])
def test_a_first_history_costs_what_the_guide_says(one_in: int, calls: int) -> None:
    """Blocks without transactions cost next to nothing, and where there are none it is a hundredth more."""
    found = scanned(100_000, one_in)
    assert found.calls == pytest.approx(calls, rel=0.05)
