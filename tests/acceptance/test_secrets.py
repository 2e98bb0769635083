"""Secrets stay where they are: a sentinel in each, a run that uses them, and a search through all that it left."""

import asyncio
import base64
import http.server
import json
import os
import secrets
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

import jwt
import nats
import psycopg
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from orchestrator.besu.client.own_markers import pooled_keys
from orchestrator.broker.nats.embedded import embedded_url
from orchestrator.store import migrate
from tests.acceptance.conftest import ENCLAVE_KEYS, OWNER, OWNER_KEY, DevnetProcess, process, trigger, wait_until
from tests.acceptance.test_main_job import published
from tests.patience import patient
from tests.servers.http_signers import Web3SignerServer, identifier_of
from tests.servers.nats_server import NatsServer
from tests.servers.ports import free_port
from tests.servers.softhsm import LABEL, SoftHsm

ASKED = {
    ("queue:org1", "accepted", "create"),
    ("queue:org1", "refused", "bad"),
    ("", "refused", "create"),
    ("queue:org2", "accepted", "signed"),
    ("queue:org2", "refused", "another"),
}
"""By its own subject org1 may create groups, org2 by its signature; what comes in by the common one is nobody's."""
OTHER_GROUP = base64.b64encode(b"another group, by a signature...").decode()
GROUP_MEMBERS = (ENCLAVE_KEYS[0], ENCLAVE_KEYS[1])
# A well-known public development key, whose account signs nothing here.
OTHER_KEY = bytes.fromhex("c87509a1c067bbde78beb793e6fa76530b6382a4c0241e5e4a9ec0a0f44dc0d3")


class Planted:
    """Secrets by what they are, each a text that occurs nowhere else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: dict[str, bytes] = {}
        folder.mkdir()

    def text(self, what: str) -> str:
        """Return a new secret."""
        found = f"S3ntinel{secrets.token_hex(12)}"
        self.known[what] = found.encode()
        return found

    def file(self, what: str, text: str | None = None) -> Path:
        """Return a file of mode 0600 with a secret, a new one or this."""
        path = self.folder / what.replace(" ", "-")
        if text is not None:
            self.known[what] = text.encode()
        path.write_text(self.text(what) if text is None else text)
        path.chmod(0o600)
        return path

    def found_in(self, where: str, content: bytes) -> list[str]:
        """Return which secrets stand in some bytes, as they are or in a usual encoding."""
        return [
            f"{what} in {where}"
            for what, secret in self.known.items()
            for form in (secret, base64.b64encode(secret)[:-4], secret.hex().encode(), quote(secret).encode())
            if form in content
        ]


@contextmanager
def echoing_receiver(port: int) -> Iterator[None]:
    """Serve a webhook's receiver that refuses, and says back whatever it was sent."""

    class Echo(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            said = (str(self.headers) + body.decode()).encode()
            self.send_response(500, "no, " + str(self.headers.get("Authorization", "")))
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            pass

    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", port), Echo)):
        yield


@contextmanager
def issuing(planted: Planted, token: str) -> Iterator[str]:
    """Serve an issuer that gives a token for the client's secret; yields its address."""
    secret = planted.known["client secret"]

    class Issuer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            shown = base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")) + self.rfile.read(
                int(self.headers["Content-Length"])
            )
            said = json.dumps({"access_token": token, "expires_in": 600} if secret in shown else {"error": "no"})
            self.send_response(200 if secret in shown else 401, shown.decode("ascii", "replace"))
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said.encode())

        def log_message(self, *_: object) -> None:
            pass

    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Issuer)) as port:
        yield f"http://127.0.0.1:{port}/token"


@contextmanager
def serving(server: http.server.ThreadingHTTPServer) -> Iterator[int]:
    """Serve in a thread; yields the port."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def signing_key(planted: Planted) -> tuple[Path, Path]:
    """Return the files of a sender's public and private key, and plant the private one."""
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    planted.known["signing key"] = key.private_bytes_raw()
    planted.known["signing key in PEM"] = pem.splitlines()[1].encode()
    private = planted.folder / "org2.key"
    private.write_text(pem)
    private.chmod(0o600)
    public = planted.folder / "org2.pem"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return public, private


def node_tokens(planted: Planted) -> tuple[Path, list[str]]:
    """Return the devnet's option for tokens, and plant one for each node."""
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415 - one kind of key per function

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = planted.folder / "nodes.pem"
    public.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    files = []
    for number, key in enumerate(ENCLAVE_KEYS, 1):
        claims = {"privacyPublicKey": key, "permissions": ["*:*"], "exp": datetime.now(UTC) + timedelta(hours=1)}
        token = jwt.encode(claims, private, algorithm="RS256")
        files.append(str(planted.file(f"token of node {number}", token)))
    return public, files


def web_token(planted: Planted) -> tuple[Path, str]:
    """Return the issuer's keys, and a token of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    jwks = planted.folder / "issuer.jwks"
    jwks.write_text(json.dumps({"keys": [{**jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), True), "kid": "k"}]}))
    claims = {"iss": "i", "aud": "a", "sub": "s", "role": "viewer", "exp": datetime.now(UTC) + timedelta(hours=1)}
    token = jwt.encode(claims, key, algorithm="ES256", headers={"kid": "k"})
    planted.known["JSON Web Token"] = token.encode()
    return jwks, token


def test_no_secret_is_found_in_anything_that_a_run_leaves(
    tmp_path: Path,
    devnet_process: Callable[..., DevnetProcess],
    postgresql_url: str,
) -> None:
    """Files, database, queue, logs, answers, errors, metrics and events: none holds a key, token or password."""
    planted = Planted(tmp_path / "secrets")
    public, tokens = node_tokens(planted)
    devnet = devnet_process("23.10.3", 0.5, "--jwt-public-key-file", str(public))
    jwks, of_issuer = web_token(planted)
    seed = secrets.token_hex(32)
    planted.known |= {"owner's key": OWNER_KEY.encode(), "owner's key as bytes": bytes.fromhex(OWNER_KEY)}
    planted.known |= {f"key of {name}": key for name, key in pooled_keys(bytes.fromhex(seed), 2).items()}
    planted.known |= {
        f"key of {name}, hex": key.hex().encode() for name, key in pooled_keys(bytes.fromhex(seed), 2).items()
    }
    password = planted.text("keystore password")
    keystore = planted.folder / "owner.json"
    limit = sys.getrecursionlimit()
    try:
        from eth_account import Account  # noqa: PLC0415 - it raises the recursion limit, which has to be set back
    finally:
        sys.setrecursionlimit(limit)
    keystore.write_text(json.dumps(Account.encrypt(bytes.fromhex(OWNER_KEY), password, kdf="pbkdf2", iterations=10)))
    (planted.folder / "owner.password").write_text(password)
    (planted.folder / "owner.password").chmod(0o600)
    environment = {"ORCHESTRATOR_WEBHOOKS__0__SECRET": planted.text("webhook secret")}
    hook, api = free_port(), free_port()
    signer, hsm = Web3SignerServer(), SoftHsm(tmp_path)
    signer.misbehaves = lambda _: web.Response(status=500, text=f"no, {signer.authorizations[-1]}")
    data = tmp_path / "data"
    data.mkdir()
    file = planted.file("password of the database")
    store = f'url = "{postgresql_url}"\npassword_file = "{file}"'
    file = planted.file("password of the queue")
    queue = NatsServer(f'authorization {{ user: "o", password: "{file.read_text()}" }}')
    queue.start()
    broker = f'url = "{queue.url}"\nuser = "o"\npassword_file = "{file}"'
    secret = planted.file("client secret")
    issuer = ExitStack()
    url = issuer.enter_context(issuing(planted, Path(tokens[2]).read_text()))
    proofs = (
        f'token_file = "{tokens[0]}"\n',
        f'[nodes.token]\ncommand = ["/bin/cat", "{tokens[1]}"]\n',
        f'[nodes.token]\nurl = "{url}"\nclient_id = "o"\nclient_secret_file = "{secret}"\n',
    )
    nodes = "".join(
        f'[[nodes]]\nname = "member{number}"\nhttp = "{devnet.http(number)}"\nws = "{devnet.ws(number)}"\n'
        f'enclave_keys = ["{ENCLAVE_KEYS[number - 1]}"]\n{proof}'
        for number, proof in enumerate(proofs, 1)
    )
    public_key, private_key = signing_key(planted)
    config = tmp_path / "orchestrator.toml"
    config.write_text(
        f'[store]\n{store}\n[broker]\n{broker}\n[api]\nlisten = "127.0.0.1:{api}"\nsocket = "{data}/api.sock"\n'
        f'[[broker.sources]]\nname = "org1"\nsubject = "membership.requests.org1"\nkinds = ["create_group"]\n'
        f'[[broker.sources]]\nname = "org2"\nsubject = "membership.requests.signed"\nkeys_file = "{public_key}"\n'
        f'[log]\nlevel = "debug"\n[access.jwt]\nissuer = "i"\naudience = "a"\njwks_file = "{jwks}"\n'
        f'[markers]\nseed_file = "{planted.file("seed of markers", seed)}"\naccounts = 2\n{nodes}'
        f'[[accounts]]\naddress = "{OWNER}"\nkeystore = "{keystore}"\n'
        f'password_file = "{planted.folder}/owner.password"\n'
        f'[[accounts]]\naddress = "0x627306090abab3a6e1400e9345bc60c78a8bef57"\n[accounts.web3signer]\n'
        f'url = "{signer.url}"\npublic_key = "{identifier_of(OTHER_KEY)}"\n'
        f'token_file = "{planted.file("token of the signer")}"\n'
        f'[[accounts]]\naddress = "0xf17f52151ebef6c7334fad080c5704d77216b732"\n[accounts.pkcs11]\n'
        f'module = "{hsm.module}"\ntoken = "{LABEL}"\nkey_id = "01"\npin_file = "{planted.file("PIN of the token")}"\n'
        f'[[webhooks]]\nname = "hook"\nurl = "http://127.0.0.1:{hook}/"\nallow_private = true\n'
        f'authorization_file = "{planted.file("authorization of the webhook")}"\n'
    )
    outputs: list[tuple[str, bytes]] = []

    def run(*arguments: str, token: str = "", given: bytes = b"") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", *arguments],
            input=given,
            capture_output=True,
            timeout=patient(90),
            check=False,
            env={
                **os.environ,
                **environment,
                "ORCHESTRATOR_URL": f"http://127.0.0.1:{api}",
                "ORCHESTRATOR_TOKEN": token,
            },
        )
        outputs.append((" ".join(arguments), done.stdout + done.stderr))
        return done.stdout.decode()

    def ask(path: str, token: str = "", body: bytes | None = None, **headers: str) -> bytes:
        sent = urllib.request.Request(f"http://127.0.0.1:{api}{path}", body, headers)
        if token:
            sent.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(sent, timeout=patient(20)) as answer:  # noqa: S310 - HTTP on loopback
                found = answer.read(65536) if "events" not in path else answer.read(500)
                outputs.append((path, str(answer.headers).encode() + found))
        except HTTPError as error:
            found = error.read()
            outputs.append((path, str(error.headers).encode() + found))
        return bytes(found)

    here = ("--config", str(config))
    log = tmp_path / "daemon.log"
    try:
        run("migrate", *here)
        run("tokens", "create", "admin", "--role", "admin", "--local", *here, "--file", str(planted.folder / "admin"))
        admin = planted.file("admin's token", (planted.folder / "admin").read_text().strip()).read_text()
        planted.known["admin's secret"] = admin.split("_", 2)[2].encode()
        with signer, echoing_receiver(hook), process(["run", *here], log, environment) as running:
            wait_until("readiness", lambda: b'"ready":true' in ask("/readyz"))
            asked = trigger("signed", "create_group", GROUP_MEMBERS, privacy_group_id=OTHER_GROUP, account=OWNER)
            signed = run("sign", "--key", str(private_key), "--key-id", "org2", given=asked)
            asyncio.run(publish(queue.url, planted, json.loads(signed)))
            wait_until(
                "the end of the creations",
                lambda: (
                    [change["state"] for change in json.loads(ask("/v1/changes", admin))["changes"]]
                    == ["succeeded"] * 2
                ),
                60,
            )
            wait_until("an entry for each", lambda: who_asked(ask("/v1/audit-log?limit=500", admin)) == ASKED)
            made = json.loads(
                ask("/v1/tokens", admin, b'{"name": "a", "role": "viewer"}', **{"Content-Type": "application/json"})
            )
            outputs.pop()  # the one answer that shows a token
            planted.known["a new token"] = made["token"].split("_", 2)[2].encode()
            use_everything(ask, run, here, admin, of_issuer, made["token"])
            outputs += [(f"/proc of {pid}", content) for pid, content in children_of(running.pid).items()]
        outputs.append(("the log", log.read_bytes()))
        outputs.append(("the database", dumped(postgresql_url)))
        queue.stop()  # it would take files away that were just found
        folders = [data, queue.directory / "jetstream"]
        outputs += [
            (str(path), path.read_bytes()) for folder in folders for path in folder.rglob("*") if path.is_file()
        ]
    finally:
        queue.close()
        issuer.close()
    assert len(outputs) > 20
    said = b"".join(content for _, content in outputs)
    assert b"refuses the PIN" in said
    assert b"HTTP 500" in said
    assert [hit for where, content in outputs for hit in planted.found_in(where, content)] == []


@contextmanager
def echoing_gateway() -> Iterator[str]:
    """Stand where a node is to be, and refuse whoever comes in the words that it came with; yields the address."""

    class Echo(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said = str(self.headers).encode() + self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.send_response(401, "no, " + str(self.headers.get("Authorization", "")))
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            pass

    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)) as port:
        yield f"http://127.0.0.1:{port}/"


def test_no_secret_is_found_in_what_the_embedded_queue_and_a_refusing_gateway_leave(tmp_path: Path) -> None:
    """The queue's process gets none in environment, command line or files; refused credentials are in no answer."""
    planted = Planted(tmp_path / "secrets")
    environment = {"ORCHESTRATOR_ACCOUNTS__0__PRIVATE_KEY": OWNER_KEY, "UNRELATED": planted.text("another's secret")}
    planted.known |= {"owner's key": OWNER_KEY.encode(), "owner's key as bytes": bytes.fromhex(OWNER_KEY)}
    secret = planted.file("client secret")
    data, api, log = tmp_path / "data", free_port(), tmp_path / "daemon.log"
    outputs: list[tuple[str, bytes]] = []
    with echoing_gateway() as gateway, issuing(planted, planted.text("issued token")) as issuer:
        password = planted.file("password of the node")
        planted.known["basic"] = base64.b64encode(b"me:" + planted.known["password of the node"])
        proofs = (
            f'user = "me"\npassword_file = "{password}"\n',
            f'[nodes.token]\nurl = "{issuer}"\nclient_id = "o"\nclient_secret_file = "{secret}"\n',
        )
        config = tmp_path / "orchestrator.toml"
        config.write_text(
            f'[store]\nurl = "sqlite:///{data}/store.db"\n[broker]\ndata_dir = "{data}/queue"\n'
            f'[api]\nlisten = "127.0.0.1:{api}"\n[log]\nlevel = "debug"\n[[accounts]]\naddress = "{OWNER}"\n'
            + "".join(
                f'[[nodes]]\nname = "m{number}"\nhttp = "{gateway}{number}"\nenclave_keys = ["{key}"]\n{proof}'
                for number, (key, proof) in enumerate(zip(ENCLAVE_KEYS, proofs, strict=False))
            )
        )
        data.mkdir()
        here = ["--config", str(config)]

        def ask(path: str) -> bytes:
            with urllib.request.urlopen(f"http://127.0.0.1:{api}{path}", timeout=patient(20)) as answer:
                outputs.append((path, answer.read()))
            return outputs[-1][1]

        migrate(f"sqlite:///{data}/store.db")
        with process(["run", *here], log, environment) as running:
            wait_until("an answer", lambda: ask("/livez"))
            asyncio.run(ask_by(embedded_url(data / "queue"), trigger("create", "create_group", GROUP_MEMBERS)))
            wait_until("a reason", lambda: b"credentials_refused" in ask("/v1/changes") + ask("/v1/nodes"))
            for path in ("/metrics", "/v1/attention", "/v1/webhooks", "/v1/dead-letters"):
                ask(path)
            with process(["doctor", "--json", *here], tmp_path / "data" / "doctor.log", environment) as doctor:
                assert doctor.wait(patient(90)) == 1
            children = children_of(running.pid)
            assert any(b"nats-server" in content for content in children.values())
            outputs += [(f"/proc of {pid}", content) for pid, content in children.items()]
    outputs += [(str(path), path.read_bytes()) for path in [log, *data.rglob("*")] if path.is_file()]
    assert any("jetstream" in where for where, _ in outputs)
    assert [hit for where, content in outputs for hit in planted.found_in(where, content)] == []


async def ask_by(url: str, asked: bytes) -> None:
    """Publish a request."""
    client = await nats.connect(url)
    await published(client.jetstream(), asked)
    await client.close()


def use_everything(
    ask: Callable[..., bytes], run: Callable[..., str], here: tuple[str, str], admin: str, of_issuer: str, made: str
) -> None:
    """Read what there is, and send secrets where they do not belong."""
    for path in (
        "/metrics",
        "/v1/groups",
        "/v1/tokens",
        "/v1/audit-log",
        "/v1/events?last_event_id=0",
        "/openapi.json",
    ):
        ask(path, admin)
    for path in ("/v1/webhooks", "/v1/nodes", "/v1/attention", "/v1/dead-letters", "/v1/session", "/readyz"):
        ask(path, admin)
    assert b"jwt:s" in ask("/v1/session", of_issuer)
    assert b"token:a" in ask("/v1/session", made)
    ask("/v1/tokens", of_issuer)
    for wrong in (made[:-1] + "x", of_issuer[:-2], "Basic " + admin):
        ask("/v1/groups", wrong)
    for misplaced in (f"/v1/groups?token={admin}", f"/{admin}", f"/v1/changes/{admin}", f"/v1/groups?{admin}=1"):
        ask(misplaced, admin)
    as_json = {"Content-Type": "application/json", "Idempotency-Key": admin}
    ask("/v1/changes", admin, json.dumps({"kind": admin, admin: 1}).encode(), **as_json)
    ask("/v1/session", "", json.dumps({"token": admin[:-1] + "?", "a": admin}).encode(), **as_json)
    run("doctor", "--json", *here)


async def publish(url: str, planted: Planted, signed: dict[str, Any]) -> None:
    """Ask for changes, one of them signed, and for what is refused: its signature under another id, for one."""
    password = planted.known.get("password of the queue", b"").decode()
    client = await nats.connect(url, **({"user": "o", "password": password} if password else {}))
    bad = json.loads(trigger("bad", "add_members", ENCLAVE_KEYS[2:]))
    bad["data"]["password"] = "no sentinel: senders' own secrets are theirs"
    create = trigger("create", "create_group", GROUP_MEMBERS, account=OWNER)
    stream = client.jetstream()
    await published(stream, create, "membership.requests.org1")
    await published(stream, json.dumps(bad).encode(), "membership.requests.org1")
    await published(stream, create)
    for document in (signed, {**signed, "id": "another"}):
        await published(stream, json.dumps(document).encode(), "membership.requests.signed")
    await client.close()


def who_asked(log: bytes) -> set[tuple[str, str, str]]:
    """Return who asked for changes, with what outcome, from the audit log."""
    entries = json.loads(log)["entries"]
    return {(entry["caller"], entry["outcome"], entry["request_id"]) for entry in entries if entry["action"] == "ask"}


def children_of(pid: int) -> dict[int, bytes]:
    """Return command line and environment of a process's children, and of theirs."""
    found: dict[int, bytes] = {}
    with suppress(FileNotFoundError, ProcessLookupError):  # one that gives a token, say, ends at any time
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(FileNotFoundError, ProcessLookupError):
                found[int(child)] = b"".join(
                    Path(f"/proc/{child}/{name}").read_bytes() for name in ("cmdline", "environ")
                )
            found |= children_of(int(child))
    return found


def dumped(url: str) -> bytes:
    """Return all rows of a PostgreSQL store."""
    rows: list[Any] = []
    with closing(psycopg.connect(url)) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").fetchall()
        for (table,) in tables:
            rows += connection.execute(
                psycopg.sql.SQL("SELECT * FROM {}").format(psycopg.sql.Identifier(table))
            ).fetchall()
    return repr(rows).encode() + b"".join(bytes(value) for row in rows for value in row if isinstance(value, bytes))
