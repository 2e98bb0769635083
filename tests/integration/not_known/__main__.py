"""``python -m tests.integration.not_known``: every change with every call silenced once; ``--full`` for all points."""

import argparse
import os
import sys
import time

from tests.integration.not_known.changes import KINDS, run_change
from tests.integration.not_known.matrix import points, wrong_with

MODULE = "tests.integration.not_known"


def main() -> int:
    """Run what the command line asks for; 1 when something did not hold."""
    if os.environ.get("PYTHONHASHSEED") != "0":  # calls come in the same order in every run
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", MODULE, *sys.argv[1:]])  # noqa: S606 - the same program again, with a hash seed
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description=__doc__)
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind of change; may be repeated")
    parser.add_argument("--full", action="store_true", help="every point, not only every third of some silences")
    asked = parser.parse_args()
    return max(_try_all(kind, full=asked.full) for kind in asked.kind or KINDS)


def _try_all(kind: str, *, full: bool) -> int:
    began = time.process_time()
    undisturbed = run_change(kind, None)
    chosen = points(undisturbed, full=full)
    ends = [(point, run_change(kind, point)) for point in chosen]
    wrong = [found for point, end in ends if (found := wrong_with(point, end, undisturbed)) is not None]
    if undisturbed.state != "succeeded" or undisturbed.broken or not chosen:
        wrong.append(f"undisturbed: {undisturbed.state}, {len(undisturbed.seen)} calls, {undisturbed.broken}")
    for line in wrong:
        _say(f"{kind}: {line}")
    longest = max(end.seconds for _, end in ends)
    _say(
        f"{kind}: {len(chosen)} points in {len(undisturbed.seen)} calls, {len(wrong)} wrong; undisturbed "
        f"{undisturbed.seconds:g} s, at most {longest:g} s of virtual time; {time.process_time() - began:.1f} s"
    )
    return 1 if wrong else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
