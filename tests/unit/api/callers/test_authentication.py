"""Who may use which route: tried over HTTP, for each route, role and kind of limit."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from orchestrator.access.audit import Action, entry_by
from orchestrator.access.callers import EVERYTHING, Door, Role, Scope, anyone
from orchestrator.access.table import ROUTES, Reach
from orchestrator.access.tokens import TokenRecord
from orchestrator.api.callers import authentication
from orchestrator.api.callers.authentication import MOST_REFUSALS_A_MINUTE, AccessRules, LocalUser
from orchestrator.api.ports.changes import GroupStanding
from orchestrator.api.resources import stream
from orchestrator.api.web.connections import Connections
from orchestrator.engine.ports.store import StoreError
from orchestrator.membership.model import Kind
from tests.fakes.forecasts import an_unsafe_forecast
from tests.fakes.http_api import ACCOUNT, GROUP, GROUP_IN_PATH, KEYS, NOW, FakeEvent, FakeParts, Letter, make_change
from tests.unit.api.conftest import Server

Client = TestClient[web.Request, web.Application]
Open = Callable[[FakeParts], Awaitable[Client]]

OTHER = "DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w="
STRANGE_ACCOUNT = "0x627306090abab3a6e1400e9345bc60c78a8bef57"
LIMITS = {
    "whole": EVERYTHING,
    "this group": Scope(groups=frozenset({GROUP})),
    "other group": Scope(groups=frozenset({OTHER})),
    "other account": Scope(accounts=frozenset({STRANGE_ACCOUNT})),
    "other kind": Scope(kinds=frozenset({Kind.UNLOCK_GROUP})),
}
CHANGE = {"kind": "add_members", "privacy_group_id": GROUP, "members": [KEYS[2]]}
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/v1/changes"): CHANGE,
    ("PUT", "/v1/groups/{group_id}/members"): {"members": list(KEYS)},
    ("PUT", "/v1/names/{name}"): {"privacy_group_id": GROUP},
    ("POST", "/v1/webhooks/{name}/redrive"): {"after": 0},
    ("POST", "/v1/tokens"): {"name": "another", "role": "viewer"},
}
NAMED = {
    "change_id": "change-1",
    "group_id": GROUP_IN_PATH,
    "name": "trade",
    "letter_id": "7",
    "token_id": "00000000000000ff",
}
AN_ENTRY = entry_by(anyone(Door.LOCAL), Action.REVOKE_TOKEN, 0)
RANK = {Role.VIEWER: 1, Role.OPERATOR: 2, Role.ADMIN: 3}


@pytest.fixture
async def open_client() -> AsyncIterator[Open]:
    """Opens a client of an API whose callers have to prove who they are."""
    opened: list[Client] = []

    async def connect(parts: FakeParts) -> Client:
        client: Client = TestClient(Server(parts.application()))
        await client.start_server()
        opened.append(client)
        return client

    yield connect
    for client in opened:
        await client.close()


@pytest.fixture
def guarded() -> FakeParts:
    """Parts with something of everything, and access control."""
    parts = FakeParts(rules=AccessRules(required=True))
    parts.record.stored["change-1"] = make_change("change-1")
    parts.groups.known[GROUP] = GroupStanding(privacy_group_id=GROUP)
    parts.groups.known[OTHER] = GroupStanding(privacy_group_id=OTHER)
    parts.names.given["other"] = OTHER
    parts.forecasts.found = an_unsafe_forecast()
    parts.dead_letters.letters["7"] = Letter(letter_id="7", reason="why", body=b"{}")
    return parts


def filled(path: str) -> str:
    return "/static/style.css" if path.startswith("/static/") else path.format(**NAMED)


async def status_of(client: Client, route: tuple[str, str], token: str | None, **headers: str) -> int:
    method, path = route
    given = dict(headers) if token is None else {"Authorization": f"Bearer {token}", **headers}
    if method in ("POST", "PUT"):
        given["Idempotency-Key"] = "key"
    query = {"members": KEYS[2]} if path.endswith("/forecast") else {}
    async with client.request(
        method, filled(path), headers=given, json=BODIES.get(route), params=query, allow_redirects=False
    ) as answer:
        if answer.status >= 400:
            assert answer.content_type == "application/problem+json", (route, answer.status)
        return answer.status


def expected(route: tuple[str, str], role: Role, limit: str) -> set[int]:
    """The statuses that a caller may meet, from what the table means."""
    rule = ROUTES[route]
    fine = {200, 201, 202, 204, 404, 409, 422}
    if rule.least is None:
        return fine
    if RANK[role] < RANK[rule.least] or (rule.reach is Reach.WHOLE and limit != "whole"):
        return {403}
    if rule.reach is Reach.GROUP and limit == "other group":
        return {403} if "change_id" not in route[1] else {404}
    if rule.reach is Reach.ASKED and limit not in ("whole", "this group"):
        return {404} if "change_id" in route[1] and limit == "other group" else {403}
    return fine - ({404} if "token" not in route[1] and "webhook" not in route[1] else set())


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("role", Role)
async def test_each_route_asks_the_table(open_client: Open, guarded: FakeParts, role: Role, limit: str) -> None:
    """For each route, role and limit the answer is the one that the table means."""
    client = await open_client(guarded)
    token = guarded.tokens.make("somebody", role, LIMITS[limit])
    for route in sorted(ROUTES):
        if route not in {("GET", "/asyncapi.json"), ("POST", "/v1/session")}:
            status = await status_of(client, route, token)
            assert status in expected(route, role, limit), (route, status)


async def test_without_a_token_nothing_but_probes_is_answered(open_client: Open, guarded: FakeParts) -> None:
    """Every route but the two probes answers 401 with what to show, HEAD, unknown paths and methods included."""
    client = await open_client(guarded)
    for method, path in [
        *sorted(ROUTES),
        ("GET", "/nothing"),
        ("GET", "/livez/"),
        ("GET", "/v1/groups/"),
        ("GET", "/v1//groups"),
        ("TRACE", "/"),
    ]:
        for verb in {method, "HEAD", "OPTIONS"}:
            wanted = 401
            if path in ("/livez", "/readyz"):
                wanted = 401 if verb == "OPTIONS" else 200
            if (verb, path) == ("POST", "/v1/session"):
                wanted = 415
            async with client.request(verb, filled(path), allow_redirects=False) as answer:
                assert answer.status == wanted, (verb, path, answer.status)
                if wanted == 401:
                    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
                    assert "Allow" not in answer.headers


async def test_probes_tell_strangers_nothing_else(open_client: Open, guarded: FakeParts) -> None:
    """Readiness without a token says whether, and nothing of nodes, store and queue."""
    client = await open_client(guarded)
    token = guarded.tokens.make("somebody", Role.VIEWER)
    assert (await (await client.get("/readyz")).json()) == {"ready": True, "checks": []}
    told = await (await client.get("/readyz", headers={"Authorization": f"Bearer {token}"})).json()
    assert [check["name"] for check in told["checks"]] == ["store"]


@pytest.mark.parametrize(
    "shown",
    [
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "Bearer orct_0000000000000001_" + 43 * "A",
        "Bearer orct_00000000000000aa_" + 43 * "A",
        "Bearer ../../etc/passwd",
        "Bearer eyJhbGciOiJub25lIn0.e30.",
        "Bearer " + 8000 * "a",
    ],
)
async def test_what_proves_nothing_is_refused(open_client: Open, guarded: FakeParts, shown: str) -> None:
    """Made-up tokens get 401 with why, and nothing of what was sent comes back."""
    client = await open_client(guarded)
    guarded.tokens.make("somebody", Role.VIEWER)
    async with client.get("/v1/groups", headers={"Authorization": shown}) as answer:
        assert answer.status == 401
        text = await answer.text()
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert len(shown) < 12 or shown.rsplit(maxsplit=1)[-1] not in text


async def test_two_tokens_are_none(open_client: Open, guarded: FakeParts) -> None:
    """A second Authorization header is refused: a proxy and the daemon could each take another one."""
    client = await open_client(guarded)
    token = guarded.tokens.make("somebody", Role.ADMIN)
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    lines = ["GET /v1/groups HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    lines += [f"Authorization: Bearer {token}", "authorization: Bearer other", "", ""]
    writer.write("\r\n".join(lines).encode())
    answer = await reader.read()
    writer.close()
    assert b"400" in answer.splitlines()[0]
    assert b"which one is meant" in answer


async def test_an_expired_and_a_revoked_token_count_no_more(
    open_client: Open, guarded: FakeParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both answer 401 as an unknown one does; one that is revoked here does so at once."""
    client = await open_client(guarded)
    admin = {"Authorization": f"Bearer {guarded.tokens.make('admin', Role.ADMIN)}"}
    short = guarded.tokens.make("short", Role.VIEWER, expires_at=NOW + timedelta(minutes=1))
    assert await status_of(client, ("GET", "/v1/groups"), short) == 200
    guarded.now = NOW + timedelta(minutes=1)
    assert await status_of(client, ("GET", "/v1/groups"), short) == 401
    revoked = guarded.tokens.make("revoked", Role.VIEWER)
    assert await status_of(client, ("GET", "/v1/groups"), revoked) == 200
    async with client.post(f"/v1/tokens/{revoked.split('_')[1]}/revoke", headers=admin) as answer:
        assert (await answer.json())["revoked_at"] is not None
    assert await status_of(client, ("GET", "/v1/groups"), revoked) == 401
    elsewhere = guarded.tokens.make("elsewhere", Role.VIEWER)
    monkeypatch.setattr(authentication, "KNOWN_SECONDS", 0.0)
    await guarded.tokens.revoke(elsewhere.split("_")[1], NOW, AN_ENTRY)
    assert await status_of(client, ("GET", "/v1/groups"), elsewhere) == 401


async def test_a_store_that_does_not_answer_lets_nobody_in(open_client: Open, guarded: FakeParts) -> None:
    """Not knowing a token is neither a yes nor a no: 503, to be asked again."""
    client = await open_client(guarded)
    token = guarded.tokens.make("somebody", Role.VIEWER)

    async def away(token_id: str) -> TokenRecord | None:
        raise StoreError("away")

    guarded.tokens.find = away  # type: ignore[method-assign] # a part that fails now
    assert await status_of(client, ("GET", "/v1/groups"), token) == 503


async def test_lists_show_what_lies_in_the_scope(open_client: Open, guarded: FakeParts) -> None:
    """Groups, names, changes and their count are those of the caller's groups; another's cursor is none."""
    guarded.record.stored["change-2"] = make_change("change-2", privacy_group_id=OTHER)
    client = await open_client(guarded)
    token = guarded.tokens.make("somebody", Role.VIEWER, LIMITS["this group"])
    headers = {"Authorization": f"Bearer {token}"}

    async def shown(path: str) -> Any:
        async with client.get(path, headers=headers) as answer:
            return await answer.json()

    changes = await shown("/v1/changes?count=true")
    assert ([change["change_id"] for change in changes["changes"]], changes["total"]) == (["change-1"], 1)
    assert [group["privacy_group_id"] for group in (await shown("/v1/groups"))["groups"]] == [GROUP]
    assert (await shown("/v1/names"))["groups"] == []
    path = OTHER.replace("+", "-").replace("/", "_").rstrip("=")
    assert (await shown(f"/v1/groups?after={path}"))["status"] == 422
    assert (await shown(f"/v1/changes?group={path}"))["changes"] == []
    assert (await shown("/v1/changes/change-2"))["detail"] == "There is no change change-2."
    assert (await shown("/v1/changes?id=change-2"))["changes"] == []
    assert "another group" in (await put_name(client, headers, "other"))["detail"]


async def put_name(client: Client, headers: dict[str, str], name: str) -> Any:
    async with client.put(f"/v1/names/{name}", json={"privacy_group_id": GROUP}, headers=headers) as answer:
        assert answer.status in (403, 409)
        return {"detail": "another group"} if answer.status == 403 else await answer.json()


@pytest.mark.parametrize("spelt", [GROUP_IN_PATH, GROUP_IN_PATH + "=", GROUP.replace("/", "%2F").replace("+", "%2B")])
async def test_a_group_is_the_same_in_every_spelling(open_client: Open, guarded: FakeParts, spelt: str) -> None:
    """Base64, base64url, with or without padding: what lies outside does so however it is written."""
    client = await open_client(guarded)
    inside = guarded.tokens.make("inside", Role.VIEWER, LIMITS["this group"])
    outside = guarded.tokens.make("outside", Role.VIEWER, LIMITS["other group"])
    for token, wanted in ((inside, 200), (outside, 403)):
        headers = {"Authorization": f"Bearer {token}"}
        async with client.get(f"/v1/groups/{spelt}", headers=headers) as answer:
            assert answer.status == wanted


async def test_one_callers_refusals_do_not_hide_anothers(open_client: Open, guarded: FakeParts) -> None:
    """Sixty of each caller a minute are in the audit log: who tries for ever keeps nobody else's out, nor fills it."""
    client = await open_client(guarded)
    loud, quiet = (guarded.tokens.make(name, Role.VIEWER, LIMITS["this group"]) for name in ("loud", "quiet"))
    for token, times in ((loud, MOST_REFUSALS_A_MINUTE + 5), (quiet, 2)):
        for _ in range(times):
            assert await status_of(client, ("GET", "/v1/tokens"), token) == 403

    def entered() -> Counter[str]:
        return Counter(entry.caller for entry in guarded.audit.entries)

    assert entered() == {"token:loud": MOST_REFUSALS_A_MINUTE, "token:quiet": 2}
    guarded.now += timedelta(minutes=1)
    assert await status_of(client, ("GET", "/v1/tokens"), loud) == 403
    assert entered()["token:loud"] == MOST_REFUSALS_A_MINUTE + 1


async def test_a_batch_is_refused_as_a_whole(open_client: Open, guarded: FakeParts) -> None:
    """Where one of several requests may not be made, none of them is."""
    client = await open_client(guarded)
    token = guarded.tokens.make("somebody", Role.OPERATOR, LIMITS["this group"])
    batch = [
        {
            "specversion": "1.0",
            "id": str(number),
            "source": "/somebody",
            "type": "membership.change.requested.v1",
            "data": {**CHANGE, "privacy_group_id": group},
        }
        for number, group in enumerate((GROUP, OTHER))
    ]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/cloudevents-batch+json"}
    async with client.post("/v1/changes", data=json.dumps(batch), headers=headers) as answer:
        assert answer.status == 403
    assert list(guarded.record.stored) == ["change-1"]


async def test_a_limit_of_the_configuration_takes_from_a_token(open_client: Open, guarded: FakeParts) -> None:
    """What the configuration says of a caller narrows what its token says, and adds nothing."""
    guarded.rules = AccessRules(required=True, limits={"token:somebody": LIMITS["other group"]})
    client = await open_client(guarded)
    token = guarded.tokens.make("somebody", Role.OPERATOR, LIMITS["this group"])
    assert await status_of(client, ("POST", "/v1/changes"), token) == 403
    assert await status_of(client, ("GET", "/v1/groups/{group_id}"), token) == 403


async def test_a_stream_ends_when_its_token_does(
    open_client: Open, guarded: FakeParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that is revoked while it reads status events is told so, and the stream ends, within a bounded time."""
    monkeypatch.setattr(stream, "LOOK_AGAIN_SECONDS", 0.05)
    client = await open_client(guarded)
    token = guarded.tokens.make("somebody", Role.VIEWER, LIMITS["this group"])
    async with client.get("/v1/events", headers={"Authorization": f"Bearer {token}"}) as answer:
        guarded.feed.publish(FakeEvent(resume_id="1", event_type="membership.change.started.v1", text="{}"))
        assert await answer.content.readuntil(b"data: {}")
        guarded.now = NOW + timedelta(days=100_000 // 2)
        async with asyncio.timeout(60):
            rest = await answer.content.read()
    assert b"event: closed" in rest
    assert b"expired, or revoked" in rest
    assert guarded.feed.asked[0]["within"] == frozenset({GROUP})


async def test_a_user_of_this_machine_is_known_by_its_number(guarded: FakeParts, tmp_path: Path) -> None:
    """At the Unix socket the kernel says who asks; a token goes before, and a user who is not named is nobody."""
    import os  # noqa: PLC0415 - the number of this very process

    for users, wanted in (({os.getuid(): LocalUser(name="operations", role=Role.OPERATOR)}, 200), ({}, 401)):
        guarded.rules = AccessRules(required=True, users=users)
        runner = web.AppRunner(guarded.application(), access_log=None)
        await runner.setup()
        assert runner.server is not None
        path = tmp_path / f"{wanted}.sock"
        loop = asyncio.get_running_loop()
        listening = await loop.create_unix_server(Connections(runner.server), str(path))
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
            async with session.get("http://localhost/v1/session") as answer:
                assert answer.status == wanted
                if wanted == 200:
                    said = await answer.json()
                    assert (said["name"], said["role"]) == ("user:operations", "operator")
            token = guarded.tokens.make("somebody", Role.VIEWER)
            async with session.get(
                "http://localhost/v1/session", headers={"Authorization": f"Bearer {token}"}
            ) as answer:
                assert (await answer.json())["name"] == "token:somebody"
        listening.close()
        await runner.cleanup()


async def test_a_browser_signs_in_and_out(open_client: Open, guarded: FakeParts) -> None:
    """The token is kept in a cookie that no script reads and no other site sends, and goes again."""
    client = await open_client(guarded)
    token = guarded.tokens.make("somebody", Role.OPERATOR)
    origin = {"Origin": str(client.make_url("/")).rstrip("/")}
    async with client.get("/", headers={"Accept": "text/html"}) as answer:
        assert (answer.status, answer.content_type) == (401, "text/html")
        assert 'action="/v1/session"' in await answer.text()
    async with client.post("/v1/session", data={"token": "wrong"}, headers=origin) as answer:
        assert (answer.status, answer.content_type) == (401, "text/html")
        assert "wrong" not in (await answer.text()).split("<form")[1]
    async with client.post("/v1/session", data={"token": token}, headers=origin, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    name = cookie.split(";")[0]
    async with client.get("/v1/session", headers={"Cookie": name}) as answer:
        assert (await answer.json())["name"] == "token:somebody"
    async with client.delete("/v1/session", headers={"Cookie": name, **origin}) as answer:
        assert answer.status == 204
        assert "Max-Age=0" in answer.headers["Set-Cookie"]


async def test_a_cookie_changes_nothing_without_an_origin(open_client: Open, guarded: FakeParts) -> None:
    """What a page elsewhere makes a browser send brings the cookie at most, and no origin of ours."""
    client = await open_client(guarded)
    cookie = {"Cookie": f"orchestrator_token={guarded.tokens.make('somebody', Role.ADMIN)}"}
    for origin in ({}, {"Origin": "null"}, {"Origin": "http://evil.example.org"}):
        async with client.post(
            "/v1/changes", json=CHANGE, headers={"Idempotency-Key": "k", **cookie, **origin}
        ) as answer:
            assert answer.status == 403
    assert list(guarded.record.stored) == ["change-1"]


async def test_whoever_is_there_without_access_control_makes_no_tokens(open_client: Open) -> None:
    """A token outlives the time in which everybody on loopback was an operator: it is not made then."""
    parts = FakeParts()
    client = await open_client(parts)
    for method, path in (("POST", "/v1/tokens"), ("POST", "/v1/tokens/{token_id}/revoke")):
        assert await status_of(client, (method, path), None) == 409
    assert not parts.tokens.kept
    async with client.get("/v1/session") as answer:
        assert (await answer.json())["name"] == ""


async def test_a_token_is_shown_once(open_client: Open, guarded: FakeParts) -> None:
    """The answer that makes it holds it; what is kept and listed holds its hash, or nothing of it."""
    client = await open_client(guarded)
    headers = {"Authorization": f"Bearer {guarded.tokens.make('admin', Role.ADMIN)}"}
    wanted = {"name": "org1", "role": "operator", "groups": [GROUP], "accounts": [ACCOUNT], "kinds": ["add_members"]}
    async with client.post("/v1/tokens", json=wanted, headers=headers) as answer:
        assert answer.status == 201
        made = await answer.json()
    secret = made["token"].split("_", 2)[2]
    async with client.get("/v1/tokens", headers=headers) as answer:
        listed = await answer.text()
    assert made["token_id"] in listed
    assert secret not in listed + repr(guarded.tokens.kept)
    assert await status_of(client, ("POST", "/v1/changes"), made["token"]) == 202
    for wrong in ({"name": "a b"}, {"groups": ["*"]}, {"groups": [GROUP.lower()]}, {"role": "root"}, {"days": 0}):
        async with client.post("/v1/tokens", json={**wanted, **wrong}, headers=headers) as answer:
            assert answer.status == 422


async def test_failures_are_counted_and_told_now_and_then(
    open_client: Open, guarded: FakeParts, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any number of made-up tokens is counted, one line a second tells of them, and none of them is in it."""
    guarded.seconds = lambda: float(guarded.authentication.failures > 20)
    client = await open_client(guarded)
    made_up = "orct_00000000000000aa_" + 43 * "B"
    for _ in range(40):
        assert await status_of(client, ("GET", "/v1/groups"), made_up) == 401
    assert guarded.authentication.failures == 40
    said = capsys.readouterr()
    told = (said.out + said.err).splitlines()
    assert len([line for line in told if "not accepted" in line]) == 2
    assert made_up not in said.out + said.err
