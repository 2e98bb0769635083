"""``make bench``: measure, print a table, write JSON.

Figures that compare are ratios within one run on one machine; figures in seconds are of that machine at that hour.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator.log import configure_logging
from tests.benchmarks import (
    bench_access,
    bench_calls,
    bench_clients,
    bench_engines,
    bench_flood,
    bench_guard,
    bench_harm,
    bench_lanes,
    bench_loop,
    bench_pool,
    bench_queues,
    bench_reading,
    bench_recovery,
    bench_replicas,
    bench_restart,
    bench_takeover,
)
from tests.benchmarks.figures import Figure, show, write_json
from tests.benchmarks.machine import describe_machine
from tests.benchmarks.scale import FULL, QUICK, Scale

Measure = Callable[[Path, Scale], Coroutine[Any, Any, list[Figure]]]


BENCHMARKS: tuple[tuple[tuple[str, ...], str, Measure], ...] = (
    (("a",), "against a client library", bench_clients.measure),
    (("b", "c", "d", "g"), "many groups at once", bench_lanes.measure),
    (("b",), "many additions to one group", bench_lanes.measure_one_group),
    (("e",), "against job engines", bench_engines.measure),
    (("f",), "starting on a long queue", bench_restart.measure),
    (("h",), "the event loop", bench_loop.measure),
    (("harm",), "who does harm under load", bench_harm.measure),
    (("guard",), "a node behind a guard", bench_guard.measure),
    (("calls",), "calls and blocks of a change", bench_calls.measure),
    (("pool",), "additions through marker accounts", bench_pool.measure),
    (("i",), "dying at every point", bench_recovery.measure),
    (("j",), "going on for another replica", bench_takeover.measure),
    (("replicas",), "three replicas and one", bench_replicas.measure),
    (("k",), "beside a sender of thousands", bench_flood.measure),
    (("q",), "message queues against each other", bench_queues.measure),
    (("access",), "with access control and without", bench_access.measure),
    (("read",), "asked hundreds of times a second", bench_reading.measure),
)
"""The parts that a benchmark measures, what it is, and the benchmark."""


def main() -> int:
    """Run; returns the exit code."""
    options = _parse(sys.argv[1:])
    configure_logging("error")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    figures: list[Figure] = []
    for parts, title, measure in BENCHMARKS:
        wanted = set(parts) & options.only
        if not wanted:
            continue
        console.print(f"measuring {', '.join(sorted(wanted))}: {title} …")
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            measured = asyncio.run(measure(Path(directory), options.scale))
        figures += [figure for figure in measured if figure.part in wanted]
    figures.sort(key=lambda figure: figure.part)
    machine = describe_machine()
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()))
    show(console, figures)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.json, machine, figures)
    console.print(f"written to {options.json}")
    missed = [figure for figure in figures if figure.holds is False]
    return 1 if missed and options.strict else 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under two minutes, with smaller sizes")
    known = {part for parts, _, _ in BENCHMARKS for part in parts}
    parser.add_argument("--only", default=",".join(known), help="the parts to measure, such as b,d or harm")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", default=Path("build/benchmarks.json"), help="where the figures go, too"
    )
    parser.add_argument("--takeovers", type=int, metavar="N", help="part j: kill and stop a replica N times each")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a figure misses its bound")
    given = parser.parse_args(arguments)
    asked = set(given.only.split(","))
    if asked - known:
        parser.error(f"--only takes {', '.join(sorted(known))}, separated by commas, not {given.only!r}")
    given.only = asked
    given.scale = QUICK if given.quick else FULL
    if given.takeovers is not None:
        given.scale = replace(given.scale, takeovers=max(given.takeovers, 1))
    return given


if __name__ == "__main__":
    sys.exit(main())
