"""Forms that browsers sign in by, as strangers may send them."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from orchestrator.access.callers import Role
from orchestrator.api.callers.authentication import AccessRules
from tests.fakes.http_api import FakeParts
from tests.hostile.loop_time import MOST_SECONDS_ON_THE_LOOP, measured

Client = TestClient[Any, Any]


@pytest.fixture
def parts() -> FakeParts:
    """Who asks has to prove who it is."""
    return FakeParts(rules=AccessRules(required=True))


async def sign_in(client: Client, body: bytes, parameters: str = "") -> int:
    headers = {"Content-Type": f"application/x-www-form-urlencoded{parameters}"}
    async with client.post("/v1/session", data=body, headers=headers, allow_redirects=False) as answer:
        await answer.read()
        return answer.status


@pytest.mark.parametrize("body", [b"token=\xff", b"token=" + b"x" * 4000, b"a=b&" * 60_000, b"", b"user=x"])
async def test_a_form_that_can_not_be_read_is_a_mistake(client: Client, body: bytes) -> None:
    """What is no UTF-8, has too many fields, or no token, is refused, and is no defect."""
    assert await sign_in(client, body) == 422


@pytest.mark.parametrize("name", ["utf-16", "hex", "utf-99", "idna", "punycode"])
async def test_a_form_is_utf_8_whatever_it_says(client: Client, parts: FakeParts, name: str) -> None:
    """The character set that a form names changes nothing."""
    token = parts.tokens.make("alice", Role.VIEWER)
    assert await sign_in(client, f"token={token}".encode(), f"; charset={name}") == 303


@pytest.mark.parametrize("name", ["idna", "punycode"])
async def test_no_form_holds_the_event_loop(client: Client, name: str) -> None:
    """A stranger's form in a character set that takes long to decode is refused in little time."""
    body = b"xn--" + b"a9b8" * 40_000
    with measured() as longest:
        assert await sign_in(client, body, f"; charset={name}") == 422
    assert longest.seconds < MOST_SECONDS_ON_THE_LOOP, longest
