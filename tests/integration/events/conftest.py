"""A daemon without nodes that answer: it takes requests, and each fails when its deadline is over."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.patience import patient
from tests.servers.ports import free_port

OWNER = "0xFE3B557E8Fb62b89F4916B721be55cEb828dBd73"
OWNER_KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
"""The well-known public development key of that account: never to hold anything of value."""
ENCLAVE_KEY = "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="


class Daemon:
    """`orchestrator run`, killed and started again."""

    def __init__(self, folder: Path, broker_url: str, extra: str, environment: dict[str, str]) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = folder / "daemon.log"
        key_file = folder / "owner.key"
        key_file.write_text(OWNER_KEY)
        key_file.chmod(0o600)
        dead = free_port()
        self._config = folder / "orchestrator.toml"
        self._config.write_text(
            f'[store]\nurl = "sqlite:///{folder}/store.db"\n'
            f'[api]\nlisten = "{self.url.removeprefix("http://")}"\n'
            f'[[nodes]]\nname = "away"\nhttp = "http://127.0.0.1:{dead}"\nenclave_keys = ["{ENCLAVE_KEY}"]\n'
            f'[[accounts]]\naddress = "{OWNER}"\nkey_file = "{key_file}"\n{extra}'
        )
        self._environment = os.environ | environment | {"ORCHESTRATOR_BROKER__URL": broker_url}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator", "run", "--migrate", "--config", str(self._config)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=self._environment,
            )

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(patient(10))

    def stop(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(patient(60))


@contextmanager
def _running(daemon: Daemon) -> Iterator[Daemon]:
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.kill()


@pytest.fixture
def run_daemon(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Start a daemon on a message queue; ended with the test."""
    with ExitStack() as stack:

        def run(broker_url: str, extra: str = "", environment: dict[str, str] | None = None) -> Daemon:
            return stack.enter_context(_running(Daemon(tmp_path, broker_url, extra, environment or {})))

        yield run
