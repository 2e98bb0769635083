"""Verbs about callers' tokens: create, list, revoke."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.display.output import fail, print_json, say, stdout_console, with_daemon

if TYPE_CHECKING:
    from orchestrator.api.documents.access import MadeTokenDocument, TokenDocument, TokenPage
    from orchestrator.client import DaemonClient

app = typer.Typer(help="Tokens of callers of the HTTP interface.", no_args_is_help=True, rich_markup_mode=None)

Local = Annotated[
    bool, typer.Option("--local", help="Work on the store of --config, without a daemon: for the first token.")
]
Groups = Annotated[list[str] | None, typer.Option("--group", help="Only this group; may be repeated.", metavar="ID")]
Accounts = Annotated[
    list[str] | None, typer.Option("--account", help="Only as this account; may be repeated.", metavar="ADDRESS")
]
Kinds = Annotated[
    list[str] | None, typer.Option("--kind", help="Only this kind of change; may be repeated.", metavar="KIND")
]


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who gets it; tokens of one name are one caller.")],
    role: Annotated[str, typer.Option(help="viewer, operator or admin.", metavar="ROLE")] = "viewer",
    group: Groups = None,
    account: Accounts = None,
    kind: Kinds = None,
    no_groups: Annotated[bool, typer.Option("--no-groups", help="No group: for what reads metrics only.")] = False,
    days: Annotated[int, typer.Option(help="Days until it ends.", min=1, max=3650)] = 90,
    file: Annotated[
        Path | None, typer.Option("--file", help="Write it there, mode 0600, instead of printing it.", metavar="FILE")
    ] = None,
    local: Local = False,
    config: options.ConfigFile = options.DEFAULT_CONFIG,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """Make a token; it is shown this once."""
    # What is left out is no limit; an empty list is one that nothing passes (`--no-groups`).
    wanted: dict[str, object] = {"name": name, "role": role, "days": days}
    listed = {"groups": [] if no_groups else group, "accounts": account, "kinds": kind}
    wanted |= {key: value for key, value in listed.items() if value is not None}

    async def ask(client: "DaemonClient") -> "MadeTokenDocument":
        return await client.create_token(wanted)

    if local:
        from orchestrator.cli.verbs.local_store import created

        made = created(config, wanted)
    else:
        made = with_daemon(url, ask)
    if file is not None:
        _write(file, made.token)
        return say(f"token {made.token_id} of {made.name} is in {file}")
    if json:
        return print_json(made)
    say(f"token {made.token_id} of {made.name}, {made.role.value}, until {made.expires_at:%Y-%m-%d}:")
    return typer.echo(made.token)


@app.command("list")
def listing(
    local: Local = False,
    config: options.ConfigFile = options.DEFAULT_CONFIG,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """List tokens; what is shown of them is no secret."""

    async def ask(client: "DaemonClient") -> "TokenPage":
        return await client.tokens()

    if local:
        from orchestrator.cli.verbs.local_store import listed

        page = listed(config)
    else:
        page = with_daemon(url, ask)
    if json:
        return print_json(page)
    if not page.tokens:
        return say("there is no token")
    from orchestrator.cli.display.tables import tokens_listing

    return tokens_listing(page).print_on(stdout_console())


@app.command("revoke")
def revoke(
    token: Annotated[str, typer.Argument(metavar="TOKEN_ID", help="The token's id, as `list` shows it.")],
    local: Local = False,
    config: options.ConfigFile = options.DEFAULT_CONFIG,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """Let a token count no more. Open streams of it end within some seconds."""

    async def ask(client: "DaemonClient") -> "TokenDocument":
        return await client.revoke_token(token)

    if local:
        from orchestrator.cli.verbs.local_store import revoked

        found = revoked(config, token)
    else:
        found = with_daemon(url, ask)
    if json:
        return print_json(found)
    return typer.echo(f"{found.token_id} {found.name} revoked")


def _write(path: Path, token: str) -> None:
    import os

    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as written:
            written.write(token + "\n")
    except OSError as error:
        # It was made, and nobody knows it now: say so, or it would be looked for.
        raise fail(f"{path}: can't be written ({error.strerror}); revoke the token and make another") from None
