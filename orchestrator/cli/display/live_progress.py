"""Following a change to its end: a live line with progress bars on a terminal, plain lines elsewhere."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import typer
from rich.console import Console
from rich.live import Live

from orchestrator.api.documents.changes import ChangeDetailDocument, ChangeDocument
from orchestrator.cli.display.output import on_terminal, stdout_console
from orchestrator.cli.display.tables import change_line, live_change, replay_text
from orchestrator.cli.display.words import SHORT_CHANGE, Words
from orchestrator.client import DaemonClient, following

_RESTS = frozenset({"succeeded", "failed", "cancelled", "parked"})


def goes_on(change: ChangeDocument | None) -> str:
    """Return what is said when somebody stops following a change."""
    if change is None or change.ended:
        return ""
    return f"it goes on; follow it with: orchestrator watch {change.change_id[:SHORT_CHANGE]}"


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
        # Listening first and reading then: what happens between the two is news, and not missed.
        async with following(client, change.change_id) as news:
            while True:
                seen = await client.change(change.change_id)
                shown_on.update(seen)
                if seen.state in _RESTS:
                    return seen
                await news()


def shown(words: Words) -> AbstractContextManager[Display]:
    """Return the display that fits: drawn in place on a terminal; elsewhere lines, on standard error.

    Standard output is then left to the one line that a program wants: the id.
    """
    if on_terminal():
        return LiveDisplay(stdout_console(), words)
    return nullcontext(LineDisplay(words, lambda line: typer.echo(line, err=True)))


def quiet() -> AbstractContextManager[Display]:
    """Return a display that shows nothing."""
    return nullcontext(_Nothing())


class LineDisplay:
    """Prints a line whenever the state, a member's verdict or its progress has changed.

    Args:
        words: What keys and ids are called.
        write: Takes each line.
    """

    def __init__(self, words: Words, write: Callable[[str], None]) -> None:
        self._words = words
        self._write = write
        self._last = ""
        self._members: dict[str, tuple[str, int, int]] = {}

    def update(self, change: ChangeDocument) -> None:
        """Print what is new."""
        line = change_line(change, self._words)
        if line != self._last:
            self._last = line
            self._write(line)
        for member in change.progress:
            standing = (member.verdict.value, member.blocks_replayed, member.blocks_total)
            # Nothing to tell yet, and a line for each member of a large group.
            unknown = standing == ("replaying", 0, 0)
            if not unknown and self._members.get(member.enclave_key) != standing:
                self._members[member.enclave_key] = standing
                self._write(f"  {replay_text(member, self._words)}")


class LiveDisplay:
    """Redraws one line for the change and one bar for each member in place.

    Args:
        console: A terminal.
        words: What keys and ids are called.
    """

    def __init__(self, console: Console, words: Words) -> None:
        self._live = Live(console=console, refresh_per_second=8, transient=False)
        self._words = words

    def __enter__(self) -> "LiveDisplay":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, change: ChangeDocument) -> None:
        """Draw the change as it is now."""
        self._live.update(live_change(change, self._words))


class _Nothing:
    def update(self, change: ChangeDocument) -> None:
        """Show nothing."""
