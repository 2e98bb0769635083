"""Verbs that ask for a change: create, add, remove, set, unlock, cure."""

import inspect
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli import options
from orchestrator.cli.display.output import Exit, exit_code, on_terminal, print_json, say, with_daemon

if TYPE_CHECKING:
    from orchestrator.api.documents.changes import ChangeDocument
    from orchestrator.cli.references import References
    from orchestrator.client import DaemonClient


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a verb asks.

    Attributes:
        account: The owner account to act as; None for the daemon's only one.
        deadline: After how many seconds to give up; None for never.
        request_id: The idempotency key; None for a random one.
        wait: Whether to follow the change to its end.
        url: Address of the daemon's HTTP API.
        as_json: Whether to print JSON.
    """

    account: str | None
    deadline: int | None
    request_id: str | None
    wait: bool
    url: str
    as_json: bool


def how_asked(
    account: options.Account = None,
    deadline: options.Deadline = None,
    request_id: options.RequestId = None,
    wait: options.Wait = True,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> How:
    """Return how a verb asks; the parameters are the options that `asking` gives each verb."""
    return How(account=account, deadline=deadline, request_id=request_id, wait=wait, url=url, as_json=json)


def asking(*, deadline: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a verb the options of `how_asked` in place of its parameter `how`.

    Args:
        deadline: Whether ``--deadline`` is one of them.
    """

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        shared = dict(inspect.signature(how_asked, eval_str=True).parameters)
        if not deadline:
            del shared["deadline"]

        def command(**given: Any) -> None:
            how = how_asked(**{name: given.pop(name) for name in shared})
            verb(**given, how=how)

        own = inspect.signature(verb, eval_str=True).parameters.values()
        parameters = [*(parameter for parameter in own if parameter.name != "how"), *shared.values()]
        asks: Any = command
        # Typer reads what a command takes from its signature, not from its code.
        asks.__signature__ = inspect.Signature(parameters)
        asks.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        asks.__name__, asks.__doc__ = verb.__name__, verb.__doc__
        return command

    return decorate


@asking()
def create(
    members: options.Members,
    name: Annotated[
        str | None, typer.Option(help="What the group is to be called, here and wherever it is shown.", metavar="NAME")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Privacy group id, base64 of 32 bytes; chosen when left out.", metavar="GROUP")
    ] = None,
    *,
    how: How,
) -> None:
    """Create a group.

    One of its members must be hosted by a node of the daemon. The group's id is printed last, and alone on standard
    output when that is no terminal.
    """
    _ask("create_group", group, members, how, name=name)


@asking()
def add(group: options.Group, members: options.Members, *, how: How) -> None:
    """Add members to a group.

    Followed until every one of them is proven in sync.
    """
    _ask("add_members", group, members, how)


@asking()
def remove(group: options.Group, members: options.Members, *, how: How) -> None:
    """Remove members from a group."""
    _ask("remove_members", group, members, how)


@asking()
def set_members(group: options.Group, members: options.Members, *, how: How) -> None:
    """Make these the members of a group.

    Who is missing is added, who is not named is removed.
    """
    _ask("set_members", group, members, how)


@asking()
def unlock(
    group: options.Group,
    reason: Annotated[str | None, typer.Option(help="Why, for the audit log.", metavar="TEXT")] = None,
    *,
    how: How,
) -> None:
    """Break a lock that another client left behind.

    Make sure first that it is not about to add a member."""
    _ask("unlock_group", group, (), how, reason=reason)


@asking(deadline=False)
def cure(
    group: options.Group,
    members: options.Members,
    transaction: Annotated[
        str,
        typer.Option(help="The addition that some executed and others refused.", metavar="HASH"),
    ],
    reason: Annotated[str, typer.Option(help="Why, for the audit log.", metavar="TEXT")],
    *,
    how: How,
) -> None:
    """Mend a group that a stale addition split.

    Through a member that refused it, those that executed it are removed and added again in one call. The event
    membership.group.addition_repeated or addition_unexpected names transaction and members."""
    text = {"reason": reason, "transaction": transaction}
    _ask("cure_group", group, members, how, **text)


def _ask(
    kind: str,
    group: str | None,
    members: Sequence[str],
    how: How,
    *,
    name: str | None = None,
    reason: str | None = None,
    transaction: str | None = None,
) -> None:
    asked: list[ChangeDocument] = []

    async def work(client: "DaemonClient") -> "ChangeDocument":
        from orchestrator.cli.display.live_progress import follow, quiet, shown
        from orchestrator.cli.references import references

        known = await references(client, full=not on_terminal())
        data = await _wanted(known, kind, group, members, name)
        data |= {"account": how.account, "deadline_seconds": how.deadline, "reason": reason, "transaction": transaction}
        # Fields that another kind of change takes are mistakes, even when they are empty.
        data = {field: value for field, value in data.items() if value not in (None, [])}
        if kind in ("add_members", "remove_members") and not how.as_json and on_terminal():
            from orchestrator.cli.verbs.plan import show_first

            await show_first(client, kind, data["privacy_group_id"], data["members"], known.words)
        change = await client.ask(how.request_id or f"cli-{secrets.token_hex(12)}", data)
        # From here on it goes on without us: whoever interrupts is told how to find it again.
        asked.append(change)
        # Named when it is accepted: a name for a group that nobody was asked for could not be taken back.
        if name is not None:
            await client.name_group(name, change.privacy_group_id)
        if not how.wait:
            return change
        return await follow(client, change, quiet() if how.as_json else shown(known.words))

    def interrupted() -> str:
        from orchestrator.cli.display.live_progress import goes_on

        return goes_on(asked[-1] if asked else None)

    change = with_daemon(how.url, work, interrupted)
    if how.as_json:
        print_json(change)
    else:
        _print_id(change, waited=how.wait)
    raise typer.Exit(exit_code(change.state.value) if how.wait else Exit.DONE)


async def _wanted(
    known: "References", kind: str, group: str | None, members: Sequence[str], name: str | None
) -> dict[str, Any]:
    """Return what is asked for, with whole keys and ids.

    Raises:
        UsageError: Something of it can't be meant; all of it is told.
    """
    data: dict[str, Any] = {"kind": kind, "members": known.members(members)}
    if group is not None:
        data["privacy_group_id"] = await known.group(group) if kind != "create_group" else _new_id(known, group)
    if name is not None and (mistake := _name_mistake(known, name)):
        known.mistakes.append(mistake)
    known.check()
    return data


def _new_id(known: "References", text: str) -> str:
    from orchestrator.cli.references import whole_group_id

    found = whole_group_id(text)
    if found is None:
        known.mistakes.append(
            f"--group: {text[:60]!r} is no group id: base64 of 32 bytes; leave it out to have one chosen"
        )
    return found or ""


def _name_mistake(known: "References", name: str) -> str:
    from orchestrator.api.documents.names import is_name

    if not is_name(name):
        return f"--name: {name[:60]!r} must be 1 to 40 letters, digits, '.', '_' and '-', the first a letter or digit"
    if name in known.words.nodes:
        return f"--name: {name} is a node's name"
    if name in known.words.groups:
        return f"--name: {name} is the name of the group {known.words.groups[name]}"
    return ""


def _print_id(change: "ChangeDocument", *, waited: bool) -> None:
    """Print last what the next command needs: a new group's id, else the change's; alone when no person looks."""
    made = change.kind.value == "create_group"
    if not on_terminal():
        if not waited:
            say(f"change {change.change_id} {change.state.value}")
        typer.echo(change.privacy_group_id if made else change.change_id)
        return
    if not waited:
        typer.echo(f"change {change.change_id} {change.state.value}; follow it with:")
        typer.echo(f"  orchestrator watch {change.change_id}")
    if made:
        typer.echo(f"group {change.privacy_group_id}")
