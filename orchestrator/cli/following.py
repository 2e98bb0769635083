"""Following a change to its end: a live line with a progress bar on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Protocol

import typer
from rich.console import Console
from rich.live import Live

from orchestrator.api.documents import ChangeDetailDocument, ChangeDocument, ProgressDocument
from orchestrator.cli.client import DaemonClient, following
from orchestrator.cli.pace import Pace
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
        now: Returns the present time.
    """

    def __init__(
        self, write: Callable[[str], None] = typer.echo, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._write = write
        self._now = now
        self._last = ""
        self._members: dict[str, str] = {}
        self._pace = Pace()

    def update(self, change: ChangeDocument) -> None:
        """Print what is new."""
        line = change_line(change)
        if line != self._last:
            self._last = line
            self._write(line)
        for member in change.progress:
            if member.verdict.value == "replaying" and member.blocks_total == 0:
                continue
            self._pace.note(member.enclave_key, member.blocks_replayed, self._now())
            shown = f"  {replay_text(member, self._remaining(member))}"
            told = f"{member.verdict} {member.blocks_replayed}/{member.blocks_total}"
            if self._members.get(member.enclave_key) != told:
                self._members[member.enclave_key] = told
                self._write(shown)

    def _remaining(self, member: ProgressDocument) -> float | None:
        return self._pace.seconds_left(member.enclave_key, member.blocks_total)


class LiveDisplay:
    """Redraws one line for the change and one bar for each member in place.

    Args:
        console: A terminal.
    """

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=8, transient=False)
        self._pace = Pace()

    def __enter__(self) -> "LiveDisplay":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, change: ChangeDocument) -> None:
        """Draw the change as it is now."""
        now = datetime.now(UTC)
        for member in change.progress:
            self._pace.note(member.enclave_key, member.blocks_replayed, now)
        self._live.update(live_change(change, self._pace))


class _Nothing:
    def update(self, change: ChangeDocument) -> None:
        """Show nothing."""
