"""Verbs that look: groups, changes, show, watch, schema."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli import options
from orchestrator.cli.output import Exit, compact_json, fail, print_json, stdout_console, with_daemon

if TYPE_CHECKING:
    from orchestrator.api.change_documents import ChangePage
    from orchestrator.api.group_documents import GroupDocument, GroupPage
    from orchestrator.cli.client import DaemonClient, ReceivedEvent


def groups(
    group: Annotated[str | None, typer.Argument(metavar="[GROUP]", help="Only this group, with its members.")] = None,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """Show the known groups, or one and how each of its members stands."""

    async def one(client: "DaemonClient") -> "GroupDocument":
        return await client.group(group or "")

    async def every(client: "DaemonClient") -> "GroupPage":
        return await client.groups()

    if group is not None:
        found = with_daemon(url, one)
        if json:
            return print_json(found)
        from orchestrator.cli.tables import group_details

        return stdout_console().print(group_details(found))
    page = with_daemon(url, every)
    if json:
        return print_json(page)
    from orchestrator.cli.tables import groups_table

    return stdout_console().print(groups_table(page))


def changes(
    group: Annotated[str | None, typer.Option(help="Only this group.", metavar="GROUP")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Only this state; may be repeated.", metavar="STATE")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=500)] = 50,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """List changes, newest first."""

    async def work(client: "DaemonClient") -> "ChangePage":
        return await client.changes(group=group, states=state or (), limit=limit)

    page = with_daemon(url, work)
    if json:
        return print_json(page)
    from orchestrator.cli.tables import changes_table

    return stdout_console().print(changes_table(page.changes))


def show(change: options.ChangeId, url: options.Url = options.DEFAULT_URL, json: options.AsJson = False) -> None:
    """Show a change and why it is where it is: reason, remedy, members, transactions, history."""
    found = with_daemon(url, lambda client: client.change(change))
    if json:
        return print_json(found)
    from orchestrator.cli.tables import change_details

    return stdout_console().print(change_details(found))


def watch(
    group: Annotated[str | None, typer.Option(help="Only this group.", metavar="GROUP")] = None,
    change: Annotated[str | None, typer.Option(help="Only this change.", metavar="CHANGE")] = None,
    kind: Annotated[list[str] | None, typer.Option("--type", help="Only this type.", metavar="TYPE")] = None,
    since: Annotated[
        str | None, typer.Option(help="Go on behind this event id; 0 for the oldest that is kept.", metavar="ID")
    ] = None,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """Print status events as they happen, until interrupted."""

    async def work(client: "DaemonClient") -> None:
        resume_id = since
        async for event in client.events(resume_id=resume_id, group=group, change_id=change, types=kind or ()):
            if event.event_type == "closed":
                raise fail(str(event.document.get("detail", "the daemon ended the stream")))
            _print_event(event, as_json=json)
        raise fail("the daemon ended the stream; it may be stopping")

    with_daemon(url, work)


def schema(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="[TYPE]", help="A status event's type; without it: all, as AsyncAPI."),
    ] = None,
) -> None:
    """Print what goes over the message queue: the AsyncAPI document, or the JSON Schema of one type of status event."""
    from orchestrator import __version__
    from orchestrator.events.asyncapi import asyncapi_document
    from orchestrator.events.schema import json_schema
    from orchestrator.membership.status import EventType

    if kind is None:
        return typer.echo(compact_json(asyncapi_document(version=__version__)))
    try:
        return typer.echo(compact_json(json_schema(EventType(kind))))
    except ValueError:
        raise fail(f"{kind} is no type of status event; there are: {', '.join(EventType)}", Exit.USAGE) from None


def _print_event(event: "ReceivedEvent", *, as_json: bool) -> None:
    if as_json:
        typer.echo(compact_json(event.document))
        return
    typer.echo(f"{event.resume_id} {event_line(event.document)}")


def event_line(document: dict[str, Any]) -> str:
    """Return a status event in one line for a person."""
    kind = str(document.get("type", "")).removeprefix("membership.").removesuffix(".v1")
    data = document.get("data")
    said: dict[str, Any] = data if isinstance(data, dict) else {}
    parts = [_clock(document.get("time")), kind, str(document.get("subject", ""))]
    if "state" in said:
        parts.append(f"{said.get('kind', '')} {said['state']}".strip())
    parts += [f"{name.replace('_', ' ')} {said[name]}" for name in ("block_number", "locked_blocks") if name in said]
    for member in said.get("progress") or ():
        if isinstance(member, dict):
            parts.append(_member(member))
    reason = said.get("reason")
    if isinstance(reason, dict):
        parts.append(str(reason.get("message", "")))
    if "message" in said:
        parts.append(f"{said.get('field', '')}: {said['message']}")
    return "  ".join(part for part in parts if part)


def _member(member: dict[str, Any]) -> str:
    name = str(member.get("member", ""))[:12]
    counted = f" {member['blocks_replayed']}/{member['blocks_total']}" if member.get("blocks_total") else ""
    return f"{name}… {member.get('verdict', '')}{counted}"


def _clock(time: object) -> str:
    try:
        return f"{datetime.fromisoformat(str(time)):%H:%M:%S}"
    except ValueError:
        return ""
