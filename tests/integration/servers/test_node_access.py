"""Nodes, and the database, that ask who we are: by certificate, by token, several tenants at one address."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from orchestrator.app import store_url
from orchestrator.app.configured.node_access import NodeLines, connect_nodes
from orchestrator.cli.verbs.doctor import examine
from orchestrator.config import NodeConfig, load_config
from orchestrator.devnet import Devnet, DevnetConfig, running_devnet
from orchestrator.doctor.findings import Finding, Level
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError, NodePort, Said
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.store import Database, SqlChangeStore, migrate
from tests.patience import patient
from tests.servers.postgresql_server import PostgreSQLServer
from tests.servers.tls_front import Certificates, tls_front

KEY = "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="


@asynccontextmanager
async def devnet_behind_tls(certificates: Certificates) -> AsyncIterator[tuple[Devnet, str, str]]:
    """A devnet of one node whose both ports want a certificate."""
    async with AsyncExitStack() as stack:
        devnet = await stack.enter_async_context(
            running_devnet(DevnetConfig(base_port=0, block_period_seconds=0.1, validators=1, nodes=1))
        )
        node = devnet.nodes[0]
        http, ws = [
            await stack.enter_async_context(tls_front(certificates, urlsplit(url).port or 0))
            for url in (node.http_url, node.ws_url)
        ]
        yield devnet, f"https://127.0.0.1:{http}", f"wss://127.0.0.1:{ws}"


async def is_subscribed(port: NodePort) -> None:
    """Come back once a watcher of the node has subscribed."""
    watcher = ChainWatcher(port, SystemClock())
    watching = asyncio.create_task(watcher.run())
    async with asyncio.timeout(patient(30)):
        while not watcher.subscribed:  # noqa: ASYNC110 - a state of the watcher, that tells nobody of it
            await asyncio.sleep(0.02)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_node_that_asks_for_a_certificate_is_watched_over_http_and_websocket(tmp_path: Path) -> None:
    """With our certificate both ports answer and the doctor finds them well; without it the node is an error."""
    certificates = Certificates(tmp_path / "tls", "orchestrator")
    folder = certificates.folder
    async with devnet_behind_tls(certificates) as (devnet, http, ws), AsyncExitStack() as stack:
        key = devnet.nodes[0].enclave_key
        node = NodeConfig(
            name="m",
            http=http,
            ws=ws,
            enclave_keys=(key,),
            ca_file=folder / "ca.pem",
            certificate_file=folder / "orchestrator.pem",
            key_file=folder / "orchestrator.key",
        )
        (port,) = await connect_nodes(stack, (node,))
        await is_subscribed(port)
        lines = f'[[nodes]]\nname = "m"\nhttp = "{http}"\nws = "{ws}"\nenclave_keys = ["{key}"]\n'
        lines += f'ca_file = "{folder}/ca.pem"\n'
        shown = f'certificate_file = "{folder}/orchestrator.pem"\nkey_file = "{folder}/orchestrator.key"\n'
        found = await examined(tmp_path, lines + shown)
        assert {level_of(found, check) for check in ("reachable", "subscriptions")} == {Level.OK}
        found = await examined(tmp_path, lines)
        (silent,) = [one for one in found if one.check == "reachable"]
        # Whether the alert that says so is read before the connection is reset is a matter of luck.
        assert (silent.level, "certificate that it may ask for" in silent.remedy) == (Level.ERROR, True)


async def examined(folder: Path, lines: str) -> tuple[Finding, ...]:
    (folder / "orchestrator.toml").write_text(lines)
    return await examine(load_config(folder / "orchestrator.toml", {}), head_within_seconds=5.0)


def level_of(found: tuple[Finding, ...], check: str) -> Level:
    (level,) = [one.level for one in found if one.check == check]
    return level


async def test_tenants_at_one_address_share_neither_connection_nor_cookie(tmp_path: Path) -> None:
    """Each connection carries one tenant's token alone, and a gateway's cookie goes back to nobody."""
    seen: list[tuple[int, str, str]] = []
    connections: list[object] = []

    async def gateway(request: web.Request) -> web.Response:
        if request.transport not in connections:
            connections.append(request.transport)
        shown = request.headers.get("Authorization", "")
        seen.append((connections.index(request.transport), shown, request.headers.get("Cookie", "")))
        call = await request.json()
        answer = web.json_response({"jsonrpc": "2.0", "id": call["id"], "result": "0x1"})
        answer.set_cookie("session", shown.replace(" ", "-"))
        return answer

    app = web.Application()
    app.router.add_post("/", gateway)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    nodes = []
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"of-{name}")
        nodes.append(
            NodeConfig(
                name=name,
                http=f"http://127.0.0.1:{runner.addresses[0][1]}/",
                enclave_keys=(KEY,),
                token_file=tmp_path / name,
            )
        )
    async with AsyncExitStack() as stack:
        lines = NodeLines(stack)
        one, other = [(await lines.reach(node)).http for node in nodes]
        for _ in range(3):
            for http in (one, other):
                assert await http.call("eth_chainId") == "0x1"
    await runner.cleanup()
    shown_on = {index: {shown for at, shown, _ in seen if at == index} for index, _, _ in seen}
    assert sorted(map(sorted, shown_on.values())) == [["Bearer of-a"], ["Bearer of-b"]]
    assert {cookie for _, _, cookie in seen} == {""}


async def test_a_token_that_ended_is_waited_for_and_then_used(tmp_path: Path) -> None:
    """With a token that has ended nothing is known of the node, by HTTP or WebSocket; a new one is used at once."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "jwt.pem").write_bytes(public)
    token = tmp_path / "token"

    def issue(enclave_key: str, ends: timedelta) -> None:
        claims = {"privacyPublicKey": enclave_key, "permissions": ["*:*"], "exp": datetime.now(UTC) + ends}
        token.write_text(jwt.encode(claims, key, algorithm="RS256"))

    async with AsyncExitStack() as stack:
        config = DevnetConfig(
            base_port=0, block_period_seconds=0.1, validators=1, nodes=1, jwt_public_key_file=tmp_path / "jwt.pem"
        )
        (node,) = (await stack.enter_async_context(running_devnet(config))).nodes
        issue(node.enclave_key, timedelta(hours=-1))
        configured = NodeConfig(
            name="m", http=node.http_url, ws=node.ws_url, enclave_keys=(node.enclave_key,), token_file=token
        )
        (port,) = await connect_nodes(stack, (configured,))
        for asking in (port.head, port.traits):
            with pytest.raises(NodeError) as refused:
                await asking()
            assert (refused.value.reason.slug, refused.value.said) == ("credentials_refused", Said.NOT_KNOWN)
        with pytest.raises(NodeError):
            await anext(aiter(port.heads()))
        issue(node.enclave_key, timedelta(hours=1))
        assert (await port.head()).number >= 0
        await is_subscribed(port)


@pytest.fixture
def postgresql_with_tls(tmp_path: Path) -> Iterator[tuple[PostgreSQLServer, Certificates]]:
    """A PostgreSQL that lets nobody in without a certificate that names the database's user."""
    certificates = Certificates(tmp_path / "tls", "orchestrator", "somebody")
    with PostgreSQLServer() as server:
        data = server.directory / "data"
        for name in ("ca.pem", "server.pem", "server.key"):
            shutil.copy(certificates.folder / name, data / name)
            (data / name).chmod(0o600)
            if (user := server.run_as()) is not None:
                shutil.chown(data / name, user)
        settings = {"ssl_ca_file": "ca.pem", "ssl_cert_file": "server.pem", "ssl_key_file": "server.key", "ssl": "on"}
        for name, value in settings.items():
            server.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        server.execute("CREATE DATABASE membership")
        before = (data / "pg_hba.conf").read_text()
        (data / "pg_hba.conf").write_text(
            f"hostssl membership all 127.0.0.1/32 cert\nhost membership all 127.0.0.1/32 reject\n{before}"
        )
        server.execute("SELECT pg_reload_conf()")
        yield server, certificates


async def test_postgresql_is_reached_with_a_certificate(
    tmp_path: Path, postgresql_with_tls: tuple[PostgreSQLServer, Certificates]
) -> None:
    """The server's certificate is verified, and ours lets us in; without one, or with another's, nobody gets in."""
    server, certificates = postgresql_with_tls
    (tmp_path / "owner.key").write_text("1" * 64)

    def url(client: str | None) -> str:
        lines = f'[store]\nurl = "{server.url_of("membership")}"\nca_file = "{certificates.folder}/ca.pem"\n'
        if client is not None:
            lines += f'certificate_file = "{certificates.folder}/{client}.pem"\n'
            lines += f'key_file = "{certificates.folder}/{client}.key"\n'
        lines += f'[[nodes]]\nname = "m"\nhttp = "http://127.0.0.1:1"\nenclave_keys = ["{KEY}"]\n'
        (tmp_path / "orchestrator.toml").write_text(lines)
        return store_url(load_config(tmp_path / "orchestrator.toml", {}))

    assert "sslmode=verify-full" in url("orchestrator")
    await asyncio.to_thread(migrate, url("orchestrator"))
    async with Database(url("orchestrator")) as database:
        await SqlChangeStore(database, SystemClock()).probe()
    for client in (None, "somebody"):
        with pytest.raises(StoreError, match=r"(?i)certificate|no pg_hba"):
            async with Database(url(client)):
                pass
