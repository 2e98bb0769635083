"""Verbs that keep what the daemon knows: backup and restore."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.display.output import Exit, compact_json, fail
from orchestrator.cli.verbs.run import load

if TYPE_CHECKING:
    from orchestrator.store.copies.backup import BackupFacts

MARKED_BY_PITR = "restore it with PostgreSQL's own tools, then run `orchestrator restore` without a file"


def backup(
    file: Annotated[Path, typer.Argument(help="The new file.", metavar="FILE", dir_okay=False, show_default=False)],
    config: options.ConfigFile = options.DEFAULT_CONFIG,
    json: options.AsJson = False,
) -> None:
    """Copy the database into one file, and check it.

    The daemon may run meanwhile. For PostgreSQL it says the command that does it."""
    url = _store_url(config)
    from orchestrator.engine.ports.store import StoreError
    from orchestrator.store.copies.backup import back_up, by_other_tools

    command = by_other_tools(url, file, restoring=False)
    if command is not None:
        raise fail(f"the store is in PostgreSQL, which backs up by itself: {command}", Exit.USAGE)
    try:
        facts = back_up(url, file)
    except StoreError as error:
        raise fail(str(error)) from None
    _say(facts, f"backed up to {file}", {"file": str(file)}, as_json=json)


def restore(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="A backup; none where the database was restored already.",
            metavar="FILE",
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    config: options.ConfigFile = options.DEFAULT_CONFIG,
    json: options.AsJson = False,
) -> None:
    """Put a backup in the database's place, or prepare one that was.

    No daemon may run. What the chain went through since the backup, the daemon
    finds out when it starts: nothing is done twice. The database that was there
    is kept beside it."""
    url = _store_url(config)
    from orchestrator.engine.ports.store import StoreError
    from orchestrator.store.copies.backup import by_other_tools, copied_beside, examine, put_back, require_unused
    from orchestrator.store.copies.restored_database import prepare

    now = datetime.now(UTC)
    if file is not None and (command := by_other_tools(url, file, restoring=True)) is not None:
        raise fail(f"the store is in PostgreSQL: {MARKED_BY_PITR}. From a dump: {command}", Exit.USAGE)
    try:
        if file is None:
            if by_other_tools(url, Path(), restoring=True) is None:
                require_unused(url)
            block = prepare(url, now, alone=False)
            typer.echo(compact_json({"block": block}) if json else f"prepared; the chain is known up to block {block}")
            return
        facts = examine(file)
        require_unused(url)
        # Prepared in its own file: until it takes the place in one step, what is there is the database as it was.
        copy = copied_beside(url, file)
        block = prepare(f"sqlite:///{copy}", now, alone=True)
        kept = put_back(url, copy, now)
    except StoreError as error:
        raise fail(str(error)) from None
    where = "" if kept is None else f"; what was there is in {kept}"
    done = f"restored from {file}, the chain is known up to block {block}{where}"
    _say(facts, done, {"block": block, "kept": None if kept is None else str(kept)}, as_json=json)


def _say(facts: "BackupFacts", text: str, more: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        counted = {"changes": facts.changes, "unfinished": facts.unfinished, "size_bytes": facts.size_bytes}
        return typer.echo(compact_json({**more, **counted, "version": facts.revision}))
    return typer.echo(
        f"{text}: {facts.changes} changes, {facts.unfinished} of them unfinished; {facts.size_bytes >> 10} KiB, sound"
    )


def _store_url(config: Path) -> str:
    from orchestrator.app import store_url
    from orchestrator.config import ConfigError

    try:
        return store_url(load(config))
    except ConfigError as error:
        raise fail(str(error), Exit.USAGE) from None
