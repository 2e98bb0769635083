"""One target of ``make fuzz`` with bytes that are chosen by the code that they reach: a process of its own.

libFuzzer ends the process, also when it found nothing; what ends a target is written as a file, whose name it prints.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

CRASHERS = Path(__file__).parent / "crashers"
MOST_BYTES = 4096

with atheris.instrument_imports(include=["orchestrator"]):
    from tests.hostile.targets import BEGIN_WITH, TARGETS


def main() -> None:
    """Feed the target for so many seconds."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile.coverage_guided", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, required=True)
    chosen = parser.parse_args()
    kept = CRASHERS / chosen.target
    kept.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for number, example in enumerate(BEGIN_WITH):
            Path(corpus, str(number)).write_bytes(example)
        options = [f"-max_total_time={chosen.seconds}", f"-artifact_prefix={kept}/", f"-max_len={MOST_BYTES}"]
        atheris.Setup([sys.argv[0], *options, "-timeout=5", "-verbosity=0", corpus, str(kept)], TARGETS[chosen.target])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
