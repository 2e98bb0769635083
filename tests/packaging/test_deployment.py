"""docs/deployment.md as it is written: from a release's files to a service that is ready, as far as systemd allows."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT
from tests.servers.ports import consecutive_ports, free_port

DOCUMENT = ROOT / "docs" / "deployment.md"
UNIT = "orchestrator.service"
ENCLAVE_KEY = "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="
LIMIT_SECONDS = 290


def one_machine() -> list[str]:
    text = DOCUMENT.read_text().split("## One machine")[1].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)


class Machine:
    """A folder that stands for a clean machine's root, with the files of a release."""

    def __init__(self, root: Path, wheel: Path, node_port: int) -> None:
        self.root = root
        self.release = root / "release"
        self.release.mkdir()
        shutil.copy(wheel, self.release)
        shutil.copy(ROOT / "requirements.txt", self.release)
        shutil.copytree(ROOT / "deploy", self.release / "deploy")
        (self.release / "tm.pub").write_text(ENCLAVE_KEY)
        (root / "bin").mkdir()
        (root / "bin" / "systemctl").write_text(f'#!/bin/sh\necho "$@" >>{root}/systemctl\n')
        (root / "bin" / "systemctl").chmod(0o755)
        self.replaced = {
            "127.0.0.1:8545": f"127.0.0.1:{node_port}",
            "127.0.0.1:8080": f"127.0.0.1:{free_port()}",
            "/opt/orchestrator": str(root / "opt" / "orchestrator"),
            "/etc/": f"{root}/etc/",
        }

    def adapted(self, text: str) -> str:
        for written, here in self.replaced.items():
            text = text.replace(written, here)
        return text

    def run(self, block: str) -> str:
        """Run a block in a shell that stops at the first command that fails; returns what it printed."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "PYTEST"))}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.adapted(block)],
            cwd=self.release,
            env=kept | {"PATH": f"{self.root / 'bin'}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        return done.stdout

    def settings(self) -> list[tuple[str, str]]:
        """What the installed unit and its drop-ins say, as systemd reads them: an empty assignment takes back."""
        units = self.root / "etc" / "systemd" / "system"
        files = [units / UNIT, *sorted((units / f"{UNIT}.d").glob("*.conf"))]
        said: list[tuple[str, str]] = []
        for file in files:
            for line in file.read_text().splitlines():
                name, equals, value = line.partition("=")
                if not equals or line.startswith(("#", "[")):
                    continue
                if not value:
                    said = [entry for entry in said if entry[0] != name]
                else:
                    said.append((name, value))
        return said

    @contextmanager
    def service(self) -> Iterator[subprocess.Popen[str]]:
        """Do what systemd does for the unit: folders, credentials, environment, working directory, mask."""
        said = self.settings()
        state, credentials = self.root / "var" / "lib", self.root / "run" / "credentials"
        (state / "orchestrator").mkdir(parents=True, mode=0o755)
        credentials.mkdir(parents=True, mode=0o700)

        def expanded(text: str) -> str:
            return self.adapted(text).replace("%S", str(state)).replace("%d", str(credentials))

        for name, value in said:
            if name == "LoadCredential":
                credential, _, source = value.partition(":")
                shutil.copy(self.adapted(source), credentials / credential)
                (credentials / credential).chmod(0o400)
        environment = dict(expanded(value).split("=", 1) for name, value in said if name == "Environment")
        (command,) = [value for name, value in said if name == "ExecStart"]
        (folder,) = [value for name, value in said if name == "WorkingDirectory"]
        (mask,) = [value for name, value in said if name == "UMask"]
        with (self.root / "journal").open("w") as journal:
            process = subprocess.Popen(
                shlex.split(expanded(command)),
                cwd=expanded(folder),
                env=environment | {"PATH": "/usr/bin:/bin"},
                umask=int(mask, 8),
                stdout=journal,
                stderr=journal,
                text=True,
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(45)


@pytest.fixture
def node_port() -> Iterator[int]:
    """An emulated node that takes requests at this port."""
    base = consecutive_ports(6)
    command = [sys.executable, "-m", "orchestrator", "devnet", "--base-port", str(base), "--block-period", "0.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as devnet:
        assert devnet.stdout is not None
        while "ready" not in devnet.stdout.readline():
            assert devnet.poll() is None
        yield base
        devnet.terminate()


@pytest.mark.timeout(600)
def test_a_clean_machine_comes_to_a_running_service(wheel: Path, node_port: int, tmp_path: Path) -> None:
    """The blocks of the document install, configure and enable; the unit's command then is ready, and what it wrote is
    its own, in its state folder.
    """
    began = time.monotonic()
    machine = Machine(tmp_path, wheel, node_port)
    *before, after = one_machine()
    for block in before:
        machine.run(block)
    assert (tmp_path / "systemctl").read_text() == "daemon-reload\nenable --now orchestrator\n"
    secrets = [path for path in (tmp_path / "etc" / "orchestrator").iterdir() if path.suffix == ".key"]
    assert [path.stat().st_mode & 0o777 for path in secrets] == [0o600]
    with machine.service() as service:
        try:
            assert "ready" in machine.run(after)
        except AssertionError as error:
            error.add_note((tmp_path / "journal").read_text())
            raise
        assert service.poll() is None
    written = {path for path in (tmp_path / "var" / "lib" / "orchestrator").rglob("*") if path.is_file()}
    assert written
    assert [str(path) for path in written if path.stat().st_mode & 0o077] == []
    sys.stdout.write(f"from a clean machine to a running service in {time.monotonic() - began:.0f} s\n")
