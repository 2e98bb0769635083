"""Following a change to its end: a live line with a progress bar on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import typer
from rich.console import Console
from rich.live import Live

from orchestrator.api.change_documents import ChangeDetailDocument, ChangeDocument
from orchestrator.cli.client import DaemonClient, following
from orchestrator.cli.tables import change_line, live_change, replay_text

_RESTS = frozenset({"succeeded", "failed", "cancelled", "parked"})


class Display(Protocol):
    """Shows a change while it is followed."""

    def update(self, change: ChangeDocument) -> None:
        """Show the change as it is now."""


async def follow(
    client: DaemonClient, change: ChangeDocument, display: AbstractContextManager[Display]
) -> ChangeDetailDocument:
    """Show a change until it has ended or is parked, and return it."""
    with display as shown_on:
        shown_on.update(change)
        async with following(client, change.change_id) as news:
            while True:
                seen = await client.change(change.change_id)
                shown_on.update(seen)
                if seen.state in _RESTS:
                    return seen
                await news()


def shown() -> AbstractContextManager[Display]:
    """Return the display that fits standard output."""
    return LiveDisplay(Console(highlight=False)) if sys.stdout.isatty() else nullcontext(LineDisplay())


def quiet() -> AbstractContextManager[Display]:
    """Return a display that shows nothing."""
    return nullcontext(_Nothing())


class LineDisplay:
    """Prints a line whenever the state, a member's verdict or its progress has changed.

    Args:
        write: Takes each line.
    """

    def __init__(self, write: Callable[[str], None] = typer.echo) -> None:
        self._write = write
        self._last = ""
        self._members: dict[str, tuple[str, int, int]] = {}

    def update(self, change: ChangeDocument) -> None:
        """Print what is new."""
        line = change_line(change)
        if line != self._last:
            self._last = line
            self._write(line)
        for member in change.progress:
            standing = (member.verdict.value, member.blocks_replayed, member.blocks_total)
            unknown = standing == ("replaying", 0, 0)
            if not unknown and self._members.get(member.enclave_key) != standing:
                self._members[member.enclave_key] = standing
                self._write(f"  {replay_text(member)}")


class LiveDisplay:
    """Redraws one line for the change and one bar for each member in place.

    Args:
        console: A terminal.
    """

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=8, transient=False)

    def __enter__(self) -> "LiveDisplay":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, change: ChangeDocument) -> None:
        """Draw the change as it is now."""
        self._live.update(live_change(change))


class _Nothing:
    def update(self, change: ChangeDocument) -> None:
        """Show nothing."""
