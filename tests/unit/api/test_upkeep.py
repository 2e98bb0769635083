"""What those who run the daemon ask for."""

from typing import Any

from aiohttp.test_utils import TestClient
from prometheus_client import Counter

from orchestrator.api.ports import Check
from tests.fakes.http_api import FakeParts, Letter

Client = TestClient[Any, Any]


async def test_it_is_alive(client: Client) -> None:
    """As long as the process works, /livez answers 200, whatever else is away."""
    assert (await client.get("/livez")).status == 200


async def test_it_is_ready_without_what_is_not_required(client: Client, parts: FakeParts) -> None:
    """A part that is not required may be away; it is shown."""
    parts.readiness.found = (Check(name="store", ok=True), Check(name="node member2", ok=False, required=False))
    response = await client.get("/readyz")
    assert response.status == 200
    assert [check["ok"] for check in (await response.json())["checks"]] == [True, False]


async def test_it_is_not_ready_without_what_is_required(client: Client, parts: FakeParts) -> None:
    """While a required part is away, /readyz answers 503 and says which."""
    parts.readiness.found = (Check(name="store", ok=False, detail="database is locked"),)
    response = await client.get("/readyz")
    document = await response.json()
    assert response.status == 503
    assert (document["ready"], document["checks"][0]["detail"]) == (False, "database is locked")


async def test_metrics_are_shown(client: Client, parts: FakeParts) -> None:
    """/metrics shows the registry's metrics in Prometheus' text format."""
    Counter("changes_accepted", "Accepted changes.", registry=parts.metrics).inc(3)
    response = await client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    assert "changes_accepted_total 3.0" in await response.text()


async def test_dead_letters_are_listed_and_replayed(client: Client, parts: FakeParts) -> None:
    """A dead letter shows its reason and text; it can be replayed once."""
    parts.dead_letters.letters["7"] = Letter(letter_id="7", reason="body: is no JSON", body=b"\xff{")
    page = await (await client.get("/v1/dead-letters")).json()
    assert page["dead_letters"] == [{"letter_id": "7", "reason": "body: is no JSON", "body": "\ufffd{"}]
    assert (await client.post("/v1/dead-letters/7/replay")).status == 204
    assert (await client.post("/v1/dead-letters/7/replay")).status == 404
