import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.planted import PLANTED, WITHIN_SEEDS

SEEDS = 60
PAUSED_SEEDS = 8
ROOT = Path(__file__).parents[2]


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the simulator in a process of its own: its hash seed is fixed when a process starts."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )


@pytest.mark.timeout(600)
def test_invariants_hold_under_every_schedule_of_faults() -> None:
    """Whatever fails in whatever order: nothing is lost, nothing is done twice, no group is left locked."""
    done = simulate("--seeds", str(SEEDS))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.mark.timeout(600)
def test_a_replica_that_stood_still_sends_nothing_for_others() -> None:
    """The same where replicas stand still for longer than a lease, and wake up after another one took over."""
    done = simulate("--seeds", str(PAUSED_SEEDS), "--family", "pauses")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [3, 14, 15])
def test_a_seed_replays_exactly(seed: int) -> None:
    """The same seed gives the same trace to the last line, in another process, too."""
    first, second = (simulate("--seed", str(seed), "--trace") for _ in range(2))
    assert first.stdout == second.stdout
    assert first.stdout.count("\n") > 100


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(PLANTED))
def test_a_planted_mistake_is_found(name: str) -> None:
    """A mistake that is put into the code on purpose breaks an invariant within 200 seeds of its family."""
    found = PLANTED[name]
    search = ["--family", found.family, "--first", str(found.first), "--seeds", str(WITHIN_SEEDS), "--processes", "1"]
    done = simulate(*search, "--until-broken", "--planted", name)
    assert done.returncode == 1, done.stdout[-4000:] + done.stderr[-4000:]
    assert "broke" in done.stdout, done.stderr[-4000:]
