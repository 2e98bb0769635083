"""``orchestrator rehearse``: tries an addition and a removal on one's own nodes before the real thing."""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.display.output import Exit, fail, on_terminal, quieten, say
from orchestrator.cli.verbs.run import load

if TYPE_CHECKING:
    from orchestrator.cli.rehearsal.course import Rehearser, TimedNode
    from orchestrator.cli.rehearsal.report import Rehearsal
    from orchestrator.config import Config, NodeConfig

LEAST_MEMBERS = 2
MOST_TRANSACTIONS = 10_000
MOST_BLOCKS = 1_000_000


def rehearse(
    members: Annotated[
        list[str] | None,
        typer.Option(help="Nodes, separated by commas; the last is added.  [default: all]", metavar="NAMES"),
    ] = None,
    transactions: Annotated[
        int, typer.Option(help="How many the scratch group gets.", min=1, max=MOST_TRANSACTIONS, metavar="N")
    ] = 200,
    days: Annotated[float, typer.Option(help="Days of blocks to read.", min=0, max=365, metavar="DAYS")] = 2.0,
    blocks: Annotated[
        int, typer.Option(help="Blocks to read at the most.", min=1, max=MOST_BLOCKS, metavar="N")
    ] = 20_000,
    directory: Annotated[
        Path, typer.Option("--directory", "-d", help="Where rehearsal.md and rehearsal.json go.", file_okay=False)
    ] = Path(),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it begins.")] = False,
    config: options.ConfigFile = options.DEFAULT_CONFIG,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Try an addition on a scratch group: is this network fit?

    It makes a group, fills it, adds the last member, removes it again, and measures. No daemon is needed. The group
    stays behind, unlocked. Exit code 0: fit; 1: not fit; 3: the forecast refused the addition."""
    loaded = load(config)
    chosen = _chosen(loaded, members)
    if not loaded.accounts:
        raise fail("no account is configured: [[accounts]] names the one that is to own the scratch group", Exit.USAGE)
    _confirm(chosen, transactions, yes=yes)
    quieten()
    from orchestrator.app import AccountError
    from orchestrator.besu.client.signer_ports import SignerError
    from orchestrator.cli.rehearsal.report import as_document, as_markdown
    from orchestrator.config import ConfigError

    try:
        found, refused = asyncio.run(rehearsed(loaded, chosen, transactions, days, blocks, say))
    except (AccountError, ConfigError, SignerError) as error:
        raise fail(str(error)) from None
    document = json.dumps(as_document(found), indent=2, ensure_ascii=False)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "rehearsal.md").write_text(as_markdown(found), "utf-8")
        (directory / "rehearsal.json").write_text(document + "\n", "utf-8")
    except OSError as error:
        say(f"the report can't be written to {directory}: {error.strerror}")
    typer.echo(document if json_ else as_markdown(found).rstrip())
    raise typer.Exit(Exit.DONE if found.fit else Exit.PARKED if refused else Exit.FAILED)


def _chosen(config: "Config", names: Sequence[str] | None) -> "list[NodeConfig]":
    known = {node.name: node for node in config.nodes}
    wanted = [name for text in names or () for name in text.split(",") if name] or list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise fail(f"no node is called {', '.join(unknown)}; there are {', '.join(known)}", Exit.USAGE)
    if len(set(wanted)) != len(wanted) or len(wanted) < LEAST_MEMBERS:
        raise fail("--members: name at least two nodes, each once; the last one is added to the others", Exit.USAGE)
    return [known[name] for name in wanted]


def _confirm(chosen: "list[NodeConfig]", transactions: int, *, yes: bool) -> None:
    if yes:
        return
    first, last = ", ".join(node.name for node in chosen[:-1]), chosen[-1].name
    said = (
        f"This makes a group on {first}, writes {transactions:,} private transactions to it, and adds {last}. The "
        f"group stays behind, and {last} counts as a node that has replayed one: additions are better sent through "
        "others then."
    )
    if not on_terminal():
        raise fail(f"{said} Give --yes to begin.", Exit.USAGE)
    say(said)
    typer.confirm("Begin?", abort=True)


async def rehearsed(
    config: "Config",
    chosen: "Sequence[NodeConfig]",
    transactions: int,
    days: float,
    most_blocks: int,
    tell: Callable[[str], None],
) -> "tuple[Rehearsal, bool]":
    """Rehearse; returns what was seen, and whether the forecast refused the addition.

    Args:
        config: The configuration.
        chosen: The members' nodes, the sender's first and the new member's last.
        transactions: How many the scratch group gets.
        days: How many days of blocks are read.
        most_blocks: How many blocks at the most.
        tell: Told each step.

    Raises:
        AccountError, SignerError: The owner's key can't be had.
    """
    from orchestrator.app.configured.accounts import opened_account
    from orchestrator.app.configured.node_access import NodeLines, connect_nodes
    from orchestrator.besu.client.groups import FlexiblePrivacyGroups
    from orchestrator.besu.errors import BesuError
    from orchestrator.cli.rehearsal.course import Rehearser, TimedNode
    from orchestrator.cli.rehearsal.report import Rehearsal, remarks_on
    from orchestrator.cli.rehearsal.scan import scan
    from orchestrator.cli.verbs.doctor import examine
    from orchestrator.doctor.findings import Level
    from orchestrator.engine.history.forecaster import Forecaster
    from orchestrator.engine.nodes.fleet import Fleet
    from orchestrator.engine.nodes.watcher import ChainWatcher
    from orchestrator.engine.runtime.clock import SystemClock
    from orchestrator.guard.histories import MemoryHistories
    from orchestrator.outside_text import sentence

    names = tuple(node.name for node in chosen)
    async with AsyncExitStack() as stack:
        signer = await stack.enter_async_context(opened_account(config.accounts[0]))
        lines = NodeLines(stack)
        nodes = [TimedNode((await lines.reach(node)).http, name=node.name, version=node.version) for node in chosen]
        tell("asking the doctor")
        findings = [f for f in await examine(config) if f.node in names and f.level in (Level.ERROR, Level.WARNING)]
        worst = tuple(f"{f.node}, {f.check}: {sentence(f.what)} {f.remedy}" for f in findings if f.level is Level.ERROR)
        found = Rehearsal(members=names, versions=await _versions(nodes), troubles=worst)
        # Nothing was made yet, and nothing stays behind.
        if worst:
            return found, False
        tell("reading blocks")
        try:
            found = replace(found, scan=await scan(nodes[0], days=days, most_blocks=most_blocks))
        except BesuError as error:
            return replace(found, troubles=(f"the newest blocks can't be read: {error}",)), False
        by_http = tuple(node.model_copy(update={"ws": None}) for node in chosen)
        clock = SystemClock()
        fleet = Fleet([ChainWatcher(node, clock, timedelta(seconds=1)) for node in await connect_nodes(stack, by_http)])
        keys = [node.enclave_keys[0] for node in chosen]
        running = Rehearser(
            nodes=nodes,
            keys=keys,
            groups=FlexiblePrivacyGroups(
                nodes[0], signer, keys[0], gas_price=config.chain.gas_price, poll_seconds=_POLL_SECONDS
            ),
            fleet=fleet,
            forecaster=Forecaster(fleet, MemoryHistories()),
            transactions=transactions,
            gas_price=config.chain.gas_price,
            tell=tell,
        )
        await running.run()
        remarks = tuple(f"{f.node}, {f.check}: {f.what}" for f in findings)
        return (
            replace(
                found,
                privacy_group_id=running.group,
                course=running.course,
                troubles=(running.trouble,) if running.trouble else (),
                remarks=remarks_on(found.scan, running.course) + remarks,
                left=await _left(running),
            ),
            running.refused,
        )


_POLL_SECONDS = 0.1


async def _versions(nodes: "Sequence[TimedNode]") -> tuple[str, ...]:
    from orchestrator.besu.errors import BesuError
    from orchestrator.membership.besu_lines import dotted

    found = []
    for node in nodes:
        try:
            found.append(dotted(await node.version()))
        except BesuError:
            found.append("?")
    return tuple(found)


async def _left(running: "Rehearser") -> tuple[str, ...]:
    """Say what stays behind, and whether the group is unlocked as it should be."""
    from orchestrator.besu.errors import BesuError

    if not running.group:
        return ("Nothing.",)
    found = [f"The scratch group {running.group}, which nothing can delete; no application knows it."]
    sender, newcomer = running.nodes[0], running.nodes[-1]
    try:
        locked = await sender.group_lock(running.group, await sender.head_number())
        view = await newcomer.group_view(running.group)
    except BesuError as error:
        return (*found, f"Whether it is locked is not known, for {error}")
    found.append("It is unlocked." if not locked else "It is LOCKED; that harms nothing but itself.")
    if view.exists:
        found.append(
            f"{newcomer.name} has replayed a group: it is no longer one of those whose bundles are whole whatever "
            "happens. Send additions of its groups through other members' nodes where you can."
        )
    return tuple(found)
