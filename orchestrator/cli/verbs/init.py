"""``orchestrator init``: asks the nodes what they are and writes a configuration for them."""

import asyncio
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import typer
from rich.console import Console

from orchestrator.besu.client.signer_ports import SignerError
from orchestrator.besu.client.signers import signer_from_key, signer_from_key_file, signer_from_keystore
from orchestrator.besu.codec.identifiers import InvalidIdentifierError, enclave_key_to_bytes
from orchestrator.cli.display.findings import show
from orchestrator.cli.display.output import Exit, fail, quieten
from orchestrator.cli.first_look import Look, look_at
from orchestrator.cli.new_configuration import (
    FILE_NAME,
    KEY_FILE_NAME,
    AccountEntry,
    NewConfigurationError,
    NodeEntry,
    configuration_text,
    write_files,
)
from orchestrator.cli.verbs.doctor import examine
from orchestrator.config import ConfigError, load_config
from orchestrator.doctor.findings import is_healthy

_LONGEST_KEY_FILE: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What the options say, and then what was asked for.

    Attributes:
        directory: Where the files go.
        nodes: HTTP addresses by name.
        enclave_keys: Keys by node's name.
        ws: WebSocket addresses by node's name.
        token_files: Files with tokens by node's name.
        key_file, keystore, password_file: The owner's key; a new one is made without.
        new_account: Whether a new account is made without a question.
        listen: Where the daemon is to listen.
    """

    directory: Path
    nodes: Mapping[str, str]
    enclave_keys: Mapping[str, tuple[str, ...]]
    ws: Mapping[str, str]
    token_files: Mapping[str, Path]
    key_file: Path | None = None
    keystore: Path | None = None
    password_file: Path | None = None
    new_account: bool = False
    listen: str


def init(given: Answers) -> None:
    """Write a configuration and end with the doctor's verdict on it; wrong options end the program with 2."""
    path = given.directory / FILE_NAME
    if path.exists():
        raise fail(f"{path} is there already; name another place with --directory, or move it away", Exit.USAGE)
    if _on_terminal():
        given = _asked_for(given)
    problems = _problems(given)
    if problems:
        raise _several(problems)
    quieten()
    # Before anything is written: what would not work is not left behind as a configuration.
    looks = asyncio.run(look_at(given.nodes, given.ws, given.token_files))
    problems = [f"{look.name}: {look.trouble}" for look in looks if look.trouble]
    if problems:
        raise _several(problems)
    for look in looks:
        typer.echo(look.words)
    account, files = _account(given)
    nodes = [_entry(look, given) for look in looks]
    try:
        text = configuration_text(nodes, [account], listen=given.listen, block_period_seconds=looks[0].period_seconds)
        # The key first: a configuration that names it is there only when it is.
        written = write_files(given.directory, [*files, (FILE_NAME, text, 0o644)])
    except NewConfigurationError as error:
        raise fail(str(error), Exit.USAGE) from None
    for file in written:
        typer.echo(f"wrote {file}")
    _verdict(path)


def _on_terminal() -> bool:
    return sys.stdin.isatty()


def _asked_for(given: Answers) -> Answers:
    """Ask on the terminal for what the options leave open."""
    nodes, keys = dict(given.nodes), dict(given.enclave_keys)
    if not nodes:
        typer.echo("Your own members' nodes, one after the other; an empty address ends the list.")
        while address := typer.prompt(
            f"Address of node {len(nodes) + 1}",
            default="http://127.0.0.1:8545" if not nodes else "",
            show_default=not nodes,
        ):
            name = typer.prompt("  its name", default=f"member{len(nodes) + 1}")
            nodes[name] = address
    for name in nodes:
        if name not in keys:
            said = typer.prompt(f"Public key of the enclave of {name} (base64, or the file that holds it)")
            keys[name] = (_enclave_key(said),)
    has_account = given.new_account or given.key_file is not None or given.keystore is not None
    key_file = given.key_file
    if not has_account:
        said = typer.prompt("File with the owner's private key (empty: make a new account)", default="")
        key_file = Path(said) if said else None
    return replace(given, nodes=nodes, enclave_keys=keys, key_file=key_file, new_account=key_file is None)


def _problems(given: Answers) -> list[str]:
    """Return everything that is missing or wrong before a node is asked."""
    problems = []
    if not given.nodes:
        problems.append("--node: name your nodes, such as --node member1=http://127.0.0.1:8545")
    problems += [
        f"--enclave-key: none for {name}; give --enclave-key {name}=KEY (or the file that holds it)"
        for name in given.nodes
        if name not in given.enclave_keys
    ]
    for option, named in (
        ("--enclave-key", given.enclave_keys),
        ("--ws", given.ws),
        ("--token-file", given.token_files),
    ):
        problems += [f"{option}: there is no node {name}" for name in named if name not in given.nodes]
    for name, keys in given.enclave_keys.items():
        for key in keys:
            try:
                enclave_key_to_bytes(key)
            except InvalidIdentifierError:
                problems.append(
                    f"--enclave-key: {key[:60]!r} of {name} is neither an enclave's public key (base64 of 32 or 91 "
                    "bytes) nor a file that holds one"
                )
    ways = [given.new_account, given.key_file is not None, given.keystore is not None]
    if sum(ways) != 1:
        problems.append("--new-account, --key-file, --keystore: give one of them, for the account that owns the groups")
    if (given.keystore is None) != (given.password_file is None):
        problems.append("--keystore and --password-file: give both")
    return problems


def _account(given: Answers) -> tuple[AccountEntry, list[tuple[str, str, int]]]:
    """Return the account and the files to write for it."""
    try:
        if given.key_file is not None:
            signer = signer_from_key_file(given.key_file)
            return AccountEntry(address=signer.address, key_file=str(given.key_file.resolve())), []
        if given.keystore is not None and given.password_file is not None:
            signer = signer_from_keystore(given.keystore, given.password_file)
            return (
                AccountEntry(
                    address=signer.address,
                    keystore=str(given.keystore.resolve()),
                    password_file=str(given.password_file.resolve()),
                ),
                [],
            )
    except SignerError as error:
        raise fail(str(error), Exit.USAGE) from None
    key = secrets.token_bytes(32).hex()
    comment = f"A new account; {KEY_FILE_NAME} is the only copy of its key: keep one elsewhere."
    entry = AccountEntry(address=signer_from_key(key).address, key_file=KEY_FILE_NAME, comment=comment)
    return entry, [(KEY_FILE_NAME, key + "\n", 0o600)]


def _entry(look: Look, given: Answers) -> NodeEntry:
    token = given.token_files.get(look.name)
    return NodeEntry(
        name=look.name,
        http=look.http,
        ws=look.ws,
        enclave_keys=given.enclave_keys[look.name],
        token_file=None if token is None else str(token.resolve()),
        comment=look.comment,
    )


def _verdict(path: Path) -> None:
    """Let the doctor look at what was written, and say what comes next."""
    try:
        config = load_config(path)
    except ConfigError as error:
        raise _several(error.problems) from None
    findings = asyncio.run(examine(config))
    show(findings, Console(file=sys.stdout, highlight=False))
    if not is_healthy(findings):
        raise fail(
            f"{path} is written; mend what the doctor found, then look again: orchestrator doctor --config {path}"
        )
    typer.echo(f"next: orchestrator run --config {path} --migrate")


def _several(problems: Sequence[str]) -> typer.Exit:
    for problem in problems[:-1]:
        fail(problem)
    return fail(problems[-1], Exit.USAGE)


def named(option: str, given: Sequence[str]) -> dict[str, str]:
    """Return NAME=VALUE options as a mapping; the first ``=`` counts, since keys and addresses hold others.

    An entry without a name is called member1, member2, … by its place.
    """
    found: dict[str, str] = {}
    for place, item in enumerate(given, start=1):
        name, separator, value = item.partition("=")
        if not separator or not name or not all(c.isalnum() or c in "._-" for c in name):
            name, value = f"member{place}", item
        if name in found:
            raise fail(f"{option}: {name} is given twice", Exit.USAGE)
        found[name] = value
    return found


def enclave_keys(given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return NAME=KEY options as keys by node; a key may be the path of a file that holds it.

    Entries without a name are those of member1, member2, … by their place.
    """
    found: dict[str, tuple[str, ...]] = {}
    for place, item in enumerate(given, start=1):
        name, separator, value = item.partition("=")
        # A key itself ends with "=": a name stands before a key or a path, which is never empty.
        if not separator or not value.strip("="):
            name, value = f"member{place}", item
        found[name] = (*found.get(name, ()), _enclave_key(value))
    return found


def _enclave_key(text: str) -> str:
    """Return a key, read from a file where the text names one."""
    text = text.strip()
    try:
        enclave_key_to_bytes(text)
    except InvalidIdentifierError:
        try:
            with Path(text).open("rb") as file:
                return file.read(_LONGEST_KEY_FILE).decode("ascii").strip()
        except (OSError, ValueError):
            return text  # told with all other mistakes
    return text
