"""``orchestrator attention``: what needs a person, the most urgent first."""

import textwrap
from typing import TYPE_CHECKING

import typer

from orchestrator.cli import options
from orchestrator.cli.display.output import Exit, on_terminal, print_json, say, stdout_console, with_daemon
from orchestrator.outside_text import presentable

if TYPE_CHECKING:
    from orchestrator.api.documents.overview import AttentionDocument, NeedDocument
    from orchestrator.cli.display.words import Words
    from orchestrator.client import DaemonClient

_URGENT = {
    "broken": ("act now", "bold red"),
    "stuck": ("decide", "red"),
    "waiting": ("waiting", "yellow"),
    "told": ("to know", "dim"),
}
_INDENT = "  "


def attention(url: options.Url = options.DEFAULT_URL, json: options.AsJson = False) -> None:
    """Show what needs a person, the most urgent first. Exit code 0: nothing does; 3: something waits for a person."""

    async def work(client: "DaemonClient") -> "tuple[AttentionDocument, Words]":
        from orchestrator.cli.references import references

        known = await references(client, full=not on_terminal())
        return await client.attention(), known.words

    found, words = with_daemon(url, work)
    if json:
        print_json(found)
    elif not found.needs:
        say("nothing needs you")
    else:
        for need in found.needs:
            _print(need, words)
        if found.total > len(found.needs):
            say(f"showing {len(found.needs)} of {found.total}")
    acting = any(need.urgency in ("broken", "stuck") for need in found.needs)
    raise typer.Exit(Exit.PARKED if acting else Exit.DONE)


def _print(need: "NeedDocument", words: "Words") -> None:
    from rich.text import Text

    console = stdout_console()
    urgent, style = _URGENT[need.urgency]
    console.print(Text.assemble((urgent, style), "  ", words.named(presentable(need.what))))
    about = [
        f"change {words.change(need.change_id)}" if need.change_id else "",
        f"group {words.group(need.privacy_group_id)}" if need.privacy_group_id else "",
        f"node {need.node}" if need.node else "",
        f"since {words.at(need.since)}" if need.since else "",
    ]
    lines = [", ".join(part for part in about if part)]
    lines += textwrap.wrap(need.remedy, console.width - len(_INDENT)) if console.is_terminal else [need.remedy]
    for line in lines:
        if line:
            console.print(Text(f"{_INDENT}{line}", "dim"))
    for command in need.commands:
        console.print(Text(f"{_INDENT}{command}"), soft_wrap=True)
