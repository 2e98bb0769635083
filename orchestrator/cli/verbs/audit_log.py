"""Verbs about the audit log: list, export, verify."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.display.output import Exit, compact_json, fail, print_json, say, stdout_console, with_daemon

if TYPE_CHECKING:
    from orchestrator.api.resources.audit_log import AuditDocument
    from orchestrator.client import DaemonClient

app = typer.Typer(
    help="The audit log: who asked for what, with what outcome.", no_args_is_help=True, rich_markup_mode=None
)

PAGE = 500

Local = Annotated[bool, typer.Option("--local", help="Read the store of --config, without a daemon.")]
After = Annotated[int, typer.Option("--after", help="Only entries behind the one of this number.", min=0)]


@app.command("list")
def listing(
    after: After = 0,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=PAGE)] = 50,
    local: Local = False,
    config: options.ConfigFile = options.DEFAULT_CONFIG,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """List entries, the oldest first."""
    found = _page(after, limit, config if local else None, url)
    if json:
        from orchestrator.api.resources.audit_log import AuditPage

        return print_json(AuditPage(entries=found))
    if not found:
        return say("there is no entry")
    from orchestrator.cli.display.tables import audit_listing

    return audit_listing(found).print_on(stdout_console())


@app.command("export")
def export(
    after: After = 0,
    local: Local = False,
    config: options.ConfigFile = options.DEFAULT_CONFIG,
    url: options.Url = options.DEFAULT_URL,
) -> None:
    """Print all entries as JSON lines, the oldest first."""
    for entry in _entries(after, PAGE, config if local else None, url):
        typer.echo(entry.model_dump_json())


@app.command("verify")
def verify(
    archives: Annotated[
        list[Path] | None,
        typer.Argument(help="Files of the archive, or its folder; any order.", metavar="ARCHIVE", exists=True),
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(help="An entry's hash that was noted earlier; may be repeated.", metavar="NUMBER:HASH"),
    ] = None,
    local: Local = False,
    config: options.ConfigFile = options.DEFAULT_CONFIG,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """Make sure that log and archives are as they were written.

    Exit code 1 when an entry was changed, removed or put in. Note the number and hash that it prints: only they tell
    later that the end was cut off. Without ARCHIVE only what is in the store is looked at.
    """
    from orchestrator.access.audit_chain import ChainCheck
    from orchestrator.api.resources.audit_log import entry_of
    from orchestrator.cli.audit_archives import archived_entries

    wanted = _expected(expect or ())
    check = ChainCheck()
    for entry in archived_entries(archives or ()):
        _trouble(check.take(entry))
    for document in _entries(0, PAGE, config if local else None, url):
        _trouble(check.take(entry_of(document)))
    _trouble(check.end())
    for number, noted in sorted(wanted.items()):
        # The first entry holds the hash of the one before it, which can be compared as well.
        if number < check.first - 1:
            raise fail(f"entry {number} was archived: name the files of the archive, to look for it there")
        if number > check.newest:
            raise fail(f"the audit log ends with entry {check.newest}: entry {number}, which was noted, is gone")
        if check.hash_of(number) != noted:
            raise fail(f"the audit log is not the one that was noted: entry {number} has another hash")
    entries = check.newest - check.first + 1 if check.first else 0
    if json:
        found = {"entries": entries, "first": check.first, "newest": check.newest, "entry_hash": check.newest_hash}
        return typer.echo(compact_json(found))
    start = f", from {check.first} on" if check.first > 1 else ""
    return typer.echo(f"{entries} entries{start}, unbroken; note the newest: {check.newest}:{check.newest_hash}")


def _trouble(found: str | None) -> None:
    if found is not None:
        raise fail(f"the audit log is not as it was written: {found}")


def _expected(texts: Sequence[str]) -> dict[int, str]:
    found: dict[int, str] = {}
    for text in texts:
        number, _, noted = text.partition(":")
        if not number.isascii() or not number.isdigit() or len(noted) != 64:
            raise fail(f"--expect {text[:100]}: must be a number, a colon and 64 hexadecimal digits", Exit.USAGE)
        found[int(number)] = noted.lower()
    return found


def _entries(after: int, page: int, config: Path | None, url: str) -> "Iterator[AuditDocument]":
    """Yield entries, a page at a time."""
    while found := _page(after, page, config, url):
        yield from found
        after = found[-1].number


def _page(after: int, limit: int, config: Path | None, url: str) -> "list[AuditDocument]":
    if config is not None:
        from orchestrator.cli.verbs.local_store import audit_page

        return audit_page(config, after, limit)

    async def ask(client: "DaemonClient") -> "list[AuditDocument]":
        return (await client.audit_log(after=after, limit=limit)).entries

    return with_daemon(url, ask)
