"""``make fuzz``: by coverage, by Hypothesis, then campaigns by growing seeds; or one that is to be repeated."""

import argparse
import importlib.util
import os
import subprocess
import sys
import time
from itertools import count

import typer

from tests.hostile.campaigns import CAMPAIGNS, run
from tests.hostile.targets import TARGETS

SHARE = 0.25
"""Of the time, for what is guided by coverage and for Hypothesis each; the campaigns get the rest."""
EXAMPLES = 200
"""Of each test in one run of Hypothesis; runs follow each other until its share is over."""


def main() -> int:
    """Run campaigns; returns 1 when one found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="how long")
    parser.add_argument("--first-seed", type=int, default=int(time.time()), help="the first seed")
    parser.add_argument("--repeat", nargs=2, metavar=("CAMPAIGN", "SEED"), help="one campaign with one seed")
    chosen = parser.parse_args()
    if chosen.repeat:
        run(chosen.repeat[0], int(chosen.repeat[1]))
        return 0
    if chosen.minutes <= 0:
        parser.error("--minutes must be more than 0: nothing would be tried")
    seconds = chosen.minutes * 60
    until = time.monotonic() + seconds
    if _coverage_guided(seconds * SHARE) or _hypothesis(time.monotonic() + seconds * SHARE):
        return 1
    return _campaigns(until, chosen.first_seed)


def _hypothesis(until: float) -> int:
    """Run the codecs' tests again and again, each time with other examples; returns 1 when one found something."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/hostile/test_codecs.py"]
    # With CI set, tests/conftest.py has the same examples in each run.
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment["FUZZ_EXAMPLES"] = str(EXAMPLES)
    while True:
        if subprocess.run(command, env=environment, check=False).returncode:
            return 1
        if time.monotonic() > until:
            return 0


def _coverage_guided(seconds: float) -> int:
    """Run the targets that are guided by coverage, where that is possible; returns 1 when one found something."""
    if importlib.util.find_spec("atheris") is None:
        typer.echo(
            "coverage-guided fuzzing is left out: atheris is not installed (it has no wheel for this interpreter and "
            "system); Hypothesis and the campaigns go on"
        )
        return 0
    each = max(5, int(seconds / len(TARGETS)))
    for target in TARGETS:
        command = [sys.executable, "-m", "tests.hostile.coverage_guided", target, "--seconds", str(each)]
        if subprocess.run(command, check=False).returncode:
            typer.echo(
                f"found by {target!r}: what ended it is a file in tests/hostile/crashers/{target} now, keep it there"
            )
            return 1
    return 0


def _campaigns(until: float, first_seed: int) -> int:
    for seed in count(first_seed):
        for name in CAMPAIGNS:
            try:
                run(name, seed)
            except Exception as error:  # noqa: BLE001 - whatever it is, it was found
                typer.echo(f"found by {name!r} with seed {seed}: {error!r}")
                typer.echo(
                    f"repeat: python -m tests.hostile --repeat {name!r} {seed}, and keep it in tests/hostile/found.txt"
                )
                return 1
        if time.monotonic() > until:
            typer.echo(f"{seed - first_seed + 1} seeds of {len(CAMPAIGNS)} campaigns found nothing")
            return 0
    raise AssertionError("counting does not end")


if __name__ == "__main__":
    sys.exit(main())
