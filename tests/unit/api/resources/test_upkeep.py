"""What those who run the daemon ask for."""

import json
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from prometheus_client import Counter

from orchestrator.api.documents.shared import LEAST_SHOWN_BYTES, MOST_SHOWN_BYTES
from orchestrator.api.ports.changes import Check
from tests.fakes.http_api import FakeParts, Letter
from tests.hostile.loop_time import MOST_SECONDS_ON_THE_LOOP, measured

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


async def test_the_longest_dead_letters_are_listed_in_little_time(client: Client, parts: FakeParts) -> None:
    """Whoever may publish decides how long they are: of many long ones the beginnings are shown, short ones whole."""
    long = bytes(1 << 20)
    for number in range(499):
        parts.dead_letters.letters[str(number)] = Letter(letter_id=str(number), reason="too long", body=long)
    parts.dead_letters.letters["last"] = Letter(letter_id="last", reason="no JSON", body=b"{" * LEAST_SHOWN_BYTES)
    with measured() as longest:
        response = await client.get("/v1/dead-letters?limit=500")
        text = await response.text()
    assert longest.seconds < MOST_SECONDS_ON_THE_LOOP, longest
    first, second, *_, last = json.loads(text)["dead_letters"]
    assert first["body"] == "\0" * MOST_SHOWN_BYTES + "… (1048576 bytes)"
    assert second["body"] == "\0" * LEAST_SHOWN_BYTES + "… (1048576 bytes)"
    assert last["body"] == "{" * LEAST_SHOWN_BYTES


@pytest.mark.parametrize("path", ["/livez?verbose", "/readyz?verbose=1", "/metrics?target=x&module=y"])
async def test_probes_may_send_parameters(client: Client, path: str) -> None:
    """What others' probes add to an address does not take the daemon down for them."""
    assert (await client.get(path)).status == 200


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/metrics", "/v1/changes", "/v1/groups", "/v1/events", "/", "/openapi.json"]
)
async def test_whatever_can_be_got_has_a_head(client: Client, path: str) -> None:
    """HEAD answers as GET does, with the same headers and no body."""
    head = await client.head(path)
    assert (head.status, await head.read()) == (200, b"")
    async with client.get(path) as got:
        assert (got.status, got.headers["Content-Type"]) == (200, head.headers["Content-Type"])


async def test_open_metrics_are_given_who_asks_for_them(client: Client) -> None:
    """The text format is the one that the scraper prefers."""
    plain = await client.get("/metrics")
    open_metrics = await client.get("/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    assert plain.content_type == "text/plain"
    assert open_metrics.content_type == "application/openmetrics-text"
    assert (await open_metrics.text()).endswith("# EOF\n")


@pytest.mark.parametrize("kind", ["text/plain", "application/openmetrics-text"])
async def test_a_scraper_that_names_no_version_gets_plain_text(client: Client, kind: str) -> None:
    """A version of a format that is no number is passed over, and is no defect."""
    response = await client.get("/metrics", headers={"Accept": f"{kind};version=newest"})
    assert (response.status, response.content_type) == (200, "text/plain")
