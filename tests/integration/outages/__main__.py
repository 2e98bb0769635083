"""``python -m tests.integration.outages``: every outage with each kind of enclave, or those whose names hold a text."""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.integration.outages.cases import CASES
from tests.integration.outages.playing import Outcome, play_through


def main() -> int:
    """Play what the command line asks for; 1 when something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.outages", description=__doc__)
    parser.add_argument("--only", default="", help="outages whose names hold this text")
    parser.add_argument("--trace", action="store_true", help="print what happens, one outage after the other")
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    chosen = [case for case in CASES if asked.only in case.name]
    if asked.trace:
        return _show([play_through(case, trace=True) for case in chosen])
    with ProcessPoolExecutor(asked.processes, mp_context=get_context("fork")) as pool:
        return _show(list(pool.map(play_through, chosen)))


def _show(outcomes: list[Outcome]) -> int:
    for outcome in outcomes:
        told = "; ".join(outcome.broken) or "held"
        seconds = f"{outcome.recovered_seconds:.0f} s"
        sys.stdout.write(f"{outcome.case.name}: {told} ({outcome.signed} signed, {outcome.locks} locks, {seconds})\n")
    broken = [outcome for outcome in outcomes if outcome.broken]
    sys.stdout.write(f"{len(outcomes)} outages, {len(broken)} of them not outlived\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
