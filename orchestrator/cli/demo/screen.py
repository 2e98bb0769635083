"""What the demo shows: steps, status events and bars; redrawn in place on a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from orchestrator.api.documents.changes import ChangeDocument
from orchestrator.api.documents.groups import GroupDocument
from orchestrator.cli.display.event_lines import event_line
from orchestrator.cli.display.rows import Listing
from orchestrator.cli.display.tables import replay_text
from orchestrator.cli.display.words import Words

_INDENT = "    "
_LINE_EVERY = 0.2


class Bar(Protocol):
    """Shows how much of something is done."""

    def update(self, done: int, total: int, left: str = "") -> None:
        """Show that so much is done, and in words how long the rest will take where that is known."""


class Screen:
    """Where the demo speaks.

    Args:
        console: A terminal, or anything else.
        words: What members and groups are called.
    """

    def __init__(self, console: Console, words: Words) -> None:
        self._console = console
        self.words = words

    def step(self, text: str) -> None:
        """Announce what is done next."""
        self._console.print(Text(text, "bold"), soft_wrap=True)

    def note(self, text: str) -> None:
        """Tell something beside."""
        self._console.print(Text(f"  {text}"), soft_wrap=not self._console.is_terminal)

    def event(self, document: dict[str, Any]) -> None:
        """Show a status event as it arrived."""
        columns = self._console.width - len(_INDENT) if self._console.is_terminal else None
        self._console.print(Text(_INDENT + event_line(document, self.words, columns), "dim"), soft_wrap=True)

    @contextmanager
    def bar(self, text: str, unit: str) -> Iterator[Bar]:
        """Show a bar while the context lasts."""
        if not self._console.is_terminal:
            yield _Lines(self, text, unit)
            return
        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(" of "),
            TextColumn(unit),
            TextColumn("{task.fields[left]}", style="dim"),
        )
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task(text, total=None, left="")

            class Drawn:
                """The bar on the terminal."""

                def update(self, done: int, total: int, left: str = "") -> None:
                    """Redraw it."""
                    progress.update(task, completed=done, total=total or None, left=left)

            yield Drawn()

    def members(self, group: GroupDocument) -> None:
        """Show each member's root, version and participants as its own node has them."""
        Listing(
            headings=("member", "state root", "version", "participants", "block"),
            rows=tuple(
                (
                    self.words.member(member.enclave_key),
                    self.words.hash(member.state_root),
                    self.words.hash(member.version),
                    ", ".join(sorted(map(self.words.member, member.participants))),
                    str(group.block_number),
                )
                for member in group.members
            ),
        ).print_on(self._console)

    def verdict(self, text: str, *, good: bool) -> None:
        """Say how it came out."""
        self._console.print(Text(text, "bold green" if good else "bold red"))


class _Lines:
    """A bar as lines: one whenever something moved by a fifth, and one at the end."""

    def __init__(self, screen: Screen, text: str, unit: str) -> None:
        self._screen = screen
        self._text = text
        self._unit = unit
        self._shown = -1.0

    def update(self, done: int, total: int, left: str = "") -> None:
        """Print a line when enough has moved."""
        share = done / total if total else 0.0
        if total and (share >= self._shown + _LINE_EVERY or share == 1.0 != self._shown):
            self._shown = share
            self._screen.note(f"{self._text}: {done} of {total} {self._unit}{', ' if left else ''}{left}")


def summary(change: ChangeDocument, words: Words) -> str:
    """Return what became of a change, in one line."""
    members = "; ".join(replay_text(member, words) for member in change.progress)
    why = f": {change.reason.message}" if change.reason is not None else ""
    return f"{change.kind.value.replace('_', ' ')} {change.state.value}{why} ({members})"
