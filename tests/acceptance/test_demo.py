"""`orchestrator demo` does the main job from nothing."""

import os
import re
import subprocess
import sys
import time

from tests.patience import patient


def test_the_demo_ends_in_sync() -> None:
    """The demo creates, writes, adds with a replay, proves, removes, and ends with 0 within a minute."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
    began = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-m", "orchestrator", "demo"],
        capture_output=True,
        text=True,
        timeout=patient(110),
        check=False,
        env=environment,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    lines = run.stdout.splitlines()
    assert "in sync" in lines
    assert "  200 private transactions in 10 blocks" in lines
    assert re.search(r"member3 replays: (\d+) of \1 transactions", run.stdout)
    locked = re.search(r"group\.locked .*block (\d+)", run.stdout)
    unlocked = re.search(r"group\.unlocked .*block (\d+)", run.stdout)
    assert locked is not None
    assert unlocked is not None
    assert int(unlocked[1]) > int(locked[1])
    assert run.stdout.count("member1, member2, member3") == 3
    assert "  2 members are left" in lines
    assert run.stderr == ""
    assert time.monotonic() - began < patient(60)
