"""The dashboard in a real browser: what it shows, how it follows, and that it needs nothing from elsewhere."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib.resources import files

import pytest
from aiohttp.test_utils import TestServer
from playwright.async_api import ConsoleMessage, Page, Request, Route, async_playwright, expect

from orchestrator.api.ports import GroupStanding
from orchestrator.membership.model import MemberProgress, State, Verdict
from orchestrator.membership.status import EventType
from tests.fakes.http_api import GROUP, KEYS, NOW, FakeEvent, FakeParts, make_change, make_parked_change


@pytest.fixture
async def page(chromium_path: str) -> AsyncIterator[Page]:
    """A page of a fresh browser; complaints on its console fail the test."""
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
        opened = await browser.new_page()
        opened.on("console", note)
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        yield opened
        seen = list(complaints)  # a page that is closed in the middle of a request complains of that
        await browser.close()
    assert seen == []


def replaying(replayed: int) -> MemberProgress:
    return MemberProgress(
        enclave_key=KEYS[2], verdict=Verdict.REPLAYING, blocks_replayed=replayed, blocks_total=40, head=52, moved_at=NOW
    )


def progressed(number: int) -> FakeEvent:
    kind = "membership.change.progressed.v1"
    document = {
        "id": str(number),
        "type": kind,
        "subject": GROUP,
        "time": NOW.isoformat(),
        "data": {"change_id": "change-1"},
    }
    return FakeEvent(resume_id=str(number), event_type=kind, text=json.dumps(document))


async def test_the_dashboard_follows_a_replay(page: Page, server: TestServer, parts: FakeParts) -> None:
    """Groups and changes are shown, and the progress bar moves when an event tells of progress, without a reload."""
    parts.groups.known[GROUP] = GroupStanding(
        privacy_group_id=GROUP, block_number=52, participants=KEYS, locked=False, version="0x12", in_sync=True
    )
    change = replace(make_change(), state=State.REPLAYING, progress=(replaying(10),))
    parts.record.stored["change-1"] = change
    await page.goto(str(server.make_url("/")))

    await expect(page.locator(f'tr[data-group="{GROUP}"]')).to_contain_text("in sync")
    row = page.locator('tr[data-change="change-1"]')
    await expect(row.locator("progress")).to_have_js_property("value", 10)
    await expect(row).to_contain_text("10 of 40 blocks")
    await expect(page.locator("#connection")).to_have_text("live")

    parts.record.stored["change-1"] = replace(change, progress=(replaying(30),))
    parts.feed.publish(progressed(1))
    await expect(row.locator("progress")).to_have_js_property("value", 30)
    await expect(page.locator("#log")).to_contain_text("change.progressed")


def test_every_type_of_event_is_listened_for() -> None:
    """The dashboard subscribes to each type of status event that there is."""
    script = files("orchestrator.api").joinpath("pages", "dashboard.js").read_text("utf-8")
    for kind in EventType:
        assert f'"{kind.value.split(".")[2]}"' in script or f'"{kind.value}"' in script


async def test_what_others_wrote_stays_text(page: Page, server: TestServer, parts: FakeParts) -> None:
    """Markup in a reason is shown as text and does nothing."""
    parked = make_parked_change()
    assert parked.reason is not None
    detail = "<img src=x onerror=alert(1)>"
    parts.record.stored["change-1"] = replace(parked, reason=replace(parked.reason, detail=detail))
    await page.goto(str(server.make_url("/")))
    await expect(page.locator('tr[data-change="change-1"]')).to_contain_text(detail)
    assert await page.locator("img").count() == 0


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_pages_ask_nobody_else(page: Page, server: TestServer, path: str) -> None:
    """A page loads, and every request that it makes goes to the daemon itself."""
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    await page.goto(str(server.make_url(path)))
    await expect(page.locator("h2").first).to_be_visible()
    own = str(server.make_url("/"))
    assert asked
    assert all(url.startswith((own, "data:")) for url in asked)


async def test_the_documentation_lists_operations(page: Page, server: TestServer) -> None:
    """The documentation page shows each operation from the OpenAPI document."""
    await page.goto(str(server.make_url("/docs")))
    await expect(page.locator("code", has_text="PUT /v1/groups/{group_id}/members")).to_be_visible()
    await expect(page.locator("summary", has_text="ChangeDetailDocument")).to_be_visible()


async def test_the_dashboard_outlives_a_proxy_that_answers_for_the_daemon(page: Page, server: TestServer) -> None:
    """What is no stream ends an EventSource for good; the page makes another one, and says so meanwhile."""
    failed: list[str] = []

    async def away_once(route: Route) -> None:
        if failed:
            await route.continue_()
        else:
            failed.append(route.request.url)
            # As final as a 502, of which the browser would complain on its console.
            await route.fulfill(status=204)

    await page.route("**/v1/events", away_once)
    await page.goto(str(server.make_url("/")))
    await expect(page.locator("#connection")).to_contain_text("trying again")
    await expect(page.locator("#connection")).to_have_text("live", timeout=10_000)
