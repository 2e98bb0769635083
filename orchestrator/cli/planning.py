"""``orchestrator plan``: what would come of a change, before anything is asked for."""

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.output import Exit, print_json, with_daemon

if TYPE_CHECKING:
    from orchestrator.api.forecast_documents import ForecastDocument
    from orchestrator.cli.client import DaemonClient

app = typer.Typer(help="Tell what would come of a change; changes nothing.", no_args_is_help=True)

Bulk = Annotated[bool, typer.Option("--transactions", help="Name the public transactions, too.")]


@app.callback()
def _plan() -> None:
    """Take the verbs as subcommands, though there is one."""


@app.command()
def add(
    group: options.Group,
    members: options.Members,
    transactions: Bulk = False,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """Forecast the addition of members. Exit code 0: nothing seen speaks against it; 1: not now; 3: not at all."""
    found = with_daemon(url, lambda client: client.forecast(group, members))
    if json:
        print_json(found)
    else:
        for line in forecast_lines(found, transactions=transactions):
            typer.echo(line)
    raise typer.Exit(exit_code(found))


def exit_code(found: "ForecastDocument") -> Exit:
    """Return the exit code for a forecast: parked is what the daemon would do with what no waiting helps."""
    if not found.dangers:
        return Exit.DONE
    return Exit.FAILED if all(danger.scope == "moment" for danger in found.dangers) else Exit.PARKED


def forecast_lines(found: "ForecastDocument", *, transactions: bool = False) -> list[str]:
    """Return a forecast in plain lines, the verdict first.

    Args:
        found: The forecast.
        transactions: Whether the public transactions behind dangers and risks are named.
    """
    lines = [f"forecast at block {found.block_number}: {found.verdict}"]
    for member in found.members:
        had = " (it has the earlier ones)" if member.former else ""
        replay = f", {member.blocks_to_replay} blocks to replay{had}"
        word = "" if member.attested_by is None else f", by the word of {member.attested_by}"
        lines.append(f"  member {member.enclave_key}: {member.outlook}{replay}{word}")
    if found.sender is not None:
        about = f" ({found.sender.detail})" if found.sender.detail else ""
        bundle = found.sender.bundle.replace("_", " ")
        lines.append(f"  sent by {found.sender.enclave_key} on {found.sender.node}: bundle {bundle}{about}")
    for danger in found.dangers:
        lines.append(f"  danger ({danger.scope}): {danger.reason.message}")
        lines += [f"    transaction {name}" for name in danger.transactions if transactions]
    for risk in found.risks:
        lines.append(
            f"  risk: in block {risk.block_number} {len(risk.transactions)} public transactions came first that can "
            "have changed what private code read"
        )
        lines += [f"    transaction {name}" for name in risk.transactions if transactions]
    lines += [f"  not seen: {entry.enclave_key or 'all'}: {entry.detail}" for entry in found.unseen]
    return lines


async def show_first(client: "DaemonClient", group: str, members: list[str]) -> None:
    """Show the forecast of an addition that is about to be asked for; that there is none prevents nothing.

    The daemon looks itself before it locks anything, and parks what must not be done.
    """
    from orchestrator.cli.client import RefusedError

    try:
        found = await client.forecast(group, members)
    except RefusedError as error:
        typer.echo(f"no forecast: {error}", err=True)
        return
    for line in forecast_lines(found):
        typer.echo(line)
