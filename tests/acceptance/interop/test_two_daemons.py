"""Two daemons with different stores on the same subjects of one message queue: somebody's mistake, which is told."""

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import nats

from tests.acceptance.conftest import wait_until
from tests.acceptance.interop.conftest import Interop, interop
from tests.patience import patient


def newest_event(url: str) -> dict[str, Any] | None:
    """Return the newest event that was published; None when there is none yet."""

    async def look() -> dict[str, Any] | None:
        connection = await nats.connect(url)
        stream = connection.jetstream()
        try:
            last = (await stream.stream_info("membership-events")).state.last_seq
            return json.loads((await stream.get_msg("membership-events", last)).data or b"null") if last else None
        finally:
            await connection.close()

    return asyncio.run(look())


def test_a_daemon_on_anothers_subjects_says_so(running: Interop, tmp_path: Path) -> None:
    """The one that comes second tells of the other's events in its log, readiness and metrics, and to the doctor."""
    running.python(running.example("http.md", "http-python"))
    first = wait_until("an event", lambda: newest_event(running.broker_url))["source"]
    with interop(tmp_path, running.broker_url) as second:
        wait_until("the notice", lambda: not second.checks()["neighbours"]["ok"])
        assert first in second.checks()["neighbours"]["detail"]
        with urllib.request.urlopen(f"{second.url}/metrics", timeout=patient(20)) as answer:  # noqa: S310 - HTTP on loopback
            assert b"orchestrator_foreign_sources 1.0" in answer.read()
        logged = [json.loads(line) for line in second.log.read_text().splitlines() if line.startswith("{")]
        assert first in {line.get("other_source") for line in logged}
    asked = subprocess.run(
        [sys.executable, "-m", "orchestrator", "doctor", "--json", "--config", str(tmp_path / "orchestrator.toml")],
        env=os.environ | {"ORCHESTRATOR_BROKER__URL": running.broker_url},
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    assert asked.stdout, asked.stderr
    findings = {found["check"]: found for found in json.loads(asked.stdout)["findings"]}
    assert findings["neighbours"]["level"] == "warning"
    assert first in findings["neighbours"]["what"]
