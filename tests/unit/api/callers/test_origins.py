"""Who may talk to an API without access control."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from orchestrator.api.callers.origins import SECURITY_HEADERS, is_loopback_host
from tests.fakes.http_api import FakeParts, make_change

Client = TestClient[Any, Any]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8080", "localhost:1", "[::1]:8080", "127.1.2.3:9", "LOCALHOST"]
)
def test_loopback_hosts_are_known(host: str) -> None:
    """Every spelling of loopback is accepted as Host."""
    assert is_loopback_host(host)


@pytest.mark.parametrize(
    "host", ["", "example.org", "localhost.example.org", "127.0.0.1.example.org:80", "x@127.0.0.1", "10.0.0.1", "[::"]
)
def test_other_hosts_are_foreign(host: str) -> None:
    """A name that somebody makes resolve to loopback is not accepted as Host."""
    assert not is_loopback_host(host)


async def test_a_foreign_host_is_refused(client: Client) -> None:
    """A request under another name (DNS rebinding) answers 421, whatever it asks for."""
    for path in ("/v1/changes", "/", "/metrics"):
        response = await client.get(path, headers={"Host": "rebound.example.org"})
        assert response.status == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
    ],
)
async def test_pages_from_elsewhere_may_not_act(client: Client, parts: FakeParts, headers: dict[str, str]) -> None:
    """A form or script of a foreign page can't cancel a change through the visitor's browser."""
    parts.record.stored["change-1"] = make_change()
    response = await client.post("/v1/changes/change-1/cancel", headers=headers)
    assert response.status == 403
    assert parts.record.stored["change-1"].state == "queued"


async def test_own_pages_may_act(client: Client, parts: FakeParts) -> None:
    """A page that the API served itself may use it."""
    parts.record.stored["change-1"] = make_change()
    origin = str(client.make_url("/")).rstrip("/")
    headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
    assert (await client.post("/v1/changes/change-1/cancel", headers=headers)).status == 200


async def test_a_link_from_elsewhere_opens_the_dashboard(client: Client) -> None:
    """Following a link to the dashboard works; that only shows a page."""
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert (await client.get("/", headers=headers)).status == 200


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/openapi.json", "/v1/changes", "/livez", "/nothing", "/static/style.css"]
)
async def test_every_answer_is_guarded(client: Client, path: str) -> None:
    """Every answer, errors too, forbids foreign scripts, embedding, sniffing and caching."""
    response = await client.get(path)
    for name, value in SECURITY_HEADERS.items():
        assert response.headers[name] == value
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/docs", "/static/dashboard.js", "/static/docs.js", "/static/style.css"])
async def test_pages_need_nothing_from_elsewhere(client: Client, path: str) -> None:
    """Pages, scripts and styles name no resource on another host and hold no inline script or style."""
    text = await (await client.get(path)).text()
    assert "http://" not in text
    assert "https://" not in text
    assert "<script>" not in text
    assert "<style" not in text
    assert " style=" not in text


async def test_unknown_paths_and_methods_are_problems(client: Client) -> None:
    """What there is not answers 404 or 405 with a problem document; 405 names the methods that there are."""
    missing = await client.get("/v2")
    wrong = await client.delete("/v1/changes")
    assert (missing.status, wrong.status) == (404, 405)
    assert missing.content_type == wrong.content_type == "application/problem+json"
    assert set(wrong.headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}


@pytest.mark.parametrize("host", ["127.0.0.1", "console.example.org", "CONSOLE.example.org"])
async def test_pages_behind_a_known_proxy_may_act(client: Client, parts: FakeParts, host: str) -> None:
    """A page that came by a configured proxy may use the API, whether the proxy passes its own Host on or not."""
    parts.record.stored["change-1"] = make_change()
    headers = {"Origin": "https://console.example.org", "Sec-Fetch-Site": "same-origin", "Host": host}
    assert (await client.post("/v1/changes/change-1/cancel", headers=headers)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://console.example.org"},
        {"Origin": "https://console.example.org:444"},
        {"Origin": "https://console.example.org", "Host": "other.example.org"},
        {"Origin": "https://console.example.org", "Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_a_proxy_is_known_by_its_whole_address(client: Client, parts: FakeParts, headers: dict[str, str]) -> None:
    """Another scheme or port, another host, and a page of another site are foreign as ever."""
    parts.record.stored["change-1"] = make_change()
    assert (await client.post("/v1/changes/change-1/cancel", headers=headers)).status in (403, 421)
