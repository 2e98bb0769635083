"""The quick start, run as it is written, in a directory of its own."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.acceptance.conftest import process, wait_until
from tests.servers.ports import consecutive_ports, free_port

DOCUMENT = Path(__file__).parents[2] / "docs" / "quickstart.md"
WAIT_SECONDS = 60


def commands(block: str) -> list[str]:
    """Return the commands of a block; one that goes on over several lines is one."""
    return block.replace("\\\n", " ").strip().splitlines()


def blocks() -> list[str]:
    return re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


class Terminal:
    """Runs what the document says; only its ports are others, since tests run side by side."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.port = free_port()
        self.base = consecutive_ports(6)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")},
            "ORCHESTRATOR_URL": f"http://127.0.0.1:{self.port}",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        self._stack = stack

    def adapted(self, text: str) -> str:
        own = f"devnet --base-port {self.base} --block-period 0.3 --listen 127.0.0.1:{self.port} --write-config"
        return text.replace("devnet --write-config", own).replace("127.0.0.1:20000", f"127.0.0.1:{self.base}")

    def start(self, command: str) -> None:
        """Start what keeps running, and wait until it says ``ready``."""
        program, *arguments = shlex.split(self.adapted(command.removesuffix("&")))
        assert program == "orchestrator"
        log = self.directory / f"{arguments[0]}.log"
        self._stack.enter_context(process(arguments, log, cwd=self.directory))
        wait_until("ready", lambda: "\nready" in "\n" + log.read_text())

    def run(self, text: str) -> str:
        """Run a block of commands in a shell that stops at the first that fails; returns what it printed."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.adapted(text)],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """Terminals in an empty directory."""
    with ExitStack() as stack:
        yield Terminal(tmp_path, stack)


def test_the_quick_start_works_as_it_is_written(terminal: Terminal) -> None:
    """Every command of the document does what it says; four of them lead to an addition that is proven."""
    printed = []
    for block in blocks():
        if block.rstrip().endswith("&"):
            for command in commands(block):
                terminal.start(command)
        else:
            printed.append(terminal.run(block))
    group, addition = printed[0].split()
    assert len(addition) == 32
    assert f"{group}\tBULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo=, QfeDAys9" in printed[1]
    assert "members agree\tyes" in printed[1]
    assert printed[-1].strip() == "remove-member3-1"
    wait_until("the removal", lambda: "remove_members" in terminal.run("orchestrator changes --state succeeded"))
    own = terminal.directory / "own"
    assert {file.name: file.stat().st_mode & 0o777 for file in own.iterdir()} == {
        "orchestrator.toml": 0o644,
        "owner.key": 0o600,
    }


def test_four_commands_lead_to_a_proven_addition() -> None:
    """The document begins with four commands, the last of them the addition, and no file is edited in between."""
    first, second = blocks()[:2]
    verbs = [command.split()[1] for command in (*commands(first), *commands(second))]
    assert verbs == ["devnet", "run", "create", "add"]
