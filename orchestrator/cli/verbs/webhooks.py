"""``orchestrator webhooks``: how far each webhook is, and steering them."""

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.display.output import Exit, print_json, say, stdout_console, with_daemon

if TYPE_CHECKING:
    from orchestrator.api.documents.webhooks import TriedDocument, WebhookDocument, WebhooksDocument
    from orchestrator.client import DaemonClient

app = typer.Typer(help="Look how far webhooks are, stop them, and post again.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The webhook's name in the configuration.")]


@app.command("list")
def listing(url: options.Url = options.DEFAULT_URL, json: options.AsJson = False) -> None:
    """List the webhooks: how far each is, and what keeps it."""

    async def work(client: "DaemonClient") -> "WebhooksDocument":
        return await client.webhooks()

    found = with_daemon(url, work)
    if json:
        return print_json(found)
    if not found.webhooks:
        return say("no webhook is configured; see [[webhooks]] in docs/configuration.md")
    from orchestrator.cli.display.tables import webhooks_listing

    return webhooks_listing(found.webhooks).print_on(stdout_console())


@app.command()
def pause(name: Name, url: options.Url = options.DEFAULT_URL, json: options.AsJson = False) -> None:
    """Stop posting to a webhook until it is resumed. What happens meanwhile is kept for it."""
    _steer(name, "pause", url, as_json=json)


@app.command()
def resume(name: Name, url: options.Url = options.DEFAULT_URL, json: options.AsJson = False) -> None:
    """Let a webhook go on at once from where it is. So does one that is paused because it failed too often."""
    _steer(name, "resume", url, as_json=json)


@app.command()
def redrive(
    name: Name,
    after: Annotated[
        int,
        typer.Option(help="The number in an event's sequence; 0 for all that is kept.", min=0, metavar="SEQUENCE"),
    ],
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """Post everything behind an event again. Receivers know what they have by its id."""
    _steer(name, "redrive", url, after, as_json=json)


@app.command("test")
def try_out(name: Name, url: options.Url = options.DEFAULT_URL, json: options.AsJson = False) -> None:
    """Post a test event now. Exit code 0: the receiver took it; 1: it did not."""

    async def work(client: "DaemonClient") -> "TriedDocument":
        return await client.try_webhook(name)

    found = with_daemon(url, work)
    if json:
        print_json(found)
    else:
        say(f"{name}: {'' if found.taken else 'not taken: '}{found.detail}")
    raise typer.Exit(Exit.DONE if found.taken else Exit.FAILED)


def _steer(name: str, verb: str, url: str, after: int | None = None, *, as_json: bool) -> None:
    async def work(client: "DaemonClient") -> "WebhookDocument":
        return await client.steer_webhook(name, verb, after)

    found = with_daemon(url, work)
    if as_json:
        return print_json(found)
    stopped = "stopped" if found.stopped_since else "goes on"
    return say(f"{found.name} {stopped} behind event {found.position}, {found.behind} to go")
