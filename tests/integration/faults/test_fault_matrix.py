"""Every fault of what the daemon depends on, alone and in pairs, while a member is added."""

import asyncio
from pathlib import Path

import pytest

from tests.integration.faults.daemon_run import run
from tests.integration.faults.striking import FAULTS

PATIENCE_SECONDS = 900
"""Six runs at once share the machine, and each of their waits has a limit of its own: this one ends what hangs."""
NAMES = tuple(FAULTS)
pytestmark = pytest.mark.timeout(PATIENCE_SECONDS)


def cases_of(first: str) -> tuple[tuple[str, ...], ...]:
    """Return the cases of one test: the fault alone, and with the faults of the next half of the circle.

    Over all tests each unordered pair comes exactly once, because the number of faults is odd.
    """
    at = NAMES.index(first)
    others = [NAMES[(at + distance) % len(NAMES)] for distance in range(1, len(NAMES) // 2 + 1)]
    return ((first,), *((first, other) for other in others))


def test_every_pair_is_tried() -> None:
    """The tests together try every fault alone and every two faults together, each once."""
    cases = [frozenset(case) for first in NAMES for case in cases_of(first)]
    assert len(cases) == len(set(cases)) == len(NAMES) + len(NAMES) * (len(NAMES) - 1) // 2


@pytest.mark.parametrize("first", NAMES)
async def test_a_group_lives_its_life_through_two_faults(tmp_path: Path, first: str) -> None:
    """Whatever two things fail while a member is added, all three changes succeed, each once, and unlock the group."""
    failed: dict[str, str] = {}

    async def case(faults: tuple[str, ...]) -> None:
        name = " and ".join(faults)
        folder = tmp_path / "-".join(faults)
        folder.mkdir()
        try:
            await run(folder, faults, seed=name)
        except* AssertionError as group:
            failed[name] = "; ".join(str(error) for error in group.exceptions)

    async with asyncio.TaskGroup() as tasks:
        for faults in cases_of(first):
            tasks.create_task(case(faults))
    assert failed == {}
