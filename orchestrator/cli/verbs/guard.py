"""Verbs that stand between a node and its enclave: guard, rescue."""

import asyncio
import json as json_lines
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.display.output import Exit, compact_json, fail, quieten
from orchestrator.cli.verbs.run import load

Config = Annotated[
    Path | None, typer.Option("--config", help="The configuration file; may stand before the command as well.")
]

app = typer.Typer(
    help="Keep harmful additions from a node.\n\nIt stands between node and enclave: histories of additions that "
    "would halt the node, or throw it back, are not found. Without a command it guards until SIGTERM or SIGINT, and "
    "prints `ready ADDRESS`: Besu's --privacy-url.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@app.callback()
def guard(context: typer.Context, config: options.ConfigFile = options.DEFAULT_CONFIG) -> None:
    """Guard a node until a signal ends it."""
    context.obj = config
    if context.invoked_subcommand is not None:
        return
    loaded = load(config)
    from orchestrator.app.daemon import stopping_on_signals
    from orchestrator.app.hardening import keep_memory_private
    from orchestrator.config import ConfigError
    from orchestrator.engine.ports.store import StoreError
    from orchestrator.guard.service import GuardError, running_guard
    from orchestrator.log import configure_logging

    configure_logging(loaded.log.level, loaded.log.format)
    # Its keys and its token are in it. The umask stays as it is: the record of decisions may be for others to read.
    keep_memory_private()

    async def until_stopped() -> None:
        stopping = asyncio.Event()
        with stopping_on_signals(stopping):
            async with running_guard(loaded) as running:
                typer.echo(f"ready {running.address}" + (f" {running.status}" if running.status else ""))
                await stopping.wait()

    try:
        asyncio.run(until_stopped())
    except (ConfigError, GuardError) as error:
        raise fail(str(error), Exit.USAGE) from None
    except (StoreError, OSError) as error:
        raise fail(str(error)) from None


@app.command()
def approve(
    context: typer.Context,
    group: options.GroupId,
    owner: Annotated[str, typer.Option(help="The account that owns the group.", metavar="ADDRESS")],
    member: Annotated[
        list[str] | None,
        typer.Option(help="A member that the group has before the addition; none given: anybody.", metavar="KEY"),
    ] = None,
    last_root: Annotated[
        str, typer.Option(help="The group's state root under the lock, as an existing member shows it.", metavar="ROOT")
    ] = "",
    config: Config = None,
) -> None:
    """Agree to be added to a group, for `guard.accept = "asked"`."""
    loaded = load(config or context.obj)
    from orchestrator.besu.codec.identifiers import (
        InvalidIdentifierError,
        enclave_key_to_bytes,
        normal_address,
        normal_hash,
        privacy_group_id_to_bytes,
    )
    from orchestrator.membership.guard.received_bundles import Approval
    from orchestrator.store.guard.approvals import ApprovalFile, InvalidApprovalsError

    try:
        privacy_group_id_to_bytes(group)
        for key in member or ():
            enclave_key_to_bytes(key)
        approval = Approval(
            privacy_group_id=group,
            owner=normal_address(owner),
            members=None if not member else frozenset(member),
            last_root=normal_hash(last_root) if last_root else "",
        )
    except InvalidIdentifierError as error:
        raise fail(str(error), Exit.USAGE) from None
    try:
        ApprovalFile(loaded.guard.approvals_file).add(approval)
    except (InvalidApprovalsError, OSError) as error:
        raise fail(str(error)) from None
    typer.echo(f"approved: {loaded.guard.approvals_file}")


@app.command()
def decisions(context: typer.Context, config: Config = None, json: options.AsJson = False) -> None:
    """Show what the guard decided, oldest first."""
    loaded = load(config or context.obj)
    from orchestrator.store.guard.decisions import DecisionFile, document_of

    for decided in DecisionFile(loaded.guard.decisions_file).all():
        if json:
            typer.echo(json_lines.dumps(document_of(decided)))
            continue
        said = decided.decision
        detail = f": {said.detail}" if said.detail else ""
        group = decided.privacy_group_id or "an unreadable group"
        typer.echo(f"{decided.at:%Y-%m-%d %H:%M:%S} {said.outcome.value} {group} ({said.slug}){detail}")


def rescue(
    node: Annotated[str, typer.Option(help="JSON-RPC of the node that stands still.", metavar="URL")],
    enclave: Annotated[str, typer.Option(help="Its enclave's address for Besu.", metavar="URL")],
    neighbour: Annotated[
        list[str],
        typer.Option(help="JSON-RPC of another node of the chain; may be given several times.", metavar="URL"),
    ],
    listen: Annotated[
        str, typer.Option(help="Where the node shall find its enclave: host:port on loopback, or unix:/path.")
    ] = "127.0.0.1:8889",
    token_file: Annotated[
        Path | None, typer.Option(help="File with the node's JWT.", dir_okay=False, exists=True)
    ] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait until the node is past the block.", min=1)] = 3_600.0,
    look: Annotated[
        float, typer.Option(help="Seconds in which a node that moves is not one that stands.", min=0.01, max=600)
    ] = 10.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say why it stands and what would be done; do nothing.")
    ] = False,
    json: options.AsJson = False,
) -> None:
    """Bring back a node that stands still before an addition.

    Says why it stands, and stands between it and its enclave until it is past. Exit code 0: it is past and all its
    other groups agree with their members, or with --dry-run such an addition was found; 1: it is something else, or a
    group differs.
    """
    from orchestrator.cli.verbs.rescue import RescueAims, RescueError, rescued
    from orchestrator.config.values import check_guard_listen, check_http_url

    try:
        for url in (node, enclave, *neighbour):
            check_http_url(url)
        check_guard_listen(listen)
    except ValueError as error:
        raise fail(str(error), Exit.USAGE) from None
    aims = RescueAims(
        node=node,
        enclave=enclave.rstrip("/"),
        neighbours=tuple(neighbour),
        listen=listen,
        token_file=token_file,
        wait_seconds=wait,
        look_seconds=look,
        dry_run=dry_run,
    )
    quieten()
    tell = (lambda _line: None) if json else typer.echo
    try:
        report = asyncio.run(rescued(aims, tell))
    except (RescueError, OSError) as error:
        raise fail(str(error)) from None
    if json:
        typer.echo(compact_json(report.document))
    raise typer.Exit(Exit.DONE if report.done else Exit.FAILED)
