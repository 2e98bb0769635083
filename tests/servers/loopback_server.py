"""A server program that tests start on loopback: bounded waits, its own directory, ended by the id that was started."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Generic, Self, TypeVar

from tests.patience import patient, within
from tests.servers.ports import free_port

_POLL_SECONDS = 0.02
_KILL_SECONDS = 10.0
_LOG_TAIL_LINES = 30


class ServerStartError(Exception):
    """The server did not answer in time, or ended while starting; the message carries the end of its log."""


class _Guard:
    """Kills what a killed test run would leave behind.

    One small shell waits on a pipe whose other end only this process holds. Each server's id is written to it when the
    server starts and struck out when it has ended; when the pipe closes, however the test run ended, the shell kills
    the ids still listed.
    """

    _SCRIPT = """
    running=' '
    while read -r verb id; do
        case $verb in
            started) running="$running$id " ;;
            ended) running="${running%% "$id" *} ${running#* "$id" }" ;;
        esac
    done
    for id in $running; do kill -KILL "$id" 2>/dev/null; done
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shell: subprocess.Popen[bytes] | None = None

    def tell(self, verb: str, process_id: int) -> None:
        with self._lock:
            if self._shell is None:
                self._shell = subprocess.Popen(
                    ["sh", "-c", self._SCRIPT], stdin=subprocess.PIPE, start_new_session=True
                )
            assert self._shell.stdin is not None
            self._shell.stdin.write(f"{verb} {process_id}\n".encode())
            self._shell.stdin.flush()

    def close(self) -> None:
        with self._lock:
            if self._shell is not None:
                self._shell.communicate(timeout=patient(_KILL_SECONDS))
                self._shell = None


guard = _Guard()


class LoopbackServer(ABC):
    """One server process with its own temporary directory and port, both kept over ``stop``, ``kill`` and ``restart``.

    Every method blocks until what it says has happened; from a coroutine call it with ``asyncio.to_thread``.
    """

    name: str
    start_seconds: float
    stop_seconds: float = 10.0
    stop_signal: signal.Signals = signal.SIGTERM

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """The program and its arguments; the process it starts must be the server itself, not a wrapper."""

    def is_ready(self) -> bool:
        """Whether the server answers its own protocol now; at the least it accepts connections."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def environment(self) -> dict[str, str]:
        """Environment of the server."""
        return dict(os.environ)

    def run_as(self) -> str | None:
        """Name of the user that the server runs as; None for the present one."""
        return None

    @property
    def log_path(self) -> Path:
        """File with everything that the server printed."""
        return self.directory / "server.log"

    @property
    def process_id(self) -> int:
        """Id of the running server process."""
        if self._process is None:
            msg = f"{self.name} is not running: start() it first"
            raise RuntimeError(msg)
        return self._process.pid

    def is_running(self) -> bool:
        """Whether the process that was started still lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and wait until it answers; does nothing when it runs already.

        Raises ServerStartError when it ends early or does not answer within ``start_seconds``, on a machine of its own.
        """
        if self.is_running():
            return
        self._forget()  # one that ended by itself: its id may be another process's by now
        user = self.run_as()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
        guard.tell("started", self._process.pid)
        for _ in within(self.start_seconds):
            if self.is_ready():
                return
            if self._process.poll() is not None:
                code = self._process.returncode
                self._forget()
                raise ServerStartError(self._explain(f"ended with code {code} while starting"))
            time.sleep(_POLL_SECONDS)
        self.kill()
        raise ServerStartError(self._explain(f"did not answer within {self.start_seconds:g} s"))

    def stop(self) -> None:
        """Ask the server to end and wait; kills it when it takes longer than ``stop_seconds``."""
        if self._process is None:
            return
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(patient(self.stop_seconds))
        except subprocess.TimeoutExpired:
            self.kill()
        else:
            self._forget()

    def kill(self) -> None:
        """End the server and its children at once with SIGKILL, as a power cut would."""
        if self._process is None:
            return
        if not self.is_running():
            # Nobody asked for it: whoever reads why a test failed wants to know.
            sys.stderr.write(self._explain(f"had ended by itself, with code {self._process.returncode}") + "\n")
            self._forget()
            return
        self.pause()  # what stands has no more children while they are counted
        ended = self._signal_tree(signal.SIGKILL)
        self._process.wait(patient(_KILL_SECONDS))
        # Its children die a moment later, and until then they hold what the next start wants: PostgreSQL refuses to
        # start beside sessions of the server before.
        for _ in within(_KILL_SECONDS):
            if not any(map(_lives, ended)):
                break
            time.sleep(_POLL_SECONDS)
        self._forget()

    def restart(self) -> None:
        """Stop and start again, on the same port and data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the server: connections stay open and nothing answers, until ``resume``."""
        # A thread that runs on another processor goes on for a moment after the signal was sent, and may start a child.
        for _ in within(_KILL_SECONDS):
            tree = self._signal_tree(signal.SIGSTOP)
            if all(map(_stands, tree)) and tree == self._tree():
                return
            time.sleep(_POLL_SECONDS)

    def resume(self) -> None:
        """Let a paused server go on."""
        self._signal_tree(signal.SIGCONT)

    def close(self) -> None:
        """Kill the server and remove its directory."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _signal_tree(self, number: signal.Signals) -> list[int]:
        """Send a signal to the server and its children; returns their ids."""
        tree = self._tree()
        for process_id in tree:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, number)
        return tree

    def _tree(self) -> list[int]:
        # Once it is known to have ended its id may be another process's.
        return [self.process_id, *_descendants(self.process_id)] if self.is_running() else []

    def _forget(self) -> None:
        if self._process is not None:
            guard.tell("ended", self._process.pid)
            self._process = None

    def _explain(self, what: str) -> str:
        lines = self.log_path.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        return f"{self.name} {what}; the end of its log:\n" + "\n".join(lines)


ServerT = TypeVar("ServerT", bound=LoopbackServer)


class LoopbackCluster(Generic[ServerT]):
    """Servers that know each other: started in order, and all ended, whichever still runs.

    Attributes:
        servers: They.
    """

    servers: Sequence[ServerT]

    def __enter__(self) -> Self:
        self._stack = contextlib.ExitStack()
        for server in self.servers:
            self._stack.enter_context(server)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _stands(process_id: int) -> bool:
    return _states(process_id) <= {"T", "t", "Z", "X"}


def _lives(process_id: int) -> bool:
    return not _states(process_id) <= {"Z", "X"}


def _states(process_id: int) -> set[str]:
    """Return what the threads of a process do; nothing when there is none any more."""
    states = set[str]()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in Path(f"/proc/{process_id}/task").glob("*/stat"):
            states.add(thread.read_text().rpartition(")")[2].split()[0])
    return states


def _descendants(process_id: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for children in Path(f"/proc/{process_id}/task").glob("*/children"):
            for child in children.read_text().split():
                found += [int(child), *_descendants(int(child))]
    return found
