"""Running seeds: one, or many in a few processes."""

import gc
import logging
from collections.abc import Iterator, MutableMapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import structlog

from tests.simulation import virtual_time
from tests.simulation.fault_profile import Family
from tests.simulation.scenario import Result, play

CHUNK = 5


def run_seed(seed: int, family: Family = Family.MIXED, *, trace: bool = False) -> Result:
    """Run one seed of a family from nothing."""
    errors: list[str] = []
    configure_logging(errors, trace=trace)
    gc.disable()  # when garbage is found must not depend on what ran before
    try:
        return virtual_time.run(play(seed, family.of(seed), errors, trace=trace))
    finally:
        gc.enable()
        gc.freeze()


def configure_logging(errors: list[str], *, trace: bool) -> None:
    """Let what is logged as an error break the run: the engine logs so only what is a defect."""

    def keep(_: object, method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if method in ("error", "exception", "critical") or "this is a defect" in str(entry.get("reason")):
            said = "\n".join(str(part) for part in entry.values())
            errors.append(said if trace else " | ".join(said.splitlines()[-3:]))
        if not trace:
            raise structlog.DropEvent
        return entry

    structlog.configure(
        processors=[structlog.processors.format_exc_info, keep, structlog.processors.KeyValueRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO if trace else logging.WARNING),
        cache_logger_on_first_use=False,
    )


def run_seeds(family: Family, first: int, count: int, processes: int) -> Iterator[Result]:
    """Run seeds of a family in several processes, results in the order of the seeds."""
    seeds, run = range(first, first + count), partial(run_seed, family=family)
    if processes == 1:
        yield from map(run, seeds)
        return
    pool = ProcessPoolExecutor(processes, mp_context=get_context("fork"))
    try:
        yield from pool.map(run, seeds, chunksize=CHUNK)
    finally:
        pool.shutdown(cancel_futures=True)
