"""Verbs of an operator: retry, cancel, dead-letters."""

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.display.output import Exit, exit_code, on_terminal, print_json, say, stdout_console, with_daemon

if TYPE_CHECKING:
    from orchestrator.api.documents.changes import ChangeDocument
    from orchestrator.api.documents.shared import DeadLetterPage
    from orchestrator.cli.display.words import Words
    from orchestrator.client import DaemonClient


def retry(
    change: options.ChangeId,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it to its end.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why, for the audit log.", metavar="TEXT")] = None,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """Try a parked change again."""
    from orchestrator.cli.display.live_progress import follow, goes_on, quiet, shown

    asked: list[ChangeDocument] = []

    async def work(client: "DaemonClient") -> "ChangeDocument":
        change_id, words = await _meant(client, change)
        asked.append(await client.amend(change_id, "retry", reason))
        if not wait:
            return asked[-1]
        return await follow(client, asked[-1], quiet() if json else shown(words))

    found = with_daemon(url, work, lambda: goes_on(asked[-1] if asked else None))
    _print(found, as_json=json)
    raise typer.Exit(exit_code(found.state.value) if wait else Exit.DONE)


def cancel(
    change: options.ChangeId,
    reason: Annotated[str | None, typer.Option(help="Why, for whoever reads the change later.", metavar="TEXT")] = None,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """Cancel a change, or close a parked one.

    One that is at work is given up: what can still be mined is taken back, a lock of ours undone. What is in the group
    already stays, and the change parks.
    """

    async def work(client: "DaemonClient") -> "ChangeDocument":
        change_id, _ = await _meant(client, change)
        return await client.amend(change_id, "cancel", reason)

    _print(with_daemon(url, work), as_json=json)


async def _meant(client: "DaemonClient", text: str) -> "tuple[str, Words]":
    from orchestrator.cli.references import references

    known = await references(client, full=not on_terminal())
    change_id = await known.change(text)
    known.check()
    return change_id, known.words


def _print(change: "ChangeDocument", *, as_json: bool) -> None:
    if as_json:
        return print_json(change)
    return typer.echo(f"{change.change_id} {change.state.value}")


def dead_letters(
    replay: Annotated[
        list[str] | None,
        typer.Option(help="Put this letter back among the requests; may be repeated.", metavar="LETTER"),
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=500)] = 50,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """List what could not be accepted, or replay it."""

    async def again(client: "DaemonClient") -> None:
        for letter in replay or ():
            await client.replay(letter)
            if not json:
                typer.echo(f"{letter} is among the requests again")

    async def oldest(client: "DaemonClient") -> "DeadLetterPage":
        return await client.dead_letters(limit)

    if replay:
        return with_daemon(url, again)
    page = with_daemon(url, oldest)
    if json:
        return print_json(page)
    if not page.dead_letters:
        return say("no message was refused")
    from orchestrator.cli.display.tables import dead_letters_listing

    return dead_letters_listing(page).print_on(stdout_console())
