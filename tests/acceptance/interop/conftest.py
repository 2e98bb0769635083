"""A daemon whose nodes are away, and clients that nobody here wrote, driven by the examples of the documentation."""

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest

from tests.acceptance.conftest import ENCLAVE_KEYS, OWNER, OWNER_KEY, process, wait_until
from tests.patience import patient
from tests.servers import programs
from tests.servers.nats_server import NatsServer
from tests.servers.ports import free_port

DOCS = Path(__file__).parents[3] / "docs"
EXAMPLE = re.compile(r"<!-- example: ([a-z-]+) -->\n```([a-z]+)\n(.*?)```\n", re.DOTALL)
SECONDS = 60
SECRET = "shared with the receiver"


@dataclass(frozen=True, kw_only=True)
class Interop:
    """A running daemon and the clients.

    Attributes:
        url: The daemon's address.
        broker_url: That of its message queue.
        log: What the daemon says.
        clients: The folder of the clients.
        node: The program that runs JavaScript.
    """

    url: str
    broker_url: str
    log: Path
    clients: Path
    node: str

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=patient(20)) as answer:  # noqa: S310 - HTTP on loopback
            return json.load(answer)

    def checks(self) -> dict[str, dict[str, Any]]:
        """Return what the daemon, which is not ready as its node is away, says of itself, by name."""
        try:
            document = self.get("/readyz")
        except HTTPError as error:
            document = json.load(error)
        return {check["name"]: check for check in document["checks"]}

    def has_its_queue(self) -> bool:
        """Whether what requests and events go through was made: clients of others don't wait for it."""
        checks = self.checks()
        return all(checks[name]["ok"] for name in ("broker", "events"))

    def example(self, document: str, name: str) -> str:
        """Return an example of the documentation, with this daemon's addresses."""
        (text,) = [text for found, _, text in EXAMPLE.findall((DOCS / document).read_text()) if found == name]
        for documented, running in (
            ("http://127.0.0.1:8080", self.url),
            ("nats://127.0.0.1:4222", self.broker_url),
            ("amqp://127.0.0.1", self.broker_url),
            ("127.0.0.1:9092", urlsplit(self.broker_url).netloc),
        ):
            text = text.replace(documented, running)
        return str(text)

    def javascript(self, script: str, *arguments: str) -> str:
        """Run a script where the clients are found; returns what it printed."""
        return self._run([self.node, "--input-type=module", "-", *arguments], script, self.clients)

    def python(self, script: str, folder: Path | None = None) -> str:
        """Run a script in the clients' environment; returns what it printed."""
        return self._run([str(self.clients / ".venv" / "bin" / "python"), "-"], script, folder or self.clients)

    def go(self, folder: Path) -> str:
        """Compile and run the Go program in a folder, as one of the clients' module; returns what it printed."""
        return self.tool(str(self.clients / "go" / "run.sh"), "run", ".", folder=folder)

    def shell(self, script: str) -> str:
        """Run a script where the tools in Go are found; returns what it printed."""
        return self._run(["sh", "-eu"], f'PATH="$PWD/bin:$PATH"\n{script}', self.clients / "go")

    def tool(self, *command: str, folder: Path) -> str:
        """Run a program; returns what it printed."""
        return self._run(list(command), "", folder)

    def _run(self, command: list[str], script: str, folder: Path) -> str:
        ran = subprocess.run(
            command, input=script, text=True, capture_output=True, timeout=patient(SECONDS), cwd=folder, check=False
        )
        assert ran.returncode == 0, f"{ran.stderr}\n{ran.stdout}\n{self.log.read_text()[-2000:]}"
        return ran.stdout

    def started(self, script: str) -> subprocess.Popen[str]:
        """Start JavaScript that waits for something; its output is a pipe."""
        program = [self.node, "--input-type=module", "--eval", script]
        return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.clients)

    def go_module(self, folder: Path, program: str) -> Path:
        """Make a folder a Go program, whose module is the documentation's and has what the clients' has locked."""
        folder.mkdir(exist_ok=True)
        locked = (self.clients / "go" / "go.mod").read_text()
        (folder / "go.mod").write_text(locked.replace("module interop", "module example.org/onboarding"))
        (folder / "go.sum").write_text((self.clients / "go" / "go.sum").read_text())
        (folder / "main.go").write_text(program)
        return folder

    def asked(self, request_id: str) -> dict[str, Any]:
        """Return the change that a request became, once it is there."""

        def look() -> Any:
            changes = self.get("/v1/changes?limit=500")["changes"]
            return next((change for change in changes if change["request_id"] == request_id), None)

        found: dict[str, Any] = wait_until(f"a change of {request_id}", look)
        return found


@contextmanager
def interop(folder: Path, broker_url: str, extra: str = "") -> Iterator[Interop]:
    """Run a daemon on a message queue; its one node does not answer, so that changes are accepted and wait."""
    key_file = folder / "owner.key"
    key_file.write_text(OWNER_KEY)
    key_file.chmod(0o600)
    port, dead = free_port(), free_port()
    config = folder / "orchestrator.toml"
    config.write_text(
        '[store]\nurl = "sqlite:///orchestrator.db"\n'
        f'[api]\nlisten = "127.0.0.1:{port}"\n[[nodes]]\nname = "away"\nhttp = "http://127.0.0.1:{dead}"\n'
        f'enclave_keys = ["{ENCLAVE_KEYS[0]}"]\n[[accounts]]\naddress = "{OWNER}"\nkey_file = "{key_file}"\n{extra}'
    )
    log = folder / "daemon.log"
    found = Interop(
        url=f"http://127.0.0.1:{port}",
        broker_url=broker_url,
        log=log,
        clients=programs.interop(),
        node=programs.find_program("node"),
    )
    # An address with a password has no place in the file.
    environment = {"ORCHESTRATOR_BROKER__URL": broker_url}
    with process(["run", "--migrate", "--config", str(config)], log, environment):
        wait_until("the daemon and its queue", found.has_its_queue)
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the module's own."""
    return tmp_path_factory.mktemp("interop")


@dataclass
class Posted:
    """What came to the webhook."""

    url: str = ""
    requests: list[tuple[dict[str, str], str]] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture(scope="session")
def posted() -> Iterator[Posted]:
    """An endpoint that allows one sender."""
    found = Posted()

    class Endpoint(BaseHTTPRequestHandler):
        def do_OPTIONS(self) -> None:
            found.asked.append(self.headers["WebHook-Request-Origin"])
            self.send_response(200)
            self.send_header("WebHook-Allowed-Origin", "membership.example.org")
            self.end_headers()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            found.requests.append((dict(self.headers), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    Thread(target=server.serve_forever).start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, posted: Posted) -> Iterator[Interop]:
    """One daemon on NATS for all tests of the test process."""
    folder = tmp_path_factory.mktemp("interop")
    for name, text in (("secret", SECRET), ("token", "a-token")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    extra = (
        f'[[webhooks]]\nname = "hook"\nurl = "{posted.url}"\nsecret_file = "secret"\nauthorization_file = "token"\n'
        'origin = "membership.example.org"\nallow_private = true\n'
    )
    with NatsServer() as server, interop(folder, server.url, extra) as found:
        yield found
