"""Verbs that look: groups, changes, show, watch, schema."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.display.output import (
    Exit,
    compact_json,
    exit_code,
    fail,
    on_terminal,
    print_json,
    say,
    stdout_console,
    with_daemon,
)

if TYPE_CHECKING:
    from orchestrator.api.documents.changes import ChangeDetailDocument, ChangeDocument, ChangePage
    from orchestrator.api.documents.groups import GroupDocument, GroupPage
    from orchestrator.cli.display.words import Words
    from orchestrator.cli.references import References
    from orchestrator.client import DaemonClient, ReceivedEvent


def groups(
    group: Annotated[str | None, typer.Argument(metavar="[GROUP]", help="Only this group, with its members.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=500)] = 50,
    after: Annotated[
        str | None, typer.Option(help="Go on after this group, as the list before says.", metavar="GROUP")
    ] = None,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """Show the known groups, or one with its members."""

    async def one(client: "DaemonClient") -> "tuple[GroupDocument, Words]":
        known = await _known(client)
        wanted = await known.group(group or "")
        known.check()
        return await client.group(wanted), known.words

    async def every(client: "DaemonClient") -> "tuple[GroupPage, Words]":
        known = await _known(client)
        start = "" if after is None else await known.group(after)
        known.check()
        return await client.groups(limit=limit, after=start), known.words

    if group is not None:
        found, words = with_daemon(url, one)
        if json:
            return print_json(found)
        from orchestrator.cli.verbs.details import print_group

        return print_group(stdout_console(), found, words)
    page, words = with_daemon(url, every)
    if json:
        return print_json(page)
    if not page.groups:
        return say("no groups; make one: orchestrator create MEMBER MEMBER --name NAME")
    from orchestrator.cli.display.tables import groups_listing

    groups_listing(page.groups, words).print_on(stdout_console())
    return _say_more(len(page.groups), page.total, f"orchestrator groups --after {page.next}" if page.next else "")


def changes(
    group: Annotated[str | None, typer.Option(help="Only this group.", metavar="GROUP")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Only this state; may be repeated.", metavar="STATE")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=500)] = 50,
    before: Annotated[
        str | None, typer.Option(help="Go on before this change, as the list before says.", metavar="CHANGE")
    ] = None,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """List changes, newest first."""

    async def work(client: "DaemonClient") -> "tuple[ChangePage, Words]":
        known = await _known(client)
        wanted = None if group is None else await known.group(group)
        start = "" if before is None else await known.change(before)
        known.mistakes += _unknown_states(state or ())
        known.check()
        page = await client.changes(group=wanted, states=state or (), limit=limit, before=start, count=True)
        return page, known.words

    page, words = with_daemon(url, work)
    if json:
        return print_json(page)
    if not page.changes:
        return say("no changes; ask for one: orchestrator create, add, remove or set")
    from orchestrator.cli.display.tables import changes_listing

    changes_listing(page.changes, words).print_on(stdout_console())
    filters = "".join(f" --state {name}" for name in state or ()) + (f" --group {group}" if group else "")
    following = f"orchestrator changes{filters} --before {page.next}" if page.next else ""
    return _say_more(len(page.changes), page.total, following)


def show(change: options.ChangeId, url: options.Url = options.DEFAULT_URL, json: options.AsJson = False) -> None:
    """Show a change and why it is where it is.

    Reason, remedy, members, transactions and history.
    """

    async def work(client: "DaemonClient") -> "tuple[ChangeDetailDocument, Words]":
        known = await _known(client)
        wanted = await known.change(change)
        known.check()
        return await client.change(wanted), known.words

    found, words = with_daemon(url, work)
    if json:
        return print_json(found)
    from orchestrator.cli.verbs.details import print_change

    return print_change(stdout_console(), found, words)


def watch(
    what: Annotated[
        str | None,
        typer.Argument(metavar="[CHANGE|GROUP]", help="A change, which is followed to its end, or a group's events."),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--type", help="Only this type, such as parked or group.locked; may be repeated.", metavar="TYPE"),
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Go on behind this event id; 0 for the oldest that is kept.", metavar="ID")
    ] = None,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """Follow a change, or print events as they happen.

    A change is followed to its end, events are printed until interrupted.
    """
    followed: list[ChangeDocument] = []

    async def work(client: "DaemonClient") -> "ChangeDocument | None":
        known = await _known(client)
        change, group = (None, None) if what is None else await known.change_or_group(what)
        types = _types(kind or (), known.mistakes)
        if since is not None and not (since.isascii() and since.isdigit()):
            known.mistakes.append(f"--since: {since[:40]!r} is no id of an event, which is a number")
        known.check()
        # Who asks for events in one of these forms reads them as a program does, also of one change.
        if change is not None and not (json or since or types):
            from orchestrator.cli.display.live_progress import follow, shown

            followed.append(await client.change(change))
            return await follow(client, followed[-1], shown(known.words))
        async for event in client.events(resume_id=since, group=group, change_id=change, types=types):
            if event.event_type == "closed":
                raise fail(str(event.document.get("detail", "the daemon ended the stream")))
            _print_event(event, known.words, as_json=json)
        raise fail("the daemon ended the stream; it may be stopping")

    def interrupted() -> str:
        from orchestrator.cli.display.live_progress import goes_on

        return goes_on(followed[-1] if followed else None)

    ended = with_daemon(url, work, interrupted)
    if ended is not None:
        raise typer.Exit(exit_code(ended.state.value))


def schema(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="[TYPE]", help="A status event's type; without it: all, as AsyncAPI."),
    ] = None,
    json: options.AsJson = False,
) -> None:
    """Print what goes over the message queue.

    The AsyncAPI document, or the JSON Schema of one type of status event.
    """
    del json  # it is, in any case
    from orchestrator import __version__
    from orchestrator.events.documents.asyncapi import asyncapi_document
    from orchestrator.events.documents.schema import json_schema
    from orchestrator.membership.news.status import EventType

    if kind is None:
        return typer.echo(compact_json(asyncapi_document(version=__version__)))
    try:
        return typer.echo(compact_json(json_schema(EventType(kind))))
    except ValueError:
        raise fail(f"{kind} is no type of status event; there are: {', '.join(EventType)}", Exit.USAGE) from None


def _print_event(event: "ReceivedEvent", words: "Words", *, as_json: bool) -> None:
    if as_json:
        typer.echo(compact_json(event.document))
        return
    from orchestrator.cli.display.event_lines import event_line

    width = stdout_console().width - len(event.resume_id) - 1 if on_terminal() else None
    typer.echo(f"{event.resume_id} {event_line(event.document, words, width)}")


async def _known(client: "DaemonClient") -> "References":
    from orchestrator.cli.references import references

    return await references(client, full=not on_terminal() or stdout_console().width >= _wide())


def _wide() -> int:
    from orchestrator.cli.display.words import WIDE_COLUMNS

    return WIDE_COLUMNS


def _unknown_states(states: "Sequence[str]") -> list[str]:
    from orchestrator.membership.model import State

    known = ", ".join(State)
    return [f"--state: {text[:40]!r} is none; there are: {known}" for text in states if text not in set(State)]


def _types(texts: "Sequence[str]", mistakes: list[str]) -> list[str]:
    """Return the types that are meant: whole, or as much of the name as tells them apart."""
    from orchestrator.membership.news.status import EventType

    found = []
    for text in texts:
        short = text.removeprefix("membership.").removesuffix(".v1")
        names = {kind.value.removeprefix("membership.").removesuffix(".v1"): kind.value for kind in EventType}
        matching = [value for name, value in names.items() if short in (name, name.rpartition(".")[2])]
        if not matching:
            mistakes.append(f"--type: {text[:60]!r} is none; there are: {', '.join(names)}")
        found += matching
    return found


def _say_more(shown: int, total: int | None, following: str) -> None:
    if following:
        say(f"showing {shown:,}{'' if total is None else f' of {total:,}'}; go on with: {following}")
