"""``orchestrator audit --deep``: all groups that the nodes hold, and their past. Changes nothing on the chain.

What is read of histories goes into the store, when one is configured; else into a database that is thrown away.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from orchestrator.app import store_url
from orchestrator.app.configured.node_access import connect_nodes
from orchestrator.cli.display.output import Exit, fail, quieten, stdout_console
from orchestrator.cli.known_groups import MOST_GROUPS, is_unmade
from orchestrator.config import Config, ConfigError, load_config
from orchestrator.engine.audit.deep_audit import MOST_CALLS, DeepAudit, DeepReport
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.membership.damage.findings import DamageFinding, Severity, finding_data
from orchestrator.membership.damage.unextendable import WatchTally
from orchestrator.store.commits.database import Database
from orchestrator.store.commits.schema_version import migrate
from orchestrator.store.stores.block_watch_store import SqlWatchRecord
from orchestrator.store.stores.change_store import SqlChangeStore
from orchestrator.store.stores.history_store import SqlHistoryStore
from orchestrator.store.stores.outbox_store import SqlOutbox

CHECKPOINT: Final = "deep-audit"

_STYLES: Final = {Severity.DAMAGE: "bold red", Severity.DANGER: "yellow", Severity.NOTE: "cyan"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepResult:
    """What there is to show.

    Attributes:
        report: What the audit saw.
        tally: What the daemon's watch saw of the network's blocks.
        calls: JSON-RPC calls that it took.
    """

    report: DeepReport
    tally: WatchTally
    calls: int

    @property
    def damaged(self) -> bool:
        """Whether members differ or a node stands still, or nothing could be looked at."""
        found = any(finding.severity is Severity.DAMAGE for finding in self.report.findings)
        return found or self.report.block_number is None


def audit(*, config: Path, as_json: bool) -> None:
    """Look at everything once; exit code 1 when there is damage, or when nothing could be looked at."""
    quieten()
    try:
        with _progress(shown=sys.stderr.isatty() and not as_json) as on_progress:
            result = asyncio.run(examine(load_config(config), on_progress=on_progress))
    except ConfigError as error:
        raise fail(str(error), Exit.USAGE) from None
    except StoreError as error:
        raise fail(str(error)) from None
    if as_json:
        typer.echo(as_document(result))
    else:
        show(result, stdout_console())
    raise typer.Exit(Exit.FAILED if result.damaged else Exit.DONE)


async def examine(
    config: Config,
    *,
    on_progress: Callable[[int, int, str], None] = lambda _done, _all, _group: None,
    most_calls: int = MOST_CALLS,
) -> DeepResult:
    """Return what a deep audit sees; one that ran out of calls is gone on with.

    Args:
        config: The configuration.
        on_progress: Told the groups done, all groups, and the next group.
        most_calls: JSON-RPC calls that it may take, about.

    Raises:
        StoreError: The store can't be read or written.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(_database(config))
        outbox = SqlOutbox(database)
        before = await outbox.checkpoint(CHECKPOINT)
        groups = await SqlChangeStore(database, clock).groups(limit=MOST_GROUPS)
        _, tally = await SqlWatchRecord(database).watched()
        # One look needs no news of blocks, and a WebSocket for each node would only be opened and closed.
        by_http = tuple(node.model_copy(update={"ws": None}) for node in config.nodes)
        nodes = await connect_nodes(stack, by_http)
        fleet = Fleet([ChainWatcher(node, clock, timedelta(seconds=1)) for node in nodes])

        def calls() -> int:
            return sum(node.counts.calls for node in nodes)

        looking = DeepAudit(
            fleet, SqlHistoryStore(database), calls=calls, on_progress=on_progress, most_calls=most_calls
        )
        report = await looking.run(groups, after=before.detail if before is not None else "")
        # Where it ran out of calls the next one goes on, so that also a large network is seen whole in time.
        await outbox.save_checkpoint(CHECKPOINT, position=0, detail=report.reached)
        return DeepResult(report=report, tally=tally, calls=calls())


@asynccontextmanager
async def _database(config: Config) -> AsyncIterator[Database]:
    url = store_url(config)
    if not is_unmade(url):
        async with Database(url) as database:
            yield database
        return
    with tempfile.TemporaryDirectory(prefix="orchestrator-audit-") as folder:
        temporary = f"sqlite:///{folder}/histories.db"
        await asyncio.to_thread(migrate, temporary)
        async with Database(temporary) as database:
            yield database


@contextmanager
def _progress(*, shown: bool) -> Iterator[Callable[[int, int, str], None]]:
    """Give what shows how far the audit is, on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=sys.stderr), disable=not shown, transient=True) as progress:
        task = progress.add_task("groups", total=None)

        def advance(done: int, of: int, group: str) -> None:
            progress.update(task, completed=done, total=of, description=group or "groups")

        yield advance


def as_document(result: DeepResult) -> str:
    """Return what was seen as one JSON document."""
    report = result.report
    document = {
        "damaged": result.damaged,
        "block_number": report.block_number,
        "groups": report.groups,
        "blocks": report.blocks,
        "account_twice": report.account_twice,
        "watched_blocks": result.tally.blocks,
        "watched_account_twice": result.tally.account_twice,
        "repeated_additions": result.tally.repeated,
        "calls": result.calls,
        "findings": [finding_data(finding) for finding in report.findings],
        "left_out": list(report.left_out),
        "skipped_nodes": dict(report.skipped),
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def show(result: DeepResult, console: Console) -> None:
    """Show what was seen: the findings, worst first, what was not looked at, and a summary."""
    report = result.report
    for finding in report.findings:
        _show(finding, console)
    for name, why in report.skipped.items():
        console.print(f"node {name} was not looked at: {why}", markup=False)
    if report.left_out:
        left = f"{len(report.left_out)} groups were left out: there were no calls left. Run it again: it goes on there"
        console.print(left, markup=False)
    if report.block_number is None:
        console.print("nothing was looked at: no node answers")
        return
    counts = ", ".join(f"{sum(f.severity is s for f in report.findings)} {s.value}" for s in Severity)
    console.print(f"block {report.block_number}: {report.groups} groups: {counts}; {result.calls} calls")
    pairs = f"{report.account_twice} of {report.blocks} blocks of these groups have an account twice"
    tally = result.tally
    if tally.blocks:
        pairs += f"; of all blocks that the daemon watched {tally.account_twice} of {tally.blocks}"
        pairs += f"; {tally.repeated} old additions were sent again" if tally.repeated else ""
    console.print(pairs)


def _show(finding: DamageFinding, console: Console) -> None:
    about = f"group {finding.privacy_group_id}" if finding.privacy_group_id else "network"
    where = "".join(
        part
        for part in (
            f", node {finding.node}" if finding.node else "",
            f", block {finding.block_number}" if finding.block_number is not None else "",
        )
    )
    title = f"{finding.severity.value}: {finding.damage.value.replace('_', ' ')}: {about}{where}"
    console.print(title, style=_STYLES[finding.severity], markup=False)
    if finding.members:
        console.print(f"  members: {', '.join(finding.members)}", markup=False)
    console.print(f"  seen: {finding.detail}", markup=False)
    console.print(f"  what to do: {finding.repair}", markup=False)
    if finding.never:
        console.print(f"  {finding.never}", style="bold", markup=False)
