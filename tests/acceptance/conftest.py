"""The product as its users run it: `orchestrator devnet` and `orchestrator run` as processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from tests.patience import patient, within
from tests.servers.ports import consecutive_ports, free_port

# The well-known public development keys of Besu's documentation; never use them where anything is of worth.
OWNER_KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
OWNER = "0xFE3B557E8Fb62b89F4916B721be55cEb828dBd73"
APPLICATION_KEY = "c87509a1c067bbde78beb793e6fa76530b6382a4c0241e5e4a9ec0a0f44dc0d3"
ENCLAVE_KEYS = (
    "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo=",
    "QfeDAys9MPDs2XHExtc84jKGHxZg/aj52DTh0vtA3Xc=",
    "1iTZde/ndBHvzhcl7V68x44Vx7pl8nwx9LqnM/AfJUg=",
)
START_SECONDS = 30.0
GROUP = "YWNjZXB0YW5jZS1ncm91cC1vZi0zMi1ieXRlcy4uLi4="


@contextmanager
def process(
    arguments: list[str],
    log: Path,
    environment: dict[str, str] | None = None,
    cwd: Path | None = None,
    by: Sequence[str] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `orchestrator …` until the context ends, by another program if one is given; its output goes to a file."""
    with log.open("ab") as output:
        running = subprocess.Popen(
            [*by, sys.executable, "-m", "orchestrator", *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
            cwd=cwd,
        )
    try:
        yield running
    finally:
        if running.poll() is None:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(patient(30))
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait(10)


def wait_until(what: str, check: Callable[[], Any], seconds: float = START_SECONDS) -> Any:
    """Return the first truthy answer of a check; fails with the last thing seen, after longer on a busy machine."""
    seen: object = None
    for _ in within(seconds):
        try:
            seen = check()
        except HTTPError as error:
            seen = f"{error}: {error.read().decode(errors='replace')[:1000]}"
        except OSError as error:
            seen = error
        else:
            if seen:
                return seen
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come about in {seconds} s; last seen: {seen!r}")


@dataclass(frozen=True)
class DevnetProcess:
    """A devnet of three members."""

    base_port: int

    def http(self, node: int) -> str:
        return f"http://127.0.0.1:{self.base_port + 2 * (node - 1)}"

    def ws(self, node: int) -> str:
        return f"ws://127.0.0.1:{self.base_port + 2 * (node - 1) + 1}"

    def call(self, node: int, method: str, *params: object) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.http(node), body, {"Content-Type": "application/json"})  # noqa: S310 - HTTP on loopback
        with urllib.request.urlopen(request, timeout=patient(20)) as response:  # noqa: S310 - HTTP on loopback
            answer = json.load(response)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return answer["result"]


@dataclass(frozen=True)
class Member:
    """A member as the daemon's configuration names it."""

    name: str
    node: int
    enclave_key: str
    token_file: Path | None = None


MEMBERS = tuple(Member(f"member{i}", i, ENCLAVE_KEYS[i - 1]) for i in (1, 2, 3))


@dataclass(frozen=True)
class DaemonProcess:
    """A running daemon."""

    running: subprocess.Popen[bytes]
    url: str
    log: Path
    config: Path

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=patient(20)) as response:  # noqa: S310 - HTTP on loopback
            return json.load(response)

    def changes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("/v1/changes")["changes"]
        return found

    def settled(
        self, request_id: str, seconds: float = 60.0, meanwhile: Callable[[], None] = lambda: None
    ) -> dict[str, Any]:
        """Return the change of a request once it ended or was parked; does something before each look."""

        def look() -> dict[str, Any] | None:
            meanwhile()
            for change in self.changes():
                resting = change["state"] in ("succeeded", "failed", "parked", "cancelled")
                if change["request_id"] == request_id and resting:
                    return change
            return None

        found: dict[str, Any] = wait_until(f"the end of {request_id}", look, seconds)
        return found


@pytest.fixture
def devnet_process(tmp_path: Path) -> Iterator[Callable[..., DevnetProcess]]:
    """Start devnets as `orchestrator devnet`; arguments are its options."""
    with ExitStack() as stack:

        def start(version: str = "23.10.3", period: float = 1.0, *more: str) -> DevnetProcess:
            base = consecutive_ports(6)
            log = tmp_path / f"devnet-{base}.log"
            options = ["--nodes", "3", "--validators", "3", "--base-port", str(base), "--block-period", str(period)]
            stack.enter_context(process(["devnet", *options, "--besu-version", version, *more], log))
            wait_until("ready", lambda: "\nready" in "\n" + log.read_text())
            return DevnetProcess(base)

        yield start


@pytest.fixture
def daemon_process(tmp_path: Path) -> Iterator[Callable[..., DaemonProcess]]:
    """Start daemons as `orchestrator run` on a devnet and a message queue."""
    with ExitStack() as stack:

        def start(
            devnet: DevnetProcess, broker_url: str, *, extra: str = "", members: Sequence[Member] = MEMBERS
        ) -> DaemonProcess:
            key_file = tmp_path / "owner.key"
            key_file.write_text(OWNER_KEY)
            key_file.chmod(0o600)
            port = free_port()
            nodes = "".join(
                f'[[nodes]]\nname = "{member.name}"\nhttp = "{devnet.http(member.node)}"\n'
                f'ws = "{devnet.ws(member.node)}"\nenclave_keys = ["{member.enclave_key}"]\n'
                + (f'token_file = "{member.token_file}"\n' if member.token_file is not None else "")
                for member in members
            )
            config = tmp_path / "orchestrator.toml"
            config.write_text(
                f'[store]\nurl = "sqlite:///{tmp_path / "orchestrator.db"}"\n'
                f'[broker]\nurl = "{broker_url}"\n[api]\nlisten = "127.0.0.1:{port}"\n'
                f'{extra}\n{nodes}[[accounts]]\naddress = "{OWNER}"\nkey_file = "{key_file}"\n'
            )
            subprocess.run(
                [sys.executable, "-m", "orchestrator", "migrate", "--config", str(config)],
                check=True,
                timeout=patient(60),
            )
            log = tmp_path / "daemon.log"
            running = stack.enter_context(process(["run", "--config", str(config)], log))
            daemon = DaemonProcess(running, f"http://127.0.0.1:{port}", log, config)
            wait_until("readiness", lambda: daemon.get("/readyz")["ready"])
            return daemon

        yield start


def trigger(request_id: str, kind: str, members: tuple[str, ...] = (), **more: object) -> bytes:
    """Return a request as a CloudEvent."""
    data: dict[str, object] = {"kind": kind, "privacy_group_id": GROUP, **more}
    if members:
        data["members"] = list(members)
    return json.dumps(
        {
            "specversion": "1.0",
            "id": request_id,
            "source": "acceptance",
            "type": "membership.change.requested.v1",
            "datacontenttype": "application/json",
            "data": data,
        }
    ).encode()
