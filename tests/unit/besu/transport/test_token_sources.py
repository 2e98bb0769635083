import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web

from orchestrator.besu.credential_errors import CredentialError
from orchestrator.besu.transport.token_sources import TokenAddress, TokenCommand, left_of
from tests.patience import patient, within
from tests.servers.local_application import served

NOW = 1_700_000_000.0
SECRET = "hush: &é"


def a_jwt(**claims: Any) -> str:
    return jwt.encode(claims, "k" * 32, algorithm="HS256")


def command(code: str, *arguments: str, seconds: float = 20.0) -> TokenCommand:
    return TokenCommand(
        arguments=(sys.executable, "-S", "-c", code, *arguments), timeout_seconds=seconds, now=lambda: NOW
    )


async def test_a_program_prints_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its arguments reach it as they are, no shell reads them, and it gets next to nothing of our environment."""
    monkeypatch.setenv("ORCHESTRATOR_SECRET", "hush")
    code = "import os, sys; print('.'.join([sys.argv[1].replace(' ', '_'), *sorted(os.environ)]))"
    issued = await command(code, "$(id) ; *").issue()
    said = issued.text.split(".")
    assert said[0] == "$(id)_;_*"
    assert set(said[1:]) <= {"PATH", "HOME", "LANG", "TZ", "CREDENTIALS_DIRECTORY", "LC_CTYPE"}
    assert issued.seconds is None
    assert issued.text not in repr(issued)


async def test_a_json_web_token_says_itself_when_it_ends() -> None:
    """What is left of its life is counted from when it came."""
    token = a_jwt(exp=int(NOW) + 300)
    assert await command(f"print({token!r})").issue() == type(await command(f"print({token!r})").issue())(token, 300.0)


@pytest.mark.parametrize(
    ("code", "match"),
    [
        ("import sys; print('t'); sys.exit(3)", "code 3"),
        ("pass", "one token and nothing else"),
        ("print('a b')", "one token and nothing else"),
        ("import sys; sys.stdout.write('x' * 9_000_000)", "prints more than"),
    ],
)
async def test_a_program_that_prints_no_token_is_refused(code: str, match: str) -> None:
    """Whatever else it does is told, and nothing that it printed is."""
    with pytest.raises(CredentialError, match=match) as failure:
        await command(code).issue()
    assert len(str(failure.value)) < 300


async def test_a_program_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    """The child that it started, and that holds its output open, ends as well."""
    note = tmp_path / "pid"
    program = ("/bin/sh", "-c", 'sleep 600 & echo $! >"$0"; sleep 600', str(note))  # it starts in no time
    with pytest.raises(CredentialError, match=r"more than \d+(\.\d+)? s"):
        await TokenCommand(arguments=program, timeout_seconds=patient(1.0), now=lambda: NOW).issue()
    child = int(note.read_text())
    for _ in within(10):
        if not is_alive(child):  # it dies a moment after it was told to
            break
        await asyncio.sleep(0.01)
    assert not is_alive(child)


def is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "zombie" not in status.read_text()


async def test_a_program_that_is_not_there_is_named() -> None:
    """A path that leads nowhere is told with the reason."""
    with pytest.raises(CredentialError, match="/nowhere/to-be-seen can't be run: No such file"):
        await TokenCommand(arguments=("/nowhere/to-be-seen",), timeout_seconds=5, now=lambda: NOW).issue()


class Endpoint:
    """A token endpoint that answers what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.answer: Any = {"access_token": "t", "token_type": "Bearer", "expires_in": 60}
        self.status = 200
        self.asked: list[tuple[dict[str, str], str]] = []

    async def handle(self, request: web.Request) -> web.Response:
        fields = {name: str(value) for name, value in (await request.post()).items()}
        self.asked.append((fields, request.headers.get("Authorization", "")))
        body = self.answer if isinstance(self.answer, str) else json.dumps(self.answer)
        return web.Response(status=self.status, text=body, headers={"Location": self.url, "Set-Cookie": "a=b"})


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    """A token endpoint on a free port."""
    found = Endpoint()
    app = web.Application()
    app.router.add_post("/token", found.handle)
    async with served(app) as url:
        found.url = f"{url}/token"
        yield found


def address(endpoint: Endpoint, folder: Path, **more: Any) -> TokenAddress:
    secret = folder / "secret"
    secret.write_text(SECRET + "\n")
    return TokenAddress(url=endpoint.url, client_id="a client", secret_file=secret, now=lambda: NOW, **more)


async def test_an_address_issues_a_token_for_client_credentials(endpoint: Endpoint, tmp_path: Path) -> None:
    """Id and secret go as the header that RFC 6749 2.3.1 describes, form-encoded before they are joined."""
    issued = await address(endpoint, tmp_path, scope="besu", audience="nodes").issue()
    assert (issued.text, issued.seconds) == ("t", 60.0)
    (fields, header), *_ = endpoint.asked
    assert fields == {"grant_type": "client_credentials", "scope": "besu", "audience": "nodes"}
    assert base64.b64decode(header.removeprefix("Basic ")) == b"a+client:hush%3A+%26%C3%A9"


async def test_id_and_secret_may_go_among_the_fields(endpoint: Endpoint, tmp_path: Path) -> None:
    """Some issuers want them there; then there is no header."""
    endpoint.answer = {"access_token": a_jwt(exp=NOW + 30)}
    assert (await address(endpoint, tmp_path, shown="post").issue()).seconds == 30.0
    fields, header = endpoint.asked[0]
    assert (fields["client_id"], fields["client_secret"], header) == ("a client", SECRET, "")


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (401, {"error": "invalid_client", "error_description": SECRET}),
        (302, ""),
        (200, "<html>"),
        (200, []),
        (200, {"token": "t"}),
        (200, {"access_token": 7}),
        (200, {"access_token": "a\nb"}),
        (200, {"access_token": "t", "token_type": "mac"}),
        (200, "[" * 50_000),
        (200, json.dumps({"access_token": "t", "more": "x" * 100_000})),
    ],
)
async def test_what_is_no_token_is_told_without_what_was_said(
    endpoint: Endpoint, tmp_path: Path, status: int, answer: Any
) -> None:
    """An issuer's refusals, redirects and broken answers are errors that show nothing of them; it is asked once."""
    endpoint.status, endpoint.answer = status, answer
    with pytest.raises(CredentialError) as failure:
        await address(endpoint, tmp_path).issue()
    assert SECRET not in str(failure.value)
    assert len(endpoint.asked) == 1


async def test_an_issuer_that_is_away_is_told(endpoint: Endpoint, tmp_path: Path) -> None:
    """Nobody there, and a secret that is not there, are reasons to try later."""
    await_nobody = address(endpoint, tmp_path)
    os.unlink(tmp_path / "secret")
    with pytest.raises(CredentialError, match="client secret file"):
        await await_nobody.issue()
    endpoint.url = "http://127.0.0.1:1/token"
    with pytest.raises(CredentialError, match="issues no token now"):
        await address(endpoint, tmp_path).issue()


@pytest.mark.parametrize(
    ("token", "left"),
    [
        ("opaque", None),
        (a_jwt(sub="a"), None),
        (a_jwt(exp=NOW - 5), 0.0),
        (a_jwt(exp="x"), None),
        (a_jwt(exp=True), None),
    ],
)
def test_what_is_left_of_a_token(token: str, left: float | None) -> None:
    """One that is no JSON Web Token, or does not say when it ends, has no end that is known."""
    assert left_of(token, NOW) == left


@pytest.mark.parametrize(("said", "seconds"), [("60", 60.0), (-1, 0.0), (1e300, 366 * 24 * 3600.0), ("soon", None)])
async def test_how_long_a_token_is_good_for_is_bounded(
    endpoint: Endpoint, tmp_path: Path, said: Any, seconds: float | None
) -> None:
    """Numbers as text are numbers; what is none is as if nothing were said."""
    endpoint.answer = {"access_token": "t", "expires_in": said}
    assert (await address(endpoint, tmp_path).issue()).seconds == seconds
