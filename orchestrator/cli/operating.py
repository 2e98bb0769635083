"""Verbs of an operator: retry, cancel, dead-letters."""

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.output import print_json, stdout_console, with_daemon

if TYPE_CHECKING:
    from orchestrator.api.documents import DeadLetterPage
    from orchestrator.cli.client import DaemonClient


def retry(change: options.ChangeId, url: options.Url = options.DEFAULT_URL, json: options.AsJson = False) -> None:
    """Try a parked change again, from the beginning."""
    _amend(change, "retry", url, json)


def cancel(change: options.ChangeId, url: options.Url = options.DEFAULT_URL, json: options.AsJson = False) -> None:
    """Cancel a change that is still queued, or parked."""
    _amend(change, "cancel", url, json)


def dead_letters(
    replay: Annotated[
        list[str] | None,
        typer.Option(help="Put this letter back among the requests; may be repeated.", metavar="LETTER"),
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=500)] = 50,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """List messages that could not be accepted, with the reason; or replay them."""

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
    from orchestrator.cli.tables import dead_letters_table

    return stdout_console().print(dead_letters_table(page))


def _amend(change_id: str, verb: str, url: str, as_json: bool) -> None:
    change = with_daemon(url, lambda client: client.amend(change_id, verb))
    if as_json:
        return print_json(change)
    return typer.echo(f"{change.change_id} {change.state.value}")
