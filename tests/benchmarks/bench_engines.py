"""Against job engines: requests accepted durably and steps done, with nothing to do in them, in one run."""

import asyncio
import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any, Final

from tests.benchmarks import bench_events, bench_store
from tests.benchmarks.bench_store import AT_ONCE
from tests.benchmarks.figures import Figure, at_least, at_most
from tests.benchmarks.scale import Scale
from tests.servers.nats_server import NatsServer
from tests.servers.postgresql_server import PostgreSQLServer

_BASELINES: Final = Path(__file__).parent / "baselines"
_VENV: Final = Path(__file__).parents[2] / "build/benchmark-baselines"
_PATIENCE_SECONDS: Final = 600.0

JOB_STEPS: Final = 2
"""What procrastinate commits for a job after it is accepted: it takes it, and it ends it."""


async def measure(_: Path, scale: Scale) -> list[Figure]:
    """Measure part e."""
    return await asyncio.to_thread(_measure, scale)


def _measure(scale: Scale) -> list[Figure]:
    figures: list[Figure] = []
    with bench_store.databases() as urls:
        ours = {
            name: bench_store.measure(url, accepts=scale.requests, steps=60, waiting=1000) for name, url in urls.items()
        }
    for name, found in ours.items():
        figures += [
            Figure("e", f"store, {name}: requests accepted", found.accepts_per_second, "/s", at_least(1000)),
            Figure("e", f"store, {name}: state transitions", found.transitions_per_second, "/s", at_least(300)),
        ]
    events = bench_events.measure(requests=scale.requests, events=scale.requests // 5)
    figures += [
        Figure("e", "intake from NATS, SQLite", events.intake_per_second, "/s", at_least(1000)),
        Figure("e", "commit → subscriber p99 at 200 events/s", events.queue_milliseconds_p99, "ms", at_most(50)),
        Figure("e", "events relayed when many wait", events.relay_per_second, "/s"),
    ]
    procrastinate, taskiq = _baselines(scale.jobs)
    figures += [
        Figure("e", "procrastinate, PostgreSQL: jobs accepted", procrastinate["accepted_per_second"], "/s"),
        Figure("e", "procrastinate, PostgreSQL: jobs done", procrastinate["done_per_second"], "/s"),
        Figure("e", "taskiq, NATS: tasks accepted", taskiq["accepted_per_second"], "/s"),
        Figure("e", "taskiq, NATS: tasks done", taskiq["done_per_second"], "/s", note="keeps no state, has no order"),
    ]
    same = ours["PostgreSQL"]
    done = procrastinate["done_per_second"] * JOB_STEPS
    note = "same PostgreSQL, one run"
    figures += [
        Figure(
            "e",
            "accepted: times procrastinate",
            same.accepts_per_second / procrastinate["accepted_per_second"],
            "",
            note=note,
        ),
        Figure(
            "e", "steps: times procrastinate", same.transitions_per_second / done, "", note=f"{note}; two steps a job"
        ),
    ]
    return figures


def _baselines(jobs: int) -> tuple[dict[str, float], dict[str, float]]:
    python = _interpreter()
    with PostgreSQLServer(durable=True) as database, NatsServer() as queue:
        url = database.url_of(database.create_database())
        return (
            _run(python, "procrastinate_jobs.py", url, jobs),
            _run(python, "taskiq_jobs.py", queue.url, jobs),
        )


def _run(python: Path, script: str, url: str, jobs: int) -> dict[str, float]:
    command = [str(python), str(_BASELINES / script), url, str(jobs), str(AT_ONCE)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=_PATIENCE_SECONDS)
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def _interpreter() -> Path:
    """Return an interpreter that has the baselines; they are no requirements of this project."""
    python = _VENV / "bin/python"
    wanted = (_BASELINES / "requirements.txt").read_text()
    mark = _VENV / "installed"
    if not mark.exists() or mark.read_text() != wanted:
        venv.create(_VENV, clear=True)
        pip = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "--disable-pip-version-check",
            "--quiet",
            "install",
        ]
        subprocess.run(
            [*pip, "--require-hashes", "-r", str(_BASELINES / "requirements.txt")],
            check=True,
            timeout=_PATIENCE_SECONDS,
        )
        mark.write_text(wanted)
    return python
