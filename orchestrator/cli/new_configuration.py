"""A new configuration: the commented file, and the files that it names, written with the modes that they need."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILE_NAME: Final = "orchestrator.toml"
KEY_FILE_NAME: Final = "owner.key"
DEFAULT_LISTEN: Final = "127.0.0.1:8080"


class NewConfigurationError(Exception):
    """A configuration can't be written; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEntry:
    """One ``[[nodes]]`` of the file.

    Attributes:
        name, http: As in the configuration.
        ws: Its WebSocket address; None when there is none.
        enclave_keys: What its enclave hosts.
        token_file: File with its token; None without.
        besu_version: Its version, where it does not say it itself.
        comment: What was seen of it.
    """

    name: str
    http: str
    enclave_keys: tuple[str, ...]
    ws: str | None = None
    token_file: str | None = None
    besu_version: str | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountEntry:
    """One ``[[accounts]]`` of the file: a key file, or a keystore and its password.

    Attributes:
        address: The account.
        key_file, keystore, password_file: As in the configuration.
        comment: What to know about it.
    """

    address: str
    key_file: str | None = None
    keystore: str | None = None
    password_file: str | None = None
    comment: str = ""


def configuration_text(
    nodes: Iterable[NodeEntry],
    accounts: Iterable[AccountEntry],
    *,
    listen: str = DEFAULT_LISTEN,
    block_period_seconds: float | None = None,
) -> str:
    """Return the file: every value that matters at the start, each with what it is for."""
    parts = [
        "# All keys: docs/configuration.md. Relative paths start at the folder of this file.",
        "",
        "[store]",
        'url = "sqlite:///orchestrator.db"  # or postgresql://user@host/database, for several replicas',
        "",
        "[broker]",
        'url = "embedded:"                  # a NATS server is started for you; or nats://…, amqp://… (RabbitMQ), kafka://…',
        'data_dir = "broker"',
        "",
        "[api]",
        f"listen = {_quoted(listen)}  # HTTP, dashboard and command line; loopback only",
        "",
        "[chain]",
        "confirmations = 0  # raise it on a chain that can reorganise",
    ]
    if block_period_seconds is not None:
        parts.append(f"block_period_seconds = {block_period_seconds}  # between two blocks; forecasts rest on it")
    for node in nodes:
        parts += ["", *_comment(node.comment), "[[nodes]]", f"name = {_quoted(node.name)}"]
        parts.append(f"http = {_quoted(node.http)}")
        if node.ws is not None:
            parts.append(f"ws = {_quoted(node.ws)}")
        parts.append(f"enclave_keys = [{', '.join(map(_quoted, node.enclave_keys))}]")
        parts += _given("token_file", node.token_file) + _given("besu_version", node.besu_version)
    for account in accounts:
        parts += ["", *_comment(account.comment), "[[accounts]]", f"address = {_quoted(account.address)}"]
        parts += _given("key_file", account.key_file)
        parts += _given("keystore", account.keystore) + _given("password_file", account.password_file)
    return "\n".join(parts) + "\n"


def write_files(directory: Path, files: Sequence[tuple[str, str, int]]) -> tuple[Path, ...]:
    """Write new files into a directory, which is made when it is missing; what is there with the same text is kept.

    Args:
        directory: The directory; made with mode 0700, since keys will be in it.
        files: Name, text and mode of each.

    Raises:
        NewConfigurationError: A file is there with another text, or can't be written. Nothing is overwritten.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = {name for name, text, _ in files if _is_there(directory / name, text)}
        for name, text, mode in files:
            if name not in kept:
                _write(directory / name, text, mode)
    except OSError as error:
        raise NewConfigurationError(f"{error.filename}: can't be written: {error.strerror}") from error
    return tuple(directory / name for name, _, _ in files)


def _is_there(path: Path, text: str) -> bool:
    """Return whether a file has this text already.

    Raises:
        NewConfigurationError: It has another one.
    """
    try:
        same = path.read_text("utf-8") == text
    except FileNotFoundError:
        return False
    except UnicodeDecodeError:
        same = False
    if not same:
        raise NewConfigurationError(
            f"{path} is there already, with another text, and is not overwritten: name another directory, or move it"
        )
    return True


def _write(path: Path, text: str, mode: int) -> None:
    # Made with its mode, and only when nothing is there: a secret is never readable by others, not for a moment.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _comment(text: str) -> list[str]:
    return [f"# {text}"] if text else []


def _given(name: str, value: str | None) -> list[str]:
    return [] if value is None else [f"{name} = {_quoted(value)}"]


def _quoted(text: str) -> str:
    """Return a basic string of TOML, which has JSON's escapes."""
    return json.dumps(text, ensure_ascii=False)
