"""Where the server programs are on this machine."""

import os
import pwd
import shutil
import sys
from pathlib import Path


class ProgramMissingError(Exception):
    """A program that tests need is not installed."""


def find_program(*names: str, also_in: tuple[Path, ...] = ()) -> str:
    """Path of the first of ``names`` found in ``also_in``, then on the PATH.

    Raises ProgramMissingError, which says how to install it, when none is there.
    """
    path = os.pathsep.join([*map(str, also_in), os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    msg = f"{' or '.join(names)} not found: run `make setup`, which installs the servers that the tests need"
    raise ProgramMissingError(msg)


def nats_server() -> str:
    """Debian's NATS server where present, else the one that the Python package brings into the environment."""
    debian = Path("/usr/sbin/nats-server")
    return str(debian) if debian.exists() else find_program("nats-server", also_in=(Path(sys.executable).parent,))


def postgresql(name: str) -> str:
    """A program of the newest PostgreSQL installed the Debian way, else from the PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    return find_program(name, also_in=tuple(reversed(versions)))


def rabbitmq_server() -> str:
    """RabbitMQ's own start script; Debian's wrapper on the PATH insists on the user ``rabbitmq``."""
    return find_program("rabbitmq-server", also_in=(Path("/usr/lib/rabbitmq/bin"),))


def kafka_jars() -> Path:
    """The folder with Kafka's jars."""
    folder = Path(__file__).parent / "kafka" / "jars"
    if not (folder / ".installed").exists():
        msg = f"{folder} is missing: run `make setup`, which installs the servers that the tests need"
        raise ProgramMissingError(msg)
    return folder


def chromium() -> str:
    """A Chromium that Playwright can drive."""
    return find_program("chromium", "chromium-browser", "google-chrome")


def web3js_quorum() -> Path:
    """The folder from which ``node`` finds the JavaScript client ``web3js-quorum`` and its ``web3``."""
    folder = Path(__file__).parents[1] / "clients" / "web3js-quorum"
    if not (folder / "node_modules").is_dir():
        msg = f"{folder}/node_modules is missing: run `make setup`, which installs the client"
        raise ProgramMissingError(msg)
    return folder


def interop() -> Path:
    """The folder of others' clients: for ``node``, in ``.venv`` those in Python, in ``go`` those in Go."""
    folder = Path(__file__).parents[1] / "clients" / "interop"
    if not ((folder / "node_modules").is_dir() and (folder / "go" / "bin" / ".installed").exists()):
        msg = f"clients are missing in {folder}: run `make setup`, which installs them"
        raise ProgramMissingError(msg)
    return folder


def unprivileged_user() -> str | None:
    """Return whom a server runs as that refuses to run as root; None when the tests don't run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
