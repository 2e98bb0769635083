"""``orchestrator audit``: do the members of each group still agree? Reads nodes and store, changes nothing."""

import asyncio
import json
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import typer
from rich.console import Console

from orchestrator.app.configured.node_access import connect_nodes
from orchestrator.cli.display.output import Exit, fail, quieten, stdout_console
from orchestrator.cli.known_groups import known_groups, parted_members
from orchestrator.config import Config, ConfigError, load_config
from orchestrator.engine.audit.comparison import AuditReport
from orchestrator.engine.audit.comparison import audit as compare_members
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.membership.damage.divergence import Comparison, divergence_data

MOST_CALLS = 100_000
"""Nobody waits for a daemon's next turn here, so all groups are compared."""


def audit(*, config: Path, as_json: bool) -> None:
    """Compare the members of all groups once; exit code 1 when some differ, or when nothing could be compared."""
    quieten()
    try:
        report = asyncio.run(examine(load_config(config)))
    except ConfigError as error:
        raise fail(str(error), Exit.USAGE) from None
    except StoreError as error:
        raise fail(str(error)) from None
    if as_json:
        typer.echo(as_document(report))
    else:
        show(report, stdout_console())
    raise typer.Exit(Exit.FAILED if report.differing or report.block_number is None else Exit.DONE)


async def examine(config: Config) -> AuditReport:
    """Return what an audit of all groups that nodes list or the store knows sees.

    Raises:
        StoreError: The store can't be read.
    """
    clock = SystemClock()
    groups, parted = await known_groups(config) or (), await parted_members(config)
    async with AsyncExitStack() as stack:
        # One look needs no news of blocks, and a WebSocket for each node would only be opened and closed.
        by_http = tuple(node.model_copy(update={"ws": None}) for node in config.nodes)
        nodes = await connect_nodes(stack, by_http)
        fleet = Fleet([ChainWatcher(node, clock, timedelta(seconds=1)) for node in nodes])
        return await compare_members(
            fleet, groups, parted=parted, confirmations=config.chain.confirmations, most_calls=MOST_CALLS
        )


def as_document(report: AuditReport) -> str:
    """Return a report as one JSON document."""
    document = {
        "agree": not report.differing and report.block_number is not None,
        "block_number": report.block_number,
        "calls": report.calls,
        "groups": [
            {
                "privacy_group_id": comparison.privacy_group_id,
                "agree": comparison.agrees,
                "compared": list(comparison.compared),
                "unobserved": [key for key in comparison.participants if key not in comparison.compared],
                **divergence_data(comparison),
            }
            for comparison in report.comparisons
        ],
        "left_out": list(report.left_out),
        "skipped_nodes": dict(report.skipped),
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def show(report: AuditReport, console: Console) -> None:
    """Show a report: what differs, what could not be compared, and a summary."""
    for comparison in report.differing:
        _show_difference(comparison, console)
    for name, why in report.skipped.items():
        console.print(f"node {name} was not compared: {why}", markup=False)
    if report.left_out:
        console.print(f"{len(report.left_out)} groups were left out: there were no calls left", markup=False)
    if report.block_number is None:
        console.print("nothing was compared: it takes two nodes that answer, at about the same block")
        return
    alone = sum(len(comparison.compared) < 2 for comparison in report.comparisons)
    agreeing = len(report.comparisons) - len(report.differing) - alone
    counts = f"{agreeing} agree, {len(report.differing)} differ, {alone} with one member that can be seen"
    console.print(f"block {report.block_number}: {len(report.comparisons)} groups: {counts}; {report.calls} calls")


def _show_difference(comparison: Comparison, console: Console) -> None:
    group = comparison.privacy_group_id
    for members in comparison.namesakes:
        console.print(f"group {group}: another group has this id, too", style="bold red", markup=False)
        console.print(f"  its members: {', '.join(members)}", markup=False)
        console.print("  what to do: use another id for one of them; neither can be added to the other", markup=False)
    if not comparison.differing:
        return
    since = f" since block {comparison.first_block}" if comparison.first_block is not None else ""
    console.print(f"group {group}: members differ{since}", style="bold red", markup=False)
    if comparison.undecided:
        console.print("  the state roots can't tell which of them is right: change none of them yet", markup=False)
    else:
        console.print(f"  reference {comparison.reference}: state root {comparison.state_root}", markup=False)
    for standing, verdict in comparison.differing:
        root = standing.view.state_root or "none"
        how = "another state:" if comparison.undecided and standing.view.exists else verdict.value
        console.print(f"  {how} {standing.enclave_key} on {standing.node}: state root {root}", markup=False)
        for pmt_hash in comparison.lacking.get(standing.enclave_key, ()):
            console.print(f"    lacks the private receipt of marker transaction {pmt_hash}", markup=False)
    console.print("  what to do: docs/operations.md, Members that no longer agree", markup=False)
