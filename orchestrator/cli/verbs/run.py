"""Verbs that set up or run something: init, run, migrate, devnet, doctor, audit, markers, demo."""

import asyncio
import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.display.output import Exit, compact_json, fail

if TYPE_CHECKING:
    from orchestrator.config import Config


def init(
    directory: Annotated[
        Path, typer.Option("--directory", "-d", help="Where the files go; made when missing.", file_okay=False)
    ] = Path(),
    node: Annotated[
        list[str] | None,
        typer.Option(help="A node and its address; may be repeated.", metavar="NAME=URL", show_default=False),
    ] = None,
    enclave_key: Annotated[
        list[str] | None,
        typer.Option(help="The public key of its enclave, or the file that holds it.", metavar="NAME=KEY"),
    ] = None,
    ws: Annotated[
        list[str] | None,
        typer.Option(help="Its WebSocket address, when it is not the port behind.", metavar="NAME=URL"),
    ] = None,
    token_file: Annotated[list[str] | None, typer.Option(help="The file with its token.", metavar="NAME=FILE")] = None,
    new_account: Annotated[bool, typer.Option("--new-account", help="Make a new account, which is to own groups.")] = (
        False
    ),
    key_file: Annotated[
        Path | None, typer.Option(help="The owner's private key, in a file of mode 0600.", metavar="FILE")
    ] = None,
    keystore: Annotated[Path | None, typer.Option(help="The owner's keystore (version 3).", metavar="FILE")] = None,
    password_file: Annotated[Path | None, typer.Option(help="The keystore's password.", metavar="FILE")] = None,
    listen: Annotated[str, typer.Option(help="Where the daemon is to listen.", metavar="HOST:PORT")] = "127.0.0.1:8080",
) -> None:
    """Write a configuration for your nodes.

    They are asked what they are; on a terminal it asks for what the options leave open; the doctor has the last word.
    """
    from orchestrator.cli.verbs.init import Answers, enclave_keys, named
    from orchestrator.cli.verbs.init import init as write

    write(
        Answers(
            directory=directory,
            nodes=named("--node", node or ()),
            enclave_keys=enclave_keys(enclave_key or ()),
            ws=named("--ws", ws or ()),
            token_files={name: Path(file) for name, file in named("--token-file", token_file or ()).items()},
            key_file=key_file,
            keystore=keystore,
            password_file=password_file,
            new_account=new_account,
            listen=listen,
        )
    )


def run(
    config: options.ConfigFile = options.DEFAULT_CONFIG,
    migrate: Annotated[bool, typer.Option("--migrate", help="Bring the database up to date first.")] = False,
) -> None:
    """Run the daemon.

    It runs until SIGTERM or SIGINT. Prints `ready ADDRESS` once it takes requests."""
    # Modules are no garbage: looking for some while they load is a sixth of the start, until `settle_interpreter`.
    gc.disable()
    loaded = load(config)
    from orchestrator.app.hardening import harden_process
    from orchestrator.log import configure_logging

    # Both before anything else: migrating tells what it does, and whatever is made from here on is closed to others.
    configure_logging(loaded.log.level, loaded.log.format)
    harden_process()
    if migrate:
        _migrated(loaded)
    _ended_with(loaded)


def migrate(config: options.ConfigFile = options.DEFAULT_CONFIG, json: options.AsJson = False) -> None:
    """Make the database, or bring it up to date."""
    version = _migrated(load(config))
    typer.echo(compact_json({"version": version}) if json else f"the database is at version {version}")


def doctor(
    config: options.ConfigFile = options.DEFAULT_CONFIG,
    head_within: Annotated[
        float, typer.Option(help="Seconds in which a WebSocket must deliver a head.", min=1, max=120)
    ] = 15.0,
    json: options.AsJson = False,
) -> None:
    """Check nodes, enclaves, accounts and database.

    Exit code 0 when nothing is worse than a warning."""
    from orchestrator.cli.verbs.doctor import doctor as examine

    examine(config=config, as_json=json, head_within=head_within)


def audit(
    config: options.ConfigFile = options.DEFAULT_CONFIG,
    deep: Annotated[
        bool, typer.Option("--deep", help="Look at the groups' past, too: what can't be extended, who must not send.")
    ] = False,
    json: options.AsJson = False,
) -> None:
    """Compare the members of all groups on their nodes.

    Exit code 1 when some differ or none could be compared."""
    if deep:
        from orchestrator.cli.verbs.deep_audit import audit as look

        return look(config=config, as_json=json)
    from orchestrator.cli.verbs.audit import audit as examine

    return examine(config=config, as_json=json)


def markers(config: options.ConfigFile = options.DEFAULT_CONFIG, json: options.AsJson = False) -> None:
    """List the accounts that sign markers.

    They are those of [markers]: to be permitted, and funded where gas costs.
    """
    from orchestrator.app.assembly import keys_of_markers
    from orchestrator.besu.client.signer_ports import SignerError

    try:
        addresses = list(keys_of_markers(load(config).markers))
    except SignerError as error:
        raise fail(str(error), Exit.USAGE) from None
    if json:
        typer.echo(compact_json({"accounts": addresses}))
    elif addresses:
        typer.echo("\n".join(addresses))
    else:
        typer.echo("Each marker is signed by an account of its own that is used once: markers.seed_file is not set.")


def devnet(context: typer.Context) -> None:
    """Run emulated Besu nodes and enclaves."""
    from orchestrator.cli.verbs.devnet import run as serve

    serve(context.args)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running afterwards, until Ctrl-C.")] = False,
    directory: Annotated[
        Path | None, typer.Option(help="Keep the configuration, logs and database here.", file_okay=False)
    ] = None,
) -> None:
    """Show the main job on emulated nodes.

    A member is added to a group with a history, and proven in sync.
    """
    from orchestrator.cli.demo.main_job import run_demo

    raise typer.Exit(run_demo(keep=keep, directory=directory))


def load(path: Path) -> "Config":
    """Return the configuration, or end the program with one line for each mistake."""
    from orchestrator.config import ConfigError, load_config

    try:
        return load_config(path)
    except ConfigError as error:
        # All at once: who mends one mistake should not have to start again to hear of the next.
        for problem in error.problems[:-1]:
            fail(problem)
        raise fail(error.problems[-1], Exit.USAGE) from None


def _migrated(config: "Config") -> str:
    from orchestrator.app import store_url
    from orchestrator.config import ConfigError
    from orchestrator.engine.ports.store import StoreError
    from orchestrator.store.commits.schema_version import migrate as bring_up

    try:
        return bring_up(store_url(config))
    except ConfigError as error:
        raise fail(str(error), Exit.USAGE) from None
    except StoreError as error:
        raise fail(str(error)) from None


def _ended_with(config: "Config") -> None:
    from orchestrator.app import AccountError, run_daemon
    from orchestrator.app.daemon import stopping_on_signals
    from orchestrator.besu.client.signer_ports import SignerError
    from orchestrator.config import ConfigError
    from orchestrator.engine.nodes.chain_guard import OtherChainError
    from orchestrator.engine.ports.queues import BrokerError
    from orchestrator.engine.ports.store import StoreError

    async def until_stopped() -> None:
        stopping = asyncio.Event()
        with stopping_on_signals(stopping):
            await run_daemon(config, stopping, lambda address: _say_ready(address, config))

    try:
        asyncio.run(until_stopped())
    except (AccountError, ConfigError, SignerError) as error:
        raise fail(str(error), Exit.USAGE) from None
    except (StoreError, BrokerError, OtherChainError, OSError) as error:
        raise fail(str(error)) from None


def _say_ready(address: str, config: "Config") -> None:
    typer.echo(f"ready {address}")
    typer.echo(f"dashboard {address}/  API {address}/docs")
    from orchestrator.outside_text import LONGEST_TEXT, redacted

    queue = redacted(config.broker.url, LONGEST_TEXT)
    if queue == "embedded:":
        queue = f"embedded NATS, its address is in {config.broker.data_dir / 'url'}"
    typer.echo(f"queue {queue}")
    for node in config.nodes:
        typer.echo(f"node {node.name} {node.http}")
    for account in config.accounts:
        typer.echo(f"account {account.address}")
