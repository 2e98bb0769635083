"""The demo's environment: three emulated nodes, the embedded queue and the daemon, each as an operator runs it."""

import random
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.broker.connection import connect as connect_broker
from orchestrator.broker.nats.embedded import embedded_url
from orchestrator.broker.port import Broker
from orchestrator.cli.demo.processes import orchestrator_process
from orchestrator.cli.new_configuration import (
    FILE_NAME,
    KEY_FILE_NAME,
    AccountEntry,
    NodeEntry,
    configuration_text,
    write_files,
)
from orchestrator.client import DaemonClient, connect
from orchestrator.devnet.accounts import DEVELOPMENT_KEYS, enclave_key_of

MEMBERS: Final = 3
BESU_VERSION: Final = "23.10.3"
BLOCK_PERIOD_SECONDS: Final = 1.0
REPLAY_MS_PER_TRANSACTION: Final = 12.0
CHAIN_ID: Final = 1337

OWNER: Final = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"

_PORTS: Final = range(20_000, 30_000, 2 * MEMBERS)
_PORT_TRIES: Final = 100


class EnvironmentSetupError(Exception):
    """The demo can't be set up on this machine."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Everything that the demo acts on.

    Attributes:
        members: Enclave keys of the three members.
        nodes: HTTP addresses of their nodes.
        daemon: The daemon's HTTP API.
        address: Where that is.
        queue: The message queue.
        directory: Where configuration, logs and data are.
    """

    members: tuple[str, ...]
    nodes: tuple[str, ...]
    daemon: DaemonClient
    address: str
    queue: Broker
    directory: Path


def members_by_name() -> dict[str, tuple[str]]:
    """Return the members' enclave keys by the name of their node."""
    return {f"member{number}": (enclave_key_of(number),) for number in range(1, MEMBERS + 1)}


@asynccontextmanager
async def set_up(directory: Path) -> AsyncIterator[Environment]:
    """Start everything; it is ended when the context is left.

    Args:
        directory: An existing directory for configuration, logs and data.

    Raises:
        EnvironmentSetupError: No ports are free.
        ProcessError: A process did not start.
        BrokerError: The message queue does not answer.
    """
    first_port = free_ports(2 * MEMBERS)
    nodes = tuple(f"http://127.0.0.1:{first_port + 2 * index}" for index in range(MEMBERS))
    config = _write_configuration(directory, first_port)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            orchestrator_process(directory / "devnet.log", "devnet", *_devnet_options(first_port))
        )
        address = await stack.enter_async_context(
            orchestrator_process(directory / "daemon.log", "run", "--config", str(config), "--migrate")
        )
        queue = await stack.enter_async_context(
            connect_broker(embedded_url(directory / "broker"), directory=directory / "broker")
        )
        await queue.check()
        daemon = await stack.enter_async_context(connect(address))
        yield Environment(
            members=tuple(key for (key,) in members_by_name().values()),
            nodes=nodes,
            daemon=daemon,
            address=address,
            queue=queue,
            directory=directory,
        )


def free_ports(count: int) -> int:
    """Return the first of so many consecutive ports on 127.0.0.1 that nothing listens on now.

    Raises:
        EnvironmentSetupError: None were found.
    """
    chance = random.SystemRandom()
    for _ in range(_PORT_TRIES):
        first = chance.choice(_PORTS)
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise EnvironmentSetupError(f"no {count} free ports were found on 127.0.0.1 from {_PORTS.start} on")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers bind: a port whose last connection has just ended is free to them.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _devnet_options(first_port: int) -> list[str]:
    options = {
        "--nodes": MEMBERS,
        "--validators": MEMBERS,
        "--base-port": first_port,
        "--block-period": BLOCK_PERIOD_SECONDS,
        "--besu-version": BESU_VERSION,
        "--replay-ms-per-transaction": REPLAY_MS_PER_TRANSACTION,
    }
    return [text for name, value in options.items() for text in (name, str(value))]


def _write_configuration(directory: Path, first_port: int) -> Path:
    nodes = [
        NodeEntry(
            name=f"member{number}",
            http=f"http://127.0.0.1:{first_port + 2 * (number - 1)}",
            ws=f"ws://127.0.0.1:{first_port + 2 * (number - 1) + 1}",
            enclave_keys=(enclave_key_of(number),),
        )
        for number in range(1, MEMBERS + 1)
    ]
    text = configuration_text(nodes, [AccountEntry(address=OWNER, key_file=KEY_FILE_NAME)], listen="127.0.0.1:0")
    # `write_files` overwrites nothing.
    for name in (KEY_FILE_NAME, FILE_NAME):  # of an earlier demo in the same place: its ports are others
        (directory / name).unlink(missing_ok=True)
    files = ((KEY_FILE_NAME, DEVELOPMENT_KEYS[OWNER] + "\n", 0o600), (FILE_NAME, text, 0o644))
    return write_files(directory, files)[-1]
