"""The HTTP interface over TLS, and an issuer's keys that come over TLS and change."""

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator.api.callers import key_sets
from orchestrator.api.callers.key_sets import KeySetError, fetching
from orchestrator.config import load_config
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.membership.news.status import EventType
from orchestrator.store import Database, SqlChangeStore, migrate
from tests.integration.servers.running import configured, daemon_on, status
from tests.patience import patient
from tests.servers.local_application import served
from tests.servers.tls_front import Certificates


class Issuer:
    """An issuer of JSON Web Tokens, whose keys are at an address over TLS."""

    def __init__(self) -> None:
        self.url = ""
        self.reads = 0
        self.answer: Any = None
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._key_id = "1"

    def rotate(self, key_id: str) -> None:
        """Sign by a new key from now on; the document has it alone."""
        self._key, self._key_id = ec.generate_private_key(ec.SECP256R1()), key_id

    def token(self, role: str = "viewer") -> str:
        """Return a token by the present key."""
        ends = datetime.now(UTC) + timedelta(hours=1)
        claims = {"iss": "issuer", "aud": "membership", "sub": "alice", "role": role, "exp": ends}
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id})

    async def handle(self, _: web.Request) -> web.Response:
        """Answer with the keys, or with what a test says."""
        self.reads += 1
        if self.answer is not None:
            return web.Response(**self.answer)
        key = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return web.json_response({"keys": [{**key, "kid": self._key_id, "use": "sig"}]})


@asynccontextmanager
async def issuing(certificates: Certificates) -> AsyncIterator[Issuer]:
    issuer = Issuer()
    app = web.Application()
    app.router.add_get("/keys", issuer.handle)
    async with served(app, ssl_context=certificates.server_context(asks=False)) as url:
        issuer.url = f"{url}/keys"
        yield issuer


async def test_the_interface_over_tls_and_keys_that_rotate(
    tmp_path: Path, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages, answers, streams and cookies go over TLS; a new key of the issuer is taken, and the old one no more."""
    monkeypatch.setattr(key_sets, "AGAIN_SECONDS", 0.0)
    certificates = Certificates(tmp_path / "tls")
    folder = certificates.folder
    trust = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    store = f"sqlite:///{tmp_path}/store.db"
    await asyncio.to_thread(migrate, store)
    configured(tmp_path, store, nats_url)
    async with issuing(certificates) as issuer:
        lines = f'certificate_file = "{folder}/server.pem"\nkey_file = "{folder}/server.key"\n[access.jwt]\n'
        lines += f'issuer = "issuer"\naudience = "membership"\njwks_url = "{issuer.url}"\nca_file = "{folder}/ca.pem"\n'
        text = (tmp_path / "orchestrator.toml").read_text()
        (tmp_path / "orchestrator.toml").write_text(text.replace("[[nodes]]", lines + "[[nodes]]", 1))
        config = load_config(tmp_path / "orchestrator.toml", {})
        async with daemon_on(config) as daemon, Database(store) as database:
            assert daemon.url.startswith("https://127.0.0.1:")

            async def status_of(token: str, path: str = "/v1/changes") -> int:
                headers = {"Authorization": f"Bearer {token}"}
                async with daemon.session.get(daemon.url + path, ssl=trust, headers=headers) as answer:
                    return answer.status

            first = issuer.token()
            assert [await status_of(first), await status_of(first), issuer.reads] == [HTTPStatus.OK, HTTPStatus.OK, 1]
            issuer.rotate("2")
            second = issuer.token()
            assert await status_of(second) == HTTPStatus.OK
            assert await status_of(first) == HTTPStatus.UNAUTHORIZED
            # What nobody signed makes nobody known, however often the document is read for it.
            assert await status_of(second[:-4] + "AAAA") == HTTPStatus.UNAUTHORIZED

            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await daemon.session.get(f"{daemon.url}/livez")
            with pytest.raises(aiohttp.ClientError):
                await daemon.session.get(f"{daemon.url.replace('https', 'http')}/livez")
            shown, origin = json.dumps({"token": second}), {"Origin": daemon.url, "Content-Type": "application/json"}
            async with daemon.session.post(f"{daemon.url}/v1/session", data=shown, headers=origin, ssl=trust) as answer:
                assert answer.status < HTTPStatus.BAD_REQUEST
                cookie = answer.headers["Set-Cookie"].lower()
                assert all(word in cookie for word in ("secure", "httponly", "samesite=strict"))
            headers = {"Authorization": f"Bearer {second}"}
            async with daemon.session.get(f"{daemon.url}/v1/events", ssl=trust, headers=headers) as stream:
                assert stream.status == HTTPStatus.OK
                await SqlChangeStore(database, SystemClock()).announce([status("g", EventType.GROUP_LOCKED)])
                async with asyncio.timeout(patient(30)):
                    while b"membership.group.locked.v1" not in await stream.content.readline():
                        pass
            assert json.loads(await changes_by_command_line(daemon.url, second, folder / "ca.pem"))["changes"] == []


async def changes_by_command_line(url: str, token: str, authority: Path) -> str:
    """What `orchestrator changes` prints, that trusts the authority as programs do that use OpenSSL."""
    environment = {"ORCHESTRATOR_URL": url, "ORCHESTRATOR_TOKEN": token, "SSL_CERT_FILE": str(authority)}
    ran = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "orchestrator", "changes", "--json"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, said = await asyncio.wait_for(ran.communicate(), patient(60))
    assert ran.returncode == 0, said
    return printed.decode()


async def test_keys_come_from_who_was_configured_alone(tmp_path: Path) -> None:
    """An issuer with another authority's certificate, one that sends on, and one that sends without end give none."""
    certificates = Certificates(tmp_path / "tls")
    async with issuing(certificates) as issuer:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(KeySetError, match="Certificate"):
                await fetching(session, issuer.url)()
        trust = ssl.create_default_context(cafile=str(certificates.folder / "ca.pem"))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
            read = fetching(session, issuer.url)
            assert json.loads(await read())["keys"][0]["kid"] == "1"
            for answer, words in (
                ({"status": 302, "headers": {"Location": issuer.url}}, "answers 302"),
                ({"status": 500}, "answers 500"),
                ({"body": b"x" * (key_sets.MOST_BYTES + 1)}, "has more than"),
            ):
                issuer.answer = answer
                with pytest.raises(KeySetError, match=words):
                    await read()
