"""The quick start, run as it is written, in a directory of its own."""

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.acceptance.conftest import ENCLAVE_KEYS, process, wait_until
from tests.patience import patient
from tests.servers.ports import consecutive_ports, free_port

DOCUMENT = Path(__file__).parents[2] / "docs" / "quickstart.md"
EXAMPLES = DOCUMENT.parent / "examples"
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
        own = f"devnet --base-port {self.base} --block-period 0.5 --listen 127.0.0.1:{self.port} --write-config"
        return text.replace("devnet --write-config", own).replace("127.0.0.1:20000", f"127.0.0.1:{self.base}")

    def start(self, command: str) -> None:
        """Start what keeps running, and wait until it says ``ready``."""
        program, *arguments = shlex.split(self.adapted(command.removesuffix("&")))
        assert program == "orchestrator"
        log = self.directory / f"{arguments[0]}.log"
        self._stack.enter_context(process(arguments, log, cwd=self.directory))
        wait_until("ready", lambda: "\nready" in "\n" + log.read_text())

    def read(self, path: str) -> str:
        """Return what the daemon answers."""
        with urllib.request.urlopen(self.environment["ORCHESTRATOR_URL"] + path, timeout=patient(20)) as response:  # noqa: S310 - HTTP on loopback
            text: str = response.read().decode()
        return text

    def run(self, text: str) -> str:
        """Run a block of commands in a shell that stops at the first that fails; returns what it printed."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.adapted(text)],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=patient(WAIT_SECONDS),
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
    wait_until("the removal", lambda: "remove_members" in terminal.read("/v1/changes?state=succeeded"))
    the_examples_work(terminal, group)
    times = json.loads(terminal.read(f"/v1/changes/{addition}"))["times"]
    assert {time["quantity"] for time in times} == {"bundling", "lock", "replay"}
    assert all(time["taken_seconds"] is not None and time["expected_seconds"] is not None for time in times)
    own = terminal.directory / "own"
    assert {file.name: file.stat().st_mode & 0o777 for file in own.iterdir()} == {
        "orchestrator.toml": 0o644,
        "owner.key": 0o600,
    }


def the_examples_work(terminal: Terminal, group: str) -> None:
    """The examples do what they say, on the same network: sets, a pause while it is locked, the queue, JavaScript."""
    url, python = terminal.environment["ORCHESTRATOR_URL"], sys.executable
    with subprocess.Popen(
        [python, str(EXAMPLES / "pause_while_locked.py"), group, url], stdout=subprocess.PIPE, text=True
    ) as pausing:
        assert pausing.stdout is not None
        assert pausing.stdout.readline() == "writing\n"
        keys = " ".join(ENCLAVE_KEYS)
        assert terminal.run(f"{python} {EXAMPLES}/desired_members.py {url} {group} {keys}").startswith("succeeded")
        assert pausing.communicate(timeout=patient(WAIT_SECONDS))[0].split("\n") == ["paused", "writing again", ""]
    first, second = terminal.run(f"sh {EXAMPLES}/ask.sh {url} remove_members {group} {ENCLAVE_KEYS[2]}").splitlines()
    assert json.loads(first)["change_id"] == json.loads(second)["change_id"]
    asked = terminal.run(f"node {EXAMPLES}/ask.js {url} set_members {group} {keys}").strip()
    assert asked in terminal.read("/v1/changes")
    went = terminal.run(f"{python} {EXAMPLES}/add_and_remove.py {url} {keys}").splitlines()
    assert [line.strip() for line in went] == [
        "create_group succeeded",
        "forecast safe",
        "add_members succeeded",
        "remove_members succeeded",
        "left 2",
    ]
    queue = (terminal.directory / "trial" / "broker" / "url").read_text().strip()
    told = terminal.run(f"{python} {EXAMPLES}/through_the_queue.py {queue} set_members {group} {keys}").splitlines()
    assert (told[0], told[-1]) == ("membership.change.accepted.v1", "membership.change.succeeded.v1")
    seen = terminal.run(f"node {EXAMPLES}/watch.js {url} membership.change.succeeded.v1")
    assert seen.splitlines()[-1] == f"membership.change.succeeded.v1 {group}"


def test_four_commands_lead_to_a_proven_addition() -> None:
    """The document begins with four commands, the last of them the addition, and no file is edited in between."""
    first, second = blocks()[:2]
    verbs = [command.split()[1] for command in (*commands(first), *commands(second))]
    assert verbs == ["devnet", "run", "create", "add"]
