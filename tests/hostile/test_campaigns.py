"""A lying node, a hostile queue and forged verdicts end nothing and hold nobody up: a little of ``make fuzz``."""

from pathlib import Path

import pytest

from tests.hostile.campaigns import CAMPAIGNS, run

FOUND = Path(__file__).parent / "found.txt"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", CAMPAIGNS)
def test_nothing_is_found(name: str, seed: int) -> None:
    """A campaign with a fixed seed finds nothing."""
    run(name, seed)


def test_what_was_found_once_is_mended() -> None:
    """Each seed that found something is kept, and finds nothing any more."""
    for line in FOUND.read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, seed = line.rpartition(":")
            run(name, int(seed))
