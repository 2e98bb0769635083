"""A group that a block closes to newcomers: told when it happens, and by everything that is asked later."""

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from tests.acceptance.conftest import ENCLAVE_KEYS, DaemonProcess, DevnetProcess, trigger, wait_until
from tests.acceptance.test_main_job import publish, status_events
from tests.patience import patient

NEWCOMER = ENCLAVE_KEYS[2]


def command(daemon: DaemonProcess, *arguments: str) -> tuple[int, Any]:
    """Run a verb with --json; returns its exit code and its document."""
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", *arguments, "--json"],
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_closed_group_is_told_at_once_and_refused_everywhere(
    devnet_process: Callable[..., DevnetProcess], daemon_process: Callable[..., DaemonProcess], nats_url: str
) -> None:
    """An account that sends twice in a block of a group closes it: event, metric, plan, API, change, doctor, audit."""
    devnet = devnet_process("23.10.3", 0.3)
    daemon = daemon_process(devnet, nats_url)
    made = trigger("make", "create_group", ENCLAVE_KEYS[:2])
    asyncio.run(publish(nats_url, made))
    group = daemon.settled("make")["privacy_group_id"]
    in_path = group.replace("+", "-").replace("/", "_").rstrip("=")
    forecast = f"/v1/groups/{in_path}/forecast?members={quote(NEWCOMER)}"
    assert daemon.get(forecast)["outlook"] == "safe"

    (account,) = devnet.call(1, "devnet_publicTraffic", 1, 2)
    # Removing a member is a transaction of the group, in a block with that account twice.
    asyncio.run(publish(nats_url, trigger("leave", "remove_members", ENCLAVE_KEYS[1:2], privacy_group_id=group)))
    assert daemon.settled("leave")["state"] == "succeeded"
    told = asyncio.run(status_events(nats_url, "membership.group.unextendable.v1"))[-1]
    devnet.call(1, "devnet_publicTraffic", 0, 0)
    assert told["data"]["privacy_group_id"] == group
    block, flaws = told["data"]["block_number"], told["data"]["flaws"]
    assert [(flaw["flaw"], flaw["account"]) for flaw in flaws] == [("account_twice", account.lower())]

    found = daemon.get(forecast)
    assert (found["outlook"], found["dangers"][0]["block_number"]) == ("unsafe", block)
    code, planned = command(daemon, "plan", "add", group, NEWCOMER, "--url", daemon.url)
    assert (code, planned["dangers"]) == (3, found["dangers"])
    asyncio.run(publish(nats_url, trigger("join", "add_members", (NEWCOMER,), privacy_group_id=group)))
    parked = daemon.settled("join")
    assert (parked["state"], parked["reason"]["slug"]) == ("parked", "block_not_replayable")

    def metrics() -> str:
        with urllib.request.urlopen(daemon.url + "/metrics", timeout=patient(20)) as response:  # noqa: S310 - HTTP on loopback
            text: str = response.read().decode()
        return text

    wait_until("the metric of closed groups", lambda: "orchestrator_unextendable_groups 1.0" in metrics())
    assert "orchestrator_account_twice_blocks_total 0.0" not in metrics()

    _, findings = command(daemon, "doctor", "--config", str(daemon.config))
    checks = {finding["check"]: finding for finding in findings["findings"]}
    assert group in checks["extendable-groups"]["what"]
    assert checks["replayable-blocks"]["level"] == "warning"
    code, audited = command(daemon, "audit", "--deep", "--config", str(daemon.config))
    closed = [finding for finding in audited["findings"] if finding["finding"] == "unextendable"]
    assert (code, {finding["privacy_group_id"] for finding in closed}) == (0, {group})
    assert block in [finding["block_number"] for finding in closed]
