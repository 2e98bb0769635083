"""One trace for a change, from its request to its proof, in a collector that reads OTLP, whatever dies on the way."""

import asyncio
import json
import os
import re
import signal
from pathlib import Path
from typing import Any, Final

import aiohttp

from orchestrator.membership.tracing import span_id
from tests.benchmarks.harness import OWNER, OWNER_KEY, group_id, running_devnet, trigger, write_config
from tests.benchmarks.processes import child, orchestrator
from tests.patience import patient
from tests.servers.nats_server import NatsServer
from tests.servers.otlp_collector import Received, collecting
from tests.unit.api.resources.test_stream import eventually

CREATION: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
ADDITION: Final = "0af7651916cd43dd8448eb211c80319c"
ASKER: Final = "00f067aa0ba902b7"
STATE: Final = "vendor=opaque"
GROUP: Final = group_id("traced")
PATIENCE_SECONDS: Final = 60.0
SUCCEEDED: Final = "membership.change.succeeded.v1"


async def ended(session: aiohttp.ClientSession, url: str, state: str, **asked: str) -> dict[str, Any]:
    """Return the group's newest change once it is in a state, or has left it behind."""
    async with asyncio.timeout(patient(PATIENCE_SECONDS)):
        while True:
            async with session.get(f"{url}/v1/changes", params={"limit": "1", **asked}) as response:
                (change,) = (await response.json())["changes"] or [{"state": ""}]
            if change["state"] in (state, "succeeded"):
                found: dict[str, Any] = change
                return found
            await asyncio.sleep(0.05)


async def spans_sent(session: aiohttp.ClientSession, url: str) -> float:
    """Return how many spans a daemon says that it sent."""
    async with session.get(f"{url}/metrics") as response:
        (sent,) = re.findall(r"^orchestrator_trace_spans_sent_total (\S+)", await response.text(), re.MULTILINE)
        return float(sent)


def check_tree(spans: dict[str, Received], change_id: str, trace_id: str, parent_id: str) -> set[str]:
    """Make sure that a change's spans are one tree below one root, each within its parent; return their names."""
    own = [span for span in spans.values() if span.trace_id == trace_id]
    (root,) = [span for span in own if span.span_id == span_id(change_id, "change")]
    assert root.parent_id == parent_id
    for span in own:
        if span is not root:
            above = spans[span.parent_id]
            assert above.trace_id == trace_id
            assert above.start <= span.start <= span.end <= above.end, (span, above)
    return {span.name for span in own}


async def test_a_change_is_one_trace_though_its_daemon_is_killed(tmp_path: Path, nats_server: NatsServer) -> None:
    """The trace of the request goes through both lives of the daemon to the proof, and on with the status events."""
    events: list[dict[str, Any]] = []
    async with collecting() as collector, running_devnet(tmp_path) as devnet, aiohttp.ClientSession() as session:
        traces = f'[traces]\nendpoint = "{collector.url}"\nheaders_file = "{tmp_path}/headers"'
        (tmp_path / "headers").write_text("Authorization: Bearer collectors-token\n")
        (tmp_path / "headers").chmod(0o600)
        config = write_config(tmp_path, devnet, nats_server.url, more=[traces])
        command = orchestrator("run", "--config", str(config), "--migrate")
        async with child(tmp_path / "daemon.log", command) as daemon:
            headers = {"Idempotency-Key": "create", "traceparent": f"00-{CREATION}-{ASKER}-01", "tracestate": STATE}
            create = {"kind": "create_group", "privacy_group_id": GROUP, "members": devnet.members[:2]}
            async with session.post(f"{daemon.said}/v1/changes", json=create, headers=headers) as response:
                created = (await response.json())["change_id"]
            await ended(session, daemon.said, "succeeded")
            asked = json.loads(trigger("add", "add_members", GROUP, devnet.members[2:3]))
            body = json.dumps({**asked, "traceparent": f"00-{ADDITION}-{ASKER}-01"})
            media = {"Content-Type": "application/cloudevents+json"}
            async with session.post(f"{daemon.said}/v1/changes", data=body, headers=media) as response:
                added = (await response.json())["change_id"]
            await ended(session, daemon.said, "adding")
            # What was told by word only, and not sent yet, dies with the daemon; what is stored is told again.
            await eventually(lambda: span_id(added, "accept") in {span.span_id for span in collector.spans})
            os.kill(daemon.process.pid, signal.SIGKILL)
            await daemon.process.wait()
        async with child(tmp_path / "daemon.log", command) as daemon:
            await ended(session, daemon.said, "succeeded")
            async with session.get(f"{daemon.said}/v1/events", headers={"Last-Event-ID": "0"}) as stream:
                async for line in stream.content:
                    if line.startswith(b"data:"):
                        events.append(json.loads(line[5:]))
                    if events and (events[-1]["type"], events[-1]["data"]["change_id"]) == (SUCCEEDED, added):
                        break
            await eventually(lambda: span_id(added, "change") in {span.span_id for span in collector.spans})
            # The collector has a span a moment before its answer is there, which is what is counted.
            async with asyncio.timeout(patient(PATIENCE_SECONDS)):
                while not await spans_sent(session, daemon.said):  # noqa: ASYNC110 - it happens in another process
                    await asyncio.sleep(0.05)
            daemon.process.terminate()
            await daemon.process.wait()
    spans = collector.by_id()
    assert {span.trace_id for span in spans.values()} == {CREATION, ADDITION}
    assert {span.service for span in spans.values()} == {"besu-membership-orchestrator"}
    assert collector.headers["authorization"] == "Bearer collectors-token"
    assert "create_group" in check_tree(spans, created, CREATION, ASKER)
    names = check_tree(spans, added, ADDITION, ASKER)
    steps = {"accept", "queued", "preflight", "locking", "adding", "replaying", "add_members", "replay"}
    assert steps | {"distribute and sign", "broadcast", "be mined", "prove"} <= names
    assert any(re.match("(priv|eth|eea)_", name) for name in names)
    for event in events:
        change = event["data"]["change_id"]
        trace_id = CREATION if change == created else ADDITION
        assert event["traceparent"] == f"00-{trace_id}-{span_id(change, 'change')}-01"
        assert event.get("tracestate") == (STATE if change == created else None)
    told = b"".join(collector.bodies)
    for secret in (OWNER_KEY, OWNER, OWNER[2:], GROUP, *devnet.members, "collectors-token", "127.0.0.1"):
        assert secret.lower().encode() not in told.lower()
