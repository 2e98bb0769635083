"""``orchestrator plan``: what would come of a change, before anything is asked for."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.cli.display.output import Exit, on_terminal, print_json, say, stdout_console, with_daemon
from orchestrator.cli.display.words import ago, blocks

if TYPE_CHECKING:
    from orchestrator.api.documents.forecasts import (
        DurationsDocument,
        ExpectedDocument,
        ForecastDocument,
        RemovalForecastDocument,
        UnseenDocument,
    )
    from orchestrator.cli.display.words import Words
    from orchestrator.client import DaemonClient

app = typer.Typer(help="Tell what would come of a change.", no_args_is_help=True)

Bulk = Annotated[bool, typer.Option("--transactions", help="Name the public transactions, too.")]


@app.command()
def add(
    group: options.Group,
    members: options.Members,
    transactions: Bulk = False,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """Forecast the addition of members. Exit code 0: nothing seen speaks against it; 1: not now; 3: not at all."""

    async def work(client: "DaemonClient") -> "tuple[ForecastDocument, Words]":
        wanted, keys, words = await _meant(client, group, members)
        return await client.forecast(wanted, keys), words

    found, words = with_daemon(url, work)
    if json:
        print_json(found)
    else:
        print_lines(forecast_lines(found, words, transactions=transactions))
    raise typer.Exit(exit_code(found))


@app.command()
def remove(
    group: options.Group,
    members: options.Members,
    url: options.Url = options.DEFAULT_URL,
    json: options.AsJson = False,
) -> None:
    """Tell whether members could be added again after a removal. Exit code 0: nothing seen speaks against it; 3: no."""

    async def work(client: "DaemonClient") -> "tuple[RemovalForecastDocument, Words]":
        wanted, keys, words = await _meant(client, group, members)
        return await client.removal_forecast(wanted, keys), words

    found, words = with_daemon(url, work)
    if json:
        print_json(found)
    else:
        print_lines(removal_lines(found, words))
    raise typer.Exit(Exit.PARKED if found.outlook == "unsafe" else Exit.DONE)


async def _meant(client: "DaemonClient", group: str, members: Sequence[str]) -> "tuple[str, list[str], Words]":
    from orchestrator.cli.references import references

    known = await references(client, full=not on_terminal())
    wanted, keys = await known.group(group), known.members(members)
    known.check()
    return wanted, keys, known.words


def exit_code(found: "ForecastDocument") -> Exit:
    """Return the exit code for a forecast: parked is what the daemon would do with what no waiting helps."""
    if not found.dangers:
        return Exit.DONE
    # What only the moment forbids goes right later by itself; anything else waits for a person.
    return Exit.FAILED if all(danger.scope == "moment" for danger in found.dangers) else Exit.PARKED


def forecast_lines(found: "ForecastDocument", words: "Words", *, transactions: bool = False) -> list[str]:
    """Return a forecast in plain lines, the verdict first.

    Args:
        found: The forecast.
        words: What keys and ids are called.
        transactions: Whether the public transactions behind dangers and risks are named.
    """
    lines = [f"forecast at block {found.block_number}: {words.named(found.verdict)}"]
    for member in found.members:
        had = " (it has the earlier ones)" if member.former else ""
        held = f" with up to {member.transactions_to_replay:,} transactions" if member.transactions_to_replay else ""
        replay = f", {blocks(member.blocks_to_replay)}{held} to replay{had}"
        word = "" if member.attested_by is None else f", by the word of {member.attested_by}"
        lines.append(f"  member {words.member(member.enclave_key)}: {member.outlook}{replay}{word}")
    if found.sender is not None:
        about = f" ({found.sender.detail})" if found.sender.detail else ""
        bundle = found.sender.bundle.replace("_", " ")
        lines.append(
            f"  sent by {words.member(found.sender.enclave_key)} on {found.sender.node}: bundle {bundle}{about}"
        )
    if found.durations is not None:
        lines += duration_lines(found.durations, words)
    if found.preflight is not None and found.preflight.slug not in {danger.reason.slug for danger in found.dangers}:
        lines.append(f"  it would not begin now: {words.named(found.preflight.message)}")
    for danger in found.dangers:
        lines.append(f"  danger ({danger.scope}): {words.named(danger.reason.message)}")
        lines += [f"    transaction {name}" for name in danger.transactions if transactions]
    for risk in found.risks:
        lines.append(
            f"  risk: in block {risk.block_number} {len(risk.transactions)} public transactions came first that can "
            "have changed what private code read"
        )
        lines += [f"    transaction {name}" for name in risk.transactions if transactions]
    for way in found.returns:
        can, group = "can't" if way.certain else "may not", words.named(way.privacy_group_id)
        whom = words.member(way.enclave_key)
        lines.append(f"  warning: {whom} {can} return to group {group} after it: {words.named(way.detail)}")
    return lines + _unseen_lines(found.unseen, words)


def removal_lines(found: "RemovalForecastDocument", words: "Words") -> list[str]:
    """Return in plain lines whether members could be added again, the verdict first."""
    whom = ", ".join(map(words.member, found.members))
    lines = [f"after a removal of {whom}: {words.named(found.verdict)}"]
    if found.preflight is not None:
        lines.append(f"  the removal would not begin now: {words.named(found.preflight.message)}")
    lines += [f"  danger ({danger.scope}): {words.named(danger.reason.message)}" for danger in found.dangers]
    if found.closed_block is not None:
        lines.append(
            f"  warning: no node can replay block {found.closed_block} of the group: a key on another node, or a node "
            "whose data was deleted, can't come in their place"
        )
    return lines + _unseen_lines(found.unseen, words)


def _unseen_lines(unseen: "list[UnseenDocument]", words: "Words") -> list[str]:
    return [
        f"  not seen: {words.member(entry.enclave_key) if entry.enclave_key else 'all'}: {words.named(entry.detail)}"
        for entry in unseen
    ]


def duration_lines(found: "DurationsDocument", words: "Words") -> list[str]:
    """Return in plain lines how long an addition will take, and how sure that is."""
    size = found.bundle_bytes / (1 << 20)
    fits = (
        "" if found.fits else "; an enclave whose store takes 1 MiB for a value refuses that (Tessera with H2 2.1.210)"
    )
    lines = [
        f"  history: {found.transactions:,} transactions, {size:.1f} MiB or more in the enclave{fits}",
        f"  the group is locked for {_time(found.lock)}",
    ]
    lines += [
        f"  {words.member(replay.enclave_key)} replays for {_time(replay.time)}; its node falls up to "
        f"{blocks(replay.blocks_behind)} behind the head"
        for replay in found.replays
    ]
    return lines


def _time(time: "ExpectedDocument") -> str:
    from orchestrator.membership.forecast.durations import ENOUGH

    low, likely, high = ago(time.low_seconds), ago(time.likely_seconds), ago(time.high_seconds)
    text = f"about {likely}" if low == high else f"about {likely} ({low} to {high})"
    if not time.rough:
        return f"{text}, by {time.measured} additions measured there"
    return f"{text}, roughly: {time.measured} of {ENOUGH} additions were measured there"


def print_lines(lines: list[str]) -> None:
    """Print lines; on a terminal longer ones are broken between their words and go on below their beginning."""
    if not on_terminal():
        for line in lines:
            typer.echo(line)
        return
    width = stdout_console().width
    for line in lines:
        inner = " " * (len(line) - len(line.lstrip()) + 2)
        typer.echo(textwrap.fill(line, width, subsequent_indent=inner, break_long_words=False, break_on_hyphens=False))


async def show_first(client: "DaemonClient", kind: str, group: str, members: list[str], words: "Words") -> None:
    """Show the forecast of an addition or a removal that is about to be asked for; none prevents nothing.

    The daemon looks itself before it locks anything, and parks what must not be done.
    """
    from orchestrator.client import RefusedError

    try:
        if kind == "add_members":
            lines = forecast_lines(await client.forecast(group, members), words)
        else:
            lines = removal_lines(await client.removal_forecast(group, members), words)
    # Also for want of time or nodes: the daemon has longer, and asks again.
    except RefusedError as error:
        say(f"no forecast: {error}")
        return
    print_lines(lines)
