"""The block from which on something holds."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.nodes.bisection import first_block


@given(low=st.integers(-1, 50), distance=st.integers(1, 5_000), data=st.data())
async def test_it_is_found_in_few_questions(low: int, distance: int, data: st.DataObject) -> None:
    """Halving asks about each block at most once, and no more often than the distance has binary digits."""
    high = low + distance
    first = data.draw(st.integers(low + 1, high))
    asked = []

    async def holds(block: int) -> bool:
        asked.append(block)
        return block >= first

    assert await first_block(low, high, holds) == first
    assert len(asked) == len(set(asked)) <= distance.bit_length()
