"""``python -m tests.simulation --seeds 1000``, and ``--seed 17 --trace`` to see one again."""

import argparse
import os
import sys
import time
from collections import Counter

from tests.simulation.fault_profile import Family
from tests.simulation.planted import PLANTED, planted
from tests.simulation.running import run_seed, run_seeds
from tests.simulation.scenario import Result

PROGRESS_SECONDS = 5.0


def main() -> int:
    """Run what the command line asks for; 1 when an invariant was broken."""
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of texts are walked in the same order in every run
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])  # noqa: S606 - the same program again, with a hash seed
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument(
        "--family", type=Family, choices=list(Family), default=Family.MIXED, help="of which kind they are"
    )
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--trace", action="store_true", help="print what happens (with --seed)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--planted", choices=sorted(PLANTED), help="run with this mistake in the code")
    parser.add_argument("--until-broken", action="store_true", help="stop at the first broken invariant")
    asked = parser.parse_args()
    if asked.seeds < 1 or asked.processes < 1:
        parser.error("--seeds and --processes must be at least 1: nothing that was run can't be broken")
    with planted(asked.planted):
        return _run(asked)


def _run(asked: argparse.Namespace) -> int:
    if asked.seed is not None:
        return _show([run_seed(asked.seed, asked.family, trace=asked.trace)], asked.family, 0.0)
    began = shown = time.monotonic()
    results = []
    for result in run_seeds(asked.family, asked.first, asked.seeds, asked.processes):
        results.append(result)
        for broken in result.broken:
            _say(f"seed {result.seed}: {broken}")
        if result.broken and asked.until_broken:
            break
        if time.monotonic() - shown > PROGRESS_SECONDS:
            shown = time.monotonic()
            _say(f"{len(results)} of {asked.seeds} seeds, {len(results) / (shown - began):.1f} a second")
    return _show(results, asked.family, time.monotonic() - began)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _show(results: list[Result], family: Family, seconds: float) -> int:
    states = Counter[str]()
    for result in results:
        states.update(result.states)
    failed = [result for result in results if result.broken]
    _say(
        f"{len(results)} seeds in {seconds:.1f} s; {sum(r.virtual_seconds for r in results) / 3600:.1f} virtual hours, "
        f"{sum(r.commits for r in results)} commits, {sum(r.sends for r in results)} sends, "
        f"{sum(r.deaths for r in results)} restarts; changes: {dict(states)}"
    )
    for result in failed:
        _say(f"seed {result.seed} broke: {'; '.join(result.broken)}")
        _say(f"  again: python -m tests.simulation --family {family} --seed {result.seed} --trace")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
