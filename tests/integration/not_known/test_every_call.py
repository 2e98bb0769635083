"""Every call of every kind of change is once not answered as the node knows it; see `__main__`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.not_known.changes import KINDS

ROOT = Path(__file__).parents[3]
LEAST_POINTS = 40
"""A creation, the shortest, asks its own members' nodes only."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
def test_a_change_ends_as_without_the_silence(kind: str) -> None:
    """Whichever call is answered `null`, late, or by a late replica: same state, members and transactions, no lock."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.not_known", "--kind", kind],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    tried = re.search(r"(\d+) points", done.stdout)
    assert tried is not None
    assert int(tried[1]) >= LEAST_POINTS
