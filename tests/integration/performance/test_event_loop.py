from pathlib import Path

from tests.benchmarks.bench_loop import MOST_MS, longest_callbacks

GROUPS = 30


async def test_the_event_loop_is_never_held(tmp_path: Path) -> None:
    """While thirty groups are created and get a member each at once, no callback works for more than 50 ms."""
    found = await longest_callbacks(tmp_path, GROUPS)
    longest = found["by_processor"][0]
    assert longest["ms"] <= MOST_MS, longest
