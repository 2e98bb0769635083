"""The dashboard in a real browser: what it shows, how it follows, and that it needs nothing from elsewhere."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from importlib.resources import files
from typing import Any, Literal

import pytest
from aiohttp.test_utils import TestServer
from playwright.async_api import ConsoleMessage, Locator, Page, Request, Route, async_playwright, expect

from orchestrator.access.callers import Role
from orchestrator.api.callers.authentication import AccessRules
from orchestrator.api.ports.changes import GroupStanding, MemberStanding
from orchestrator.api.ports.overview import NodeStanding
from orchestrator.membership.model import Mark, MemberProgress, State, Verdict
from orchestrator.membership.news.attention import Need, Urgency
from orchestrator.membership.news.status import EventType
from orchestrator.membership.replay_time import TimeLeft
from tests.fakes.forecasts import a_closed_way, a_removal, a_safe_forecast, an_unsafe_forecast
from tests.fakes.http_api import (
    GROUP,
    GROUP_IN_PATH,
    KEYS,
    NOW,
    FakeEvent,
    FakeParts,
    make_change,
    make_parked_change,
)
from tests.patience import patient, within
from tests.servers import programs
from tests.unit.api.conftest import Server


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    """What a page shows by and by is waited for as long as elsewhere."""
    expect.set_options(timeout=patient(10) * 1000)
    yield
    expect.set_options(timeout=None)


@pytest.fixture
async def page(chromium_path: str, server: TestServer) -> AsyncIterator[Page]:
    """A page of a fresh browser; complaints on its console fail the test.

    The server goes after it: a page that still asks complains of one that is away.
    """
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # What a test cut off by itself is no complaint.
        if message.type in ("error", "warning") and "ERR_INTERNET_DISCONNECTED" not in message.text:
            complaints.append(message.text)

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
        opened = await browser.new_page()
        opened.set_default_timeout(patient(30) * 1000)
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


def standing(**fields: Any) -> GroupStanding:
    values: dict[str, Any] = {
        "privacy_group_id": GROUP,
        "block_number": 52,
        "participants": KEYS,
        "locked": False,
        "version": "0x12",
    }
    return GroupStanding(**values | fields)


async def test_a_person_signs_in_and_out(chromium_path: str, parts: FakeParts) -> None:
    """Without a token only the sign-in page is shown; with one the dashboard and its live events."""
    parts.rules = AccessRules(required=True)
    parts.groups.known[GROUP] = GroupStanding(privacy_group_id=GROUP)
    token = parts.tokens.make("somebody", Role.VIEWER)
    async with Server(parts.application()) as server, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
        page = await browser.new_page()
        page.set_default_timeout(patient(30) * 1000)
        await page.goto(str(server.make_url("/")))
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        await page.get_by_label("Token").fill("wrong")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_contain_text("Not accepted")
        await page.get_by_label("Token").fill(token)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.locator("#caller")).to_contain_text("token:somebody (viewer)")
        await expect(page.locator("#connection")).to_have_text("live")
        await expect(page.locator(f'[data-group="{GROUP}"]')).to_be_visible()
        (cookie,) = await page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert await page.evaluate("document.cookie") == ""
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert await page.context.cookies() == []
        await browser.close()


async def test_the_overview_follows_a_replay_to_its_end(page: Page, server: TestServer, parts: FakeParts) -> None:
    """The bar moves when an event tells of progress, without a reload, and the change leaves when it has succeeded."""
    parts.groups.known[GROUP] = standing()
    change = replace(make_change(), state=State.REPLAYING, progress=(replaying(10),))
    parts.record.stored["change-1"] = change
    await page.goto(str(server.make_url("/")))

    row = page.locator('tr[data-change="change-1"]')
    await expect(row.locator("progress")).to_have_js_property("value", 10)
    await expect(row).to_contain_text("10 of 40 blocks")
    await expect(page.locator("#connection")).to_have_text("live")
    await expect(page.locator("#needs")).to_have_text("Nothing needs you.")

    parts.record.stored["change-1"] = replace(change, progress=(replaying(30),))
    parts.feed.publish(progressed(1))
    await expect(row.locator("progress")).to_have_js_property("value", 30)

    parts.record.stored["change-1"] = replace(change, state=State.SUCCEEDED)
    parts.feed.publish(progressed(2))
    await expect(row).to_have_count(0)


async def test_what_needs_somebody_comes_first(page: Page, server: TestServer, parts: FakeParts) -> None:
    """Each need is shown above everything else, with what to do, what to type, and the way to what it is about."""
    parts.overview.needs = (
        Need(
            slug="member_missing",
            urgency=Urgency.BROKEN,
            what="member missing: node member3 has no state",
            remedy="Remove the member and add it again.",
            since=NOW,
            change_id="change-1",
            privacy_group_id=GROUP,
            commands=("orchestrator retry change-1",),
        ),
        Need(slug="node_behind", urgency=Urgency.WAITING, what="node member2 is 30 blocks behind", node="member2"),
    )
    parts.record.stored["change-1"] = make_parked_change()
    await page.goto(str(server.make_url("/")))
    needs = page.locator(".need")
    await expect(needs).to_have_count(2)
    await expect(needs.first).to_contain_text("Remove the member and add it again.")
    await expect(needs.first.locator("code")).to_have_text("orchestrator retry change-1")
    await expect(page.locator("h2").first).to_have_text("Needs you (2)")
    await needs.first.locator("a").first.click()
    await expect(page.locator("h2").first).to_contain_text("parked")


async def test_a_change_tells_everything(page: Page, server: TestServer, parts: FakeParts) -> None:
    """The page of a change shows why it is parked, its transaction, its effect and each member's verdict."""
    parts.record.stored["change-1"] = make_parked_change()
    await page.goto(str(server.make_url("/#/changes/change-1")))
    main = page.locator("main")
    await expect(main).to_contain_text("member missing")
    await expect(main).to_contain_text("through block 9")
    await expect(page.get_by_role("table", name="Transactions")).to_contain_text("effective")


async def test_what_became_of_a_request_is_found(page: Page, server: TestServer, parts: FakeParts) -> None:
    """By the id that its sender gave it, among many, with why it is where it is; members are called by their names."""
    parts.nodes["member3"] = (KEYS[2],)
    for number in range(60):
        parts.record.stored[f"change-{number}"] = make_change(f"change-{number}", request_id=f"order/{number}")
    parts.record.stored["change-7"] = replace(make_parked_change("change-7"), request_id="order/7")
    await page.goto(str(server.make_url("/#/changes")))
    await page.get_by_label("Request").fill(" order/7 ")
    await page.keyboard.press("Enter")
    rows = page.locator("main tbody tr")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("member missing: member3")
    await rows.locator("a").first.click()
    await expect(page.locator("h2").first).to_contain_text("parked")
    folded = page.locator("details.commands")
    await expect(folded.locator("code").first).not_to_be_visible()
    await folded.locator("summary").click()
    await expect(folded.locator("code").first).to_be_visible()
    parts.record.stored["change-7"] = replace(parts.record.stored["change-7"], tries=9)
    parts.feed.publish(progressed(1))
    await expect(page.locator("main")).to_contain_text("queued again 9 times")
    await expect(folded.locator("code").first).to_be_visible()


async def test_what_is_typed_is_not_taken_away(page: Page, server: TestServer, parts: FakeParts) -> None:
    """A drawing that was under way already when somebody began to type leaves alone what they have in hand."""
    parts.record.stored |= {f"change-{number}": make_change(f"change-{number}") for number in (1, 2)}
    await page.goto(str(server.make_url("/#/changes")))
    await expect(page.locator("main tbody tr")).to_have_count(2)
    reading, typed = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        reading.set()
        await typed.wait()
        await route.continue_()

    await page.route("**/v1/changes?*", hold)
    parts.feed.publish(progressed(1))
    await asyncio.wait_for(reading.wait(), patient(10))
    box = page.get_by_label("Request")
    await box.fill("request of change-2")
    async with page.expect_event("requestfinished", lambda request: "/v1/changes?" in request.url):
        typed.set()
    await page.evaluate("new Promise((done) => setTimeout(done))")  # what was read would be drawn now
    await expect(box).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("main tbody tr")).to_have_count(1)


async def test_a_replay_shows_its_rate(page: Page, server: TestServer, parts: FakeParts) -> None:
    """The change's page draws how fast the node replays, as events told and as it is now, and has it as a table."""
    marks = (Mark(at=NOW - timedelta(seconds=10), blocks=10),)
    parts.record.stored["change-1"] = replace(
        make_change(), state=State.REPLAYING, progress=(replace(replaying(30), marks=marks),)
    )
    for number in (1, 2):
        event = json.loads(progressed(number).text)
        event["time"] = (NOW - timedelta(minutes=number)).isoformat()
        event["data"]["progress"] = [{"member": KEYS[2], "blocks_per_second": 4.0 + number}]
        parts.feed.publish(replace(progressed(number), text=json.dumps(event)))
    await page.goto(str(server.make_url("/#/changes/change-1")))
    figure = page.locator("figure")
    await expect(figure.locator("rect")).to_have_count(3)
    await expect(figure.locator("figcaption")).to_contain_text("blocks a second2")
    await expect(figure.locator("td:nth-child(2)")).to_have_text(["6", "5", "2"])
    await expect(figure.locator("rect title").first).to_contain_text(": 6")


async def test_a_parked_change_is_retried(page: Page, server: TestServer, parts: FakeParts) -> None:
    """The button asks the daemon, and the page shows what became of it."""
    parts.record.stored["change-1"] = make_parked_change()
    await page.goto(str(server.make_url("/#/changes/change-1")))
    await page.get_by_role("button", name="retry", exact=True).click()
    await expect(page.locator("h2").first).not_to_contain_text("parked")
    assert parts.record.stored["change-1"].state is not State.PARKED


async def test_what_is_refused_is_said(page: Page, server: TestServer, parts: FakeParts) -> None:
    """A retry that the daemon refuses is told in its words, and nothing else happens."""
    parts.record.stored["change-1"] = make_parked_change()

    async def refuse(route: Route) -> None:
        # As a refusal by role would be; a status of 400 and more is a complaint on the console.
        body = json.dumps({"detail": "The role viewer may not retry.", "status": 403})
        await route.fulfill(status=300, content_type="application/problem+json", body=body)

    await page.route("**/retry", refuse)
    await page.goto(str(server.make_url("/#/changes/change-1")))
    await page.get_by_role("button", name="retry", exact=True).click()
    await expect(page.locator("#notices")).to_contain_text("The role viewer may not retry.")
    assert parts.record.stored["change-1"].state is State.PARKED


async def test_cancelling_asks_for_a_reason(page: Page, server: TestServer, parts: FakeParts) -> None:
    """Without a reason nothing is sent; with one the change is cancelled, and the reason is kept."""
    parts.record.stored["change-1"] = make_change()
    await page.goto(str(server.make_url("/#/changes/change-1")))
    await page.get_by_text("cancel…").click()
    await page.get_by_role("button", name="cancel it").click()
    assert parts.record.stored["change-1"].state is State.QUEUED
    await page.get_by_label("Why").fill("asked by mistake")
    await page.get_by_role("button", name="cancel it").click()
    await expect(page.locator("h2").first).to_contain_text("cancelled")
    assert "asked by mistake" in str(parts.record.stored["change-1"].reason)


async def planned(page: Page, server: TestServer) -> Locator:
    """Ask the group's page what adding the third member would do; gives the button that asks."""
    await page.goto(str(server.make_url(f"/#/groups/{GROUP_IN_PATH}")))
    await page.get_by_label("Members").fill(KEYS[2])
    look = page.get_by_role("button", name="show what would happen")
    await look.click()
    return look


async def test_an_addition_shows_its_forecast_first(page: Page, server: TestServer, parts: FakeParts) -> None:
    """Nothing is asked for before the forecast was shown; then one button asks, and leads to the change."""
    parts.groups.known[GROUP] = standing(participants=KEYS[:2])
    parts.nodes = {"member3": (KEYS[2],)}
    parts.forecasts.found = an_unsafe_forecast()
    look = await planned(page, server)
    await expect(page.locator(".plan")).to_contain_text("forecast: unsafe")
    await expect(page.locator(".plan button")).to_have_text("ask all the same: it waits or is parked")
    assert parts.record.stored == {}
    parts.forecasts.found = a_safe_forecast()
    await look.click()
    await expect(page.locator(".plan")).to_contain_text("forecast: safe")
    await page.get_by_role("button", name="yes, add").click()
    await expect(page.locator("h2").first).to_contain_text("add members")
    (change,) = parts.record.stored.values()
    assert change.members == (KEYS[2],)


async def test_a_plan_tells_which_ways_back_are_closed(page: Page, server: TestServer, parts: FakeParts) -> None:
    """An addition that keeps its member from another group, and a removal that can't be undone, say so before."""
    parts.groups.known[GROUP] = standing(participants=KEYS[:2])
    parts.nodes = {"member3": (KEYS[2],)}
    parts.forecasts.found, parts.forecasts.returns = a_safe_forecast(), a_closed_way()
    look = await planned(page, server)
    await expect(page.locator(".plan .warn")).to_contain_text("can't return to group")
    await expect(page.locator(".plan button")).to_have_text("yes, add")
    parts.forecasts.leaving = a_removal(closed=True)
    await page.get_by_label("What").select_option("remove_members")
    await page.get_by_label("Members").fill(KEYS[1])
    await look.click()
    await expect(page.locator(".plan")).to_contain_text("To add them again later: yes")
    await expect(page.locator(".plan .warn")).to_contain_text("No node can replay block 8")
    await expect(page.locator(".plan button")).to_have_text("yes, remove")


async def test_a_group_shows_who_differs(page: Page, server: TestServer, parts: FakeParts) -> None:
    """A diverged group is not called open and well: the member that differs is named."""
    members = tuple(
        MemberStanding(enclave_key=key, node=f"member{place}", head=52, exists=True, state_root=root)
        for place, (key, root) in enumerate(zip(KEYS, ("0x1", "0x1", "0x2"), strict=True), 1)
    )
    parts.groups.known[GROUP] = standing(members=members, in_sync=False)
    await page.goto(str(server.make_url(f"/#/groups/{GROUP_IN_PATH}")))
    await expect(page.locator("dl")).to_contain_text("members differ")
    await expect(page.get_by_role("row", name="member3")).to_contain_text("differs")

    repeated = Need(slug="addition_repeated", urgency=Urgency.BROKEN, what="mined again", privacy_group_id=GROUP)
    parts.overview.needs = (repeated,)
    await page.get_by_role("button", name="compare now").click()
    # The two may be those that fell back: nobody is called right or wrong by their number.
    await expect(page.get_by_role("row", name="member1")).to_contain_text("state 1 of 2")
    await expect(page.get_by_role("row", name="member3")).to_contain_text("state 2 of 2")


async def test_nodes_that_are_away_are_not_none(page: Page, server: TestServer, parts: FakeParts) -> None:
    """With all nodes down the page says so; it does not look like a network without groups."""
    parts.overview.standings = (
        NodeStanding(name="member1", enclave_keys=KEYS[:1], answers=False, trouble="no answer in 3 s", head=12),
    )
    parts.overview.needs = (Need(slug="nodes_away", urgency=Urgency.BROKEN, what="nodes: 0 of 1 answer"),)
    parts.groups.known[GROUP] = GroupStanding(privacy_group_id=GROUP)
    await page.goto(str(server.make_url("/")))
    await expect(page.locator(".need")).to_contain_text("0 of 1 answer")
    await expect(page.locator(f'tr[data-group="{GROUP}"]')).to_contain_text("not seen now")
    await page.get_by_role("link", name="Nodes").click()
    await expect(page.locator('tr[data-node="member1"]')).to_contain_text("away: no answer in 3 s")


async def test_an_old_picture_is_called_old(page: Page, server: TestServer, parts: FakeParts) -> None:
    """When the daemon does not answer any more, a banner says for how long, and what was there stays readable."""
    parts.groups.known[GROUP] = standing()
    await page.clock.install()
    await page.goto(str(server.make_url("/")))
    await expect(page.locator(f'tr[data-group="{GROUP}"]')).to_be_visible()
    await page.context.set_offline(True)
    stale = page.locator("#stale")
    # What was on its way when the line was cut is an answer, too, and may come after a leap.
    for _ in within(10):
        await page.clock.fast_forward(40_000)
        if await stale.is_visible():
            break
    await expect(stale).to_contain_text("has not answered for")
    await expect(page.locator(f'tr[data-group="{GROUP}"]')).to_be_visible()


async def test_two_thousand_groups_stay_one_page(page: Page, server: TestServer, parts: FakeParts) -> None:
    """The overview of 2,000 groups shows a page of them and finds any other by the beginning of its id."""
    for number in range(2000):
        group = f"{number:06d}{GROUP[6:]}"
        parts.groups.known[group] = standing(privacy_group_id=group)
    await page.goto(str(server.make_url("/")))
    await expect(page.locator("#groups")).to_contain_text("showing 25 of 2000")
    assert await page.evaluate("document.documentElement.scrollHeight") < 4000
    await page.get_by_label("Name, or id begins with").fill("001999")
    await page.keyboard.press("Enter")
    await expect(page.locator("#groups tbody tr")).to_have_count(1)


async def test_which_member_is_behind_and_until_when(page: Page, server: TestServer, parts: FakeParts) -> None:
    """A member that replays is named with how far its node is behind and the time at which that will be over.

    On the overview's first screen, at 1280 pixels as at 390, and beside the node.
    """
    parts.groups.known[GROUP] = standing()
    left = TimeLeft(low_seconds=50.0, likely_seconds=55.0, high_seconds=60.0, work=40)
    done = MemberProgress(
        enclave_key=KEYS[0], verdict=Verdict.IN_SYNC, blocks_replayed=0, blocks_total=0, head=61, moved_at=NOW
    )
    behind = replace(replaying(10), head=20, left=left)
    parts.record.stored["change-1"] = replace(make_change(), state=State.REPLAYING, progress=(behind, done))
    parts.overview.standings = (
        NodeStanding(name="member3", enclave_keys=(behind.enclave_key,), answers=True, head=20, behind=41),
    )
    said = re.compile(r"40.*about 55 s left, until about \d\d:\d\d:\d\d")
    for width in (1280, 390):
        await page.set_viewport_size({"width": width, "height": 900})
        await page.goto(str(server.make_url("/")))
        row = page.locator('tr[data-change="change-1"]')
        await expect(row).to_contain_text("41 blocks behind")
        await expect(row).to_contain_text(said)
        await expect(row.get_by_text("left, until")).to_be_in_viewport()
    await page.goto(str(server.make_url("/#/nodes")))
    node = page.locator('tr[data-node="member3"]')
    await expect(node).to_contain_text("41 behind")
    await expect(node).to_contain_text(said)


async def test_a_phone_shows_cards(page: Page, server: TestServer, parts: FakeParts) -> None:
    """On a narrow screen nothing has to be scrolled sideways, and each value still names its column."""
    await page.set_viewport_size({"width": 390, "height": 844})
    parts.groups.known[GROUP] = standing()
    parts.record.stored["change-1"] = make_parked_change()
    parts.record.stored["change-2"] = replace(make_change("change-2"), state=State.REPLAYING, progress=(replaying(10),))
    headings = {
        "/": "Needs you",
        "/#/changes": "Changes",
        "/#/changes/change-1": "add members parked",
        f"/#/groups/{GROUP_IN_PATH}": "Group",
        "/#/nodes": "Nodes",
    }
    for path, heading in headings.items():
        await page.goto(str(server.make_url(path)))
        await expect(page.locator("h2").first).to_have_text(heading)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390, path


def test_every_type_of_event_is_listened_for() -> None:
    """The dashboard subscribes to each type of status event that there is."""
    script = files("orchestrator.api").joinpath("pages", "daemon.js").read_text("utf-8")
    for kind in EventType:
        assert f'"{kind.value.split(".")[2]}"' in script or f'"{kind.value}"' in script


async def test_what_others_wrote_stays_text(page: Page, server: TestServer, parts: FakeParts) -> None:
    """Markup in a reason is shown as text and does nothing."""
    parked = make_parked_change()
    assert parked.reason is not None
    detail = "<img src=x onerror=alert(1)>"
    parts.record.stored["change-1"] = replace(parked, reason=replace(parked.reason, detail=detail))
    for path, heading in (("/#/changes", "Changes"), ("/#/changes/change-1", "add members parked")):
        await page.goto(str(server.make_url(path)))
        await expect(page.locator("h2").first).to_have_text(heading)
        await expect(page.locator("main")).to_contain_text(detail)
        await expect(page.locator("img")).to_have_count(0)


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
    said = asyncio.Event()

    async def away_once(route: Route) -> None:
        if failed:
            await said.wait()
            await route.continue_()
        else:
            failed.append(route.request.url)
            # As final as a 502, of which the browser would complain on its console.
            await route.fulfill(status=204)

    await page.route("**/v1/events", away_once)
    await page.goto(str(server.make_url("/")))
    await expect(page.locator("#connection")).to_contain_text("trying again")
    said.set()
    await expect(page.locator("#connection")).to_have_text("live")


@pytest.mark.parametrize("path", ["/", "/#/changes/change-1", f"/#/groups/{GROUP_IN_PATH}", "/docs"])
async def test_axe_finds_nothing_serious(page: Page, server: TestServer, parts: FakeParts, path: str) -> None:
    """What axe-core knows to keep somebody out of a page, be it by sight, keyboard or reader, is not in ours."""
    parts.groups.known[GROUP] = standing(locked=True, in_sync=False)
    parts.record.stored["change-1"] = make_parked_change()
    parts.record.stored["change-2"] = replace(make_change("change-2"), state=State.REPLAYING, progress=(replaying(10),))
    parts.overview.needs = (
        Need(
            slug="member_missing", urgency=Urgency.BROKEN, what="no state", remedy="Add it.", since=NOW, commands=("x",)
        ),
        Need(slug="node_behind", urgency=Urgency.WAITING, what="node member2 is 30 blocks behind", node="member2"),
    )
    await page.goto(str(server.make_url(path)))
    await expect(page.locator("h2").first).to_be_visible()
    await page.evaluate((programs.interop() / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8"))
    colours: Literal["light", "dark"]
    for colours in ("light", "dark"):
        await page.emulate_media(color_scheme=colours)
        found = await page.evaluate("axe.run()")
        assert len(found["passes"]) > 10
        grave = [entry for entry in found["violations"] if entry["impact"] in ("serious", "critical")]
        assert [(entry["id"], entry["nodes"][0]["html"]) for entry in grave] == []
