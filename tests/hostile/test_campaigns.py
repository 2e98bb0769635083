"""A lying node, a hostile queue and forged verdicts end nothing and hold nobody up: a little of ``make fuzz``."""

from pathlib import Path

import pytest

from tests.hostile.campaigns import CAMPAIGNS, run
from tests.hostile.targets import TARGETS

FOUND = Path(__file__).parent / "found.txt"


CRASHERS = Path(__file__).parent / "crashers"
BRIEF = [name for name in CAMPAIGNS if "member" not in name]  # of those what they found is tried: each takes seconds


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", BRIEF)
def test_nothing_is_found(name: str, seed: int) -> None:
    """A campaign with a fixed seed finds nothing."""
    run(name, seed)


@pytest.mark.parametrize("line", [line for line in FOUND.read_text().splitlines() if line and line[0] != "#"])
def test_what_was_found_once_is_mended(line: str) -> None:
    """Each seed that found something is kept, and finds nothing any more."""
    name, _, seed = line.rpartition(":")
    run(name, int(seed))


@pytest.mark.parametrize("path", sorted(CRASHERS.glob("*/*")), ids=lambda path: path.name)
def test_what_ended_a_target_once_does_not_any_more(path: Path) -> None:
    """Each document that ended one of the ways in is kept, and is read or refused now."""
    TARGETS[path.parent.name](path.read_bytes())
