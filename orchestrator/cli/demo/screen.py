"""What the demo shows: steps, status events and bars; redrawn in place on a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from orchestrator.api.change_documents import ChangeDocument
from orchestrator.api.group_documents import GroupDocument
from orchestrator.cli.looking import event_line
from orchestrator.cli.tables import replay_text, time_left

_SHORT = 18
_LINE_EVERY = 0.2


class Bar(Protocol):
    """Shows how much of something is done."""

    def update(self, done: int, total: int, seconds_left: float | None = None) -> None:
        """Show that so much is done, and how long the rest will take where that is known."""


class Screen:
    """Where the demo speaks.

    Args:
        console: A terminal, or anything else.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def step(self, text: str) -> None:
        """Announce what is done next."""
        self._console.print(Text(text, "bold"), soft_wrap=True)

    def note(self, text: str) -> None:
        """Tell something beside."""
        self._console.print(Text(f"  {text}"), soft_wrap=True)

    def event(self, document: dict[str, Any]) -> None:
        """Show a status event as it arrived."""
        self._console.print(Text(f"    {event_line(document)}", "dim"), soft_wrap=True)

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

                def update(self, done: int, total: int, seconds_left: float | None = None) -> None:
                    """Redraw it."""
                    left = time_left(seconds_left) if seconds_left else ""
                    progress.update(task, completed=done, total=total or None, left=left)

            yield Drawn()

    def members(self, group: GroupDocument, members: tuple[str, ...]) -> None:
        """Show each member's root, version and participants as its own node has them."""
        table = Table("member", "node", "state root", "version", "participants", "block", box=None, pad_edge=False)
        names = {key: f"member{number}" for number, key in enumerate(members, start=1)}
        for member in group.members:
            table.add_row(
                names.get(member.enclave_key, _short(member.enclave_key)),
                member.node or "(no access)",
                _short(member.state_root),
                _short(member.version),
                ", ".join(sorted(names.get(key, _short(key)) for key in member.participants)),
                str(group.block_number),
            )
        self._console.print(table)

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

    def update(self, done: int, total: int, seconds_left: float | None = None) -> None:
        """Print a line when enough has moved."""
        share = done / total if total else 0.0
        if total and (share >= self._shown + _LINE_EVERY or share == 1.0 != self._shown):
            self._shown = share
            left = f", {time_left(seconds_left)}" if seconds_left else ""
            self._screen.note(f"{self._text}: {done} of {total} {self._unit}{left}")


def summary(change: ChangeDocument) -> str:
    """Return what became of a change, in one line."""
    members = "; ".join(replay_text(member) for member in change.progress)
    why = f": {change.reason.message}" if change.reason is not None else ""
    return f"{change.kind.value.replace('_', ' ')} {change.state.value}{why} ({members})"


def _short(text: str) -> str:
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}…"
