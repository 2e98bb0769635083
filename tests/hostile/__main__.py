"""``make fuzz``: campaigns by growing seeds until the time is over, or one that is to be repeated."""

import argparse
import os
import subprocess
import sys
import time
from itertools import count

import typer

from tests.hostile.campaigns import CAMPAIGNS, run


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
    examples = max(200, int(chosen.minutes * 1000))
    codecs = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/hostile/test_codecs.py"],
        env=os.environ | {"FUZZ_EXAMPLES": str(examples)},
        check=False,
    )
    if codecs.returncode:
        return 1
    return _campaigns(time.monotonic() + chosen.minutes * 60, chosen.first_seed)


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
