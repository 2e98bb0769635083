"""Verbs that ask for a change: create, add, remove, set, unlock."""

import secrets
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.output import Exit, exit_code, print_json, with_daemon

if TYPE_CHECKING:
    from orchestrator.api.change_documents import ChangeDocument
    from orchestrator.cli.client import DaemonClient


def create(
    members: options.Members,
    group: Annotated[
        str | None, typer.Option(help="Privacy group id, base64 of 32 bytes; chosen when left out.", metavar="GROUP")
    ] = None,
    account: options.Account = None,
    deadline: options.Deadline = None,
    request_id: options.RequestId = None,
    wait: options.Wait = True,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """Create a group of these members; one of them must be hosted by a node of the daemon."""
    _ask("create_group", group, members, account, deadline, request_id, wait, url, json)


def add(
    group: options.Group,
    members: options.Members,
    account: options.Account = None,
    deadline: options.Deadline = None,
    request_id: options.RequestId = None,
    wait: options.Wait = True,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """Add members to a group and follow until every one of them is proven in sync."""
    _ask("add_members", group, members, account, deadline, request_id, wait, url, json)


def remove(
    group: options.Group,
    members: options.Members,
    account: options.Account = None,
    deadline: options.Deadline = None,
    request_id: options.RequestId = None,
    wait: options.Wait = True,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """Remove members from a group."""
    _ask("remove_members", group, members, account, deadline, request_id, wait, url, json)


def set_members(
    group: options.Group,
    members: options.Members,
    account: options.Account = None,
    deadline: options.Deadline = None,
    request_id: options.RequestId = None,
    wait: options.Wait = True,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """Make these the members of a group: add who is missing, remove who is not named."""
    _ask("set_members", group, members, account, deadline, request_id, wait, url, json)


def unlock(
    group: options.Group,
    account: options.Account = None,
    deadline: options.Deadline = None,
    request_id: options.RequestId = None,
    wait: options.Wait = True,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """Break a lock that another client left behind. Make sure first that it is not about to add a member."""
    _ask("unlock_group", group, (), account, deadline, request_id, wait, url, json)


def _ask(
    kind: str,
    group: str | None,
    members: Sequence[str],
    account: str | None,
    deadline: int | None,
    request_id: str | None,
    wait: bool,
    url: str,
    as_json: bool,
) -> None:
    wanted = {
        "kind": kind,
        "privacy_group_id": group,
        "members": list(members),
        "account": account,
        "deadline_seconds": deadline,
    }
    data = {name: value for name, value in wanted.items() if value not in (None, [])}
    name = request_id or f"cli-{secrets.token_hex(12)}"

    async def work(client: "DaemonClient") -> "ChangeDocument":
        from orchestrator.cli.following import follow, quiet, shown

        if kind == "add_members" and not as_json and _on_terminal():
            from orchestrator.cli.planning import show_first

            await show_first(client, group or "", list(members))
        change = await client.ask(name, data)
        if not wait:
            return change
        return await follow(client, change, quiet() if as_json else shown())

    change = with_daemon(url, work)
    if as_json:
        print_json(change)
    elif not wait:
        typer.echo(f"{change.change_id} {change.state.value} (group {change.privacy_group_id})")
    raise typer.Exit(exit_code(change.state.value) if wait else Exit.DONE)


def _on_terminal() -> bool:
    return sys.stdout.isatty()
